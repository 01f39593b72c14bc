"""The versions that the gate installs: .ci/constraints.txt.

python .ci/lock.py           resolve pyproject's ranges anew in a fresh environment, and write the file
python .ci/lock.py --check   say where the environment of this Python differs from the file
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / ".ci" / "constraints.txt"
OWN = "paper-harness"
NOT_OURS = {OWN, "pip", "wheel"}
HEADER = """\
# What .ci/run installs, on Linux and Python 3.11: `pip install -c .ci/constraints.txt '.[test]'` installs the same.
# Written by `python .ci/lock.py`; not to be edited. pyproject.toml has the ranges that users get.
# No hashes: one version has other files on other indexes (a torch for CPUs, one for GPUs, one for another processor).
"""


def canonical(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, str]:
    """The version of each package in the file."""
    lines = [line for line in LOCK.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return {canonical(name): version for name, version in (line.split("==") for line in lines)}


def differences() -> list[str]:
    """Where what is installed is not what is locked, one line each."""
    wanted = locked()
    found = {canonical(one.metadata["Name"]): one.version.partition("+")[0] for one in distributions()}
    for name in build_tools():  # there for the time of the build alone; an environment may have others of its own
        wanted.pop(name, None)
        found.pop(name, None)
    other = [
        f"{name}: {found[name]} is installed, {version} is locked"
        for name, version in wanted.items()
        if found.get(name, version) != version
    ]
    more = [f"{name} {found[name]} is installed and not locked" for name in found.keys() - wanted.keys() - NOT_OURS]
    gone = [f"{name}: {wanted[name]} is locked, none is installed" for name in wanted.keys() - found.keys()]
    return sorted(other + more + gone)


def build_tools() -> dict[str, str]:
    """What builds the package, as pyproject asks for it, by name."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        required = tomllib.load(file)["build-system"]["requires"]
    return {canonical(re.split(r"[^A-Za-z0-9._-]", one)[0]): one for one in required}


def resolved(folder: Path) -> dict[str, str]:
    """The newest versions within pyproject's ranges that install together, tried in a fresh environment."""
    venv.create(folder / "env", with_pip=True)
    pip = [str(folder / "env" / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    source = folder / "source"  # the build leaves a folder behind
    source.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive, check=True)
    subprocess.run([*pip, "install", "--quiet", f"{source}[test]"], check=True)
    listed = subprocess.run([*pip, "list", "--format", "json"], check=True, capture_output=True, text=True).stdout
    found = {canonical(one["name"]): one["version"].partition("+")[0] for one in json.loads(listed)}
    asked = [*pip, "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-", *build_tools().values()]
    report = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
    found |= {canonical(one["metadata"]["name"]): one["metadata"]["version"] for one in report["install"]}
    return {name: version for name, version in sorted(found.items()) if name not in NOT_OURS}


def main() -> int:
    """The command; its exit code."""
    if sys.argv[1:] == ["--check"]:
        told = differences()
        count = len(locked())
        print("\n".join(told) or f"{count} packages are as .ci/constraints.txt has them")
        return 1 if told else 0
    if sys.argv[1:]:
        print(__doc__, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        found = resolved(Path(folder))
    LOCK.write_text(HEADER + "".join(f"{name}=={version}\n" for name, version in found.items()), encoding="utf-8")
    print(f"{len(found)} packages")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
