"""The examples of README and CONTRIBUTING are run as they stand."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import harness as package

ROOT = Path(__file__).parent.parent.parent
SOURCES = Path(package.__file__).parent.parent
FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    return [text for kind, text in FENCE.findall((ROOT / page).read_text(encoding="utf-8")) if kind == language]


def test_the_suite_of_the_readme_runs(tmp_path: Path, harness: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    (text,) = blocks("README.md", "yaml")
    assert len(text.splitlines()) <= 21
    (tmp_path / "my.yaml").write_text(text)
    assert harness("validate", "my.yaml").returncode == 0
    done = harness("run", "my.yaml", "--scale", "smoke", "--executor", "inline", "--json")
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)["runs"][0]
    assert run["counts"] == {"done": 2}
    assert [verdict["claim_id"] for verdict in run["verdicts"]] == ["my-adamw"]


@pytest.mark.timeout(300)
def test_the_examples_of_contributing_make_a_suite_that_runs(tmp_path: Path) -> None:
    for name in ("harness", "methods", "suites", "reports"):
        shutil.copytree(SOURCES / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for text in [*blocks("CONTRIBUTING.md", "python"), *blocks("CONTRIBUTING.md", "yaml")]:
        path = tmp_path / text.splitlines()[0].removeprefix("# ").strip()
        assert path.suffix in (".py", ".yaml")
        path.write_text(text)

    def call(*arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call("harness.registry")
    assert "sign-sgd" in call("harness", "list", "methods", "sign*")
    call("harness", "validate", "stripes-suite.yaml")
    run = json.loads(call("harness", "run", "stripes-suite.yaml", "--executor", "inline", "--no-report", "--json"))
    assert run["runs"][0]["counts"] == {"done": 6}


def test_commands_that_the_readme_names_exist() -> None:
    from harness.cli.group import COMMANDS

    named = set(re.findall(r"harness ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert named - set(COMMANDS) <= {"run"} | set(COMMANDS)
    assert {"run", "plan", "claims", "query", "doctor"} <= named


def test_pages_link_only_to_what_exists() -> None:
    for page in ("README.md", "CONTRIBUTING.md", "docs/verdicts.md", "docs/traps.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+?)\)", text):
            if not target.startswith("http"):
                assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"
