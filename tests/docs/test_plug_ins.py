"""The package of docs/plug-ins.md, installed as its reader would and run."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import warm_process
from tree_support import blocks

NAMED = re.compile(r"# (\S+)\n")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed into it, and the suite."""
    source, target = tmp_path_factory.mktemp("rings"), tmp_path_factory.mktemp("site")
    for text in (*blocks("docs/plug-ins.md", "toml"), *blocks("docs/plug-ins.md", "python")):
        name = NAMED.match(text)
        assert name, text[:60]
        (source / name[1]).parent.mkdir(exist_ok=True)
        (source / name[1]).write_text(text)
    (source / "rings" / "__init__.py").touch()
    (suite,) = blocks("docs/plug-ins.md", "yaml")
    (target / "rings.yaml").write_text(suite)
    options = shlex.split("-m pip install --quiet --no-deps --no-build-isolation --target")
    done = subprocess.run(
        [sys.executable, *options, str(target), str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return target


def harness(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
    return warm_process.call(["harness", *arguments], installed, {**os.environ, "PYTHONPATH": path}, timeout=200)


@pytest.mark.parametrize(
    ("kind", "name"), [("methods", "sign-step"), ("data", "rings"), ("models", "two-layers"), ("tasks", "centres")]
)
def test_list_names_what_the_package_brings(installed: Path, kind: str, name: str) -> None:
    done = harness(installed, "list", kind, "--json")
    assert done.returncode == 0, done.stderr
    assert name in {row["name"] for row in json.loads(done.stdout)}


def test_its_suite_runs_and_is_judged(installed: Path) -> None:
    done = harness(installed, "run", "rings.yaml", "--seeds", "3", "--executor", "inline", "--no-report", "--json")
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout.splitlines()[-1])["runs"][0]
    assert run["counts"] == {"done": 12}
    assert len(run["verdicts"]) == 2


def test_an_edited_plug_in_is_other_code(installed: Path) -> None:
    harness(installed, "run", "rings.yaml", "--seeds", "3", "--executor", "inline", "--no-report", "--quiet")
    before = json.loads(harness(installed, "plan", "rings.yaml", "--seeds", "3", "--json").stdout)
    file = installed / "rings" / "methods.py"
    text = file.read_text()
    file.write_text(text.replace("alpha=-group", "alpha=-2 * group"))
    try:
        after = json.loads(harness(installed, "plan", "rings.yaml", "--seeds", "3", "--json").stdout)
    finally:
        file.write_text(text)
    assert before != after
