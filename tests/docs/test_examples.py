"""The examples of README and CONTRIBUTING are run as they stand."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tree_support import ROOT, blocks


def test_the_suite_of_the_readme_runs(tmp_path: Path, harness: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    (text,) = blocks("README.md", "yaml")
    assert len(text.splitlines()) <= 21
    (tmp_path / "my.yaml").write_text(text)
    assert harness("validate", "my.yaml").returncode == 0
    done = harness("run", "my.yaml", "--scale", "smoke", "--executor", "inline", "--json")
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)["runs"][0]
    assert run["counts"] == {"done": 2}
    assert [verdict["claim_id"] for verdict in run["verdicts"]] == ["adamw-over-adam"]


@pytest.mark.default
def test_commands_that_the_readme_names_exist() -> None:
    from harness.cli.group import COMMANDS

    named = set(re.findall(r"harness ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert named - set(COMMANDS) <= {"run"} | set(COMMANDS)
    assert {"run", "plan", "claims", "query", "doctor"} <= named


@pytest.mark.default
@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("m*/*.md")], ids=str)
def test_pages_link_only_to_what_exists(page: Path) -> None:
    """Every relative link, and every heading that one names."""
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
        if not re.match(r"\w+:", target):
            file = page.parent / target if target else page
            assert file.exists(), f"{page.name} links to {target}"
            assert not anchor or anchor in anchors(file), f"{page.name} links to {target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """The names that headings of a page have on its forge."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.default
def test_every_page_of_the_docs_is_reached_from_the_readme() -> None:
    reached, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page not in reached:
            reached.add(page)
            targets = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8"))
            left += [(page.parent / target).resolve() for target in targets if not target.startswith("http")]
    assert {page.name for page in ROOT.glob("docs/*.md")} <= {page.name for page in reached}
