"""The versions that the gate installs: .ci/constraints.txt.

python .ci/lock.py           resolve pyproject's ranges in a fresh environment and write the file
python .ci/lock.py --check   list the differences between this Python's environment and the file
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
# Versions that .ci/run installs (Linux, Python 3.11); `pip install -c .ci/constraints.txt '.[test]'` does the same.
# Written by `python .ci/lock.py`; do not edit. pyproject.toml has the ranges that users get.
# No hashes: the files of one version differ between indexes (torch for CPUs, for GPUs, for other processors).
"""


def canonical(name: str) -> str:
    """Normalize a package name as indexes do."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, str]:
    """The version of each package in the file."""
    lines = [line for line in LOCK.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return {canonical(name): version for name, version in (line.split("==") for line in lines)}


def differences() -> list[str]:
    """List the differences between installed and locked packages, one line each."""
    wanted = locked()
    installed = {canonical(package.metadata["Name"]): package.version.partition("+")[0] for package in distributions()}
    for name in build_tools():  # only the build needs them; an environment may have other versions
        wanted.pop(name, None)
        installed.pop(name, None)
    other = [
        f"{name}: {installed[name]} is installed, {version} is locked"
        for name, version in wanted.items()
        if installed.get(name, version) != version
    ]
    more = [
        f"{name} {installed[name]} is installed and not locked" for name in installed.keys() - wanted.keys() - NOT_OURS
    ]
    gone = [f"{name}: {wanted[name]} is locked, none is installed" for name in wanted.keys() - installed.keys()]
    return sorted(other + more + gone)


def build_tools() -> dict[str, str]:
    """The build requirements in pyproject.toml, by name."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        required = tomllib.load(file)["build-system"]["requires"]
    return {canonical(re.split(r"[^A-Za-z0-9._-]", requirement)[0]): requirement for requirement in required}


def resolved(folder: Path) -> dict[str, str]:
    """Resolve the newest versions within pyproject's ranges in a fresh environment."""
    venv.create(folder / "env", with_pip=True)
    pip = [str(folder / "env" / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    source = folder / "source"  # the build leaves a folder behind
    source.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive, check=True)
    subprocess.run([*pip, "install", "--quiet", f"{source}[test]"], check=True)
    listed = subprocess.run([*pip, "list", "--format", "json"], check=True, capture_output=True, text=True).stdout
    installed = {canonical(package["name"]): package["version"].partition("+")[0] for package in json.loads(listed)}
    command = [*pip, "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-", *build_tools().values()]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    installed |= {
        canonical(package["metadata"]["name"]): package["metadata"]["version"] for package in report["install"]
    }
    return {name: version for name, version in sorted(installed.items()) if name not in NOT_OURS}


def main() -> int:
    """Run the command and return its exit code."""
    if sys.argv[1:] == ["--check"]:
        problems = differences()
        count = len(locked())
        print("\n".join(problems) or f"{count} packages are as .ci/constraints.txt has them")
        return 1 if problems else 0
    if sys.argv[1:]:
        print(__doc__, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        installed = resolved(Path(folder))
    LOCK.write_text(HEADER + "".join(f"{name}=={version}\n" for name, version in installed.items()), encoding="utf-8")
    print(f"{len(installed)} packages")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
