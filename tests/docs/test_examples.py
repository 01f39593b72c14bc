"""Examples of the README and of the pages about sweeps and tables; links."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
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


def test_the_guides_section_runs(tmp_path: Path, harness: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    (suite,), (section, tuned) = blocks("README.md", "yaml"), blocks("docs/sweeps.md", "yaml")
    (tmp_path / "my.yaml").write_text(f"{suite}\n{section}\n{tuned}")
    valid = harness("validate", "my.yaml")
    assert valid.returncode == 0, valid.stderr
    planned = json.loads(harness("plan", "my.yaml", "--json").stdout)["tuned"]
    assert {(cell["arm"], cell["configurations"]) for cell in planned} <= {("adam", 9), ("adamw", 9)}
    options = "--benchmark digits --budget 2 --scale smoke --executor inline --json"
    ran = harness("sweep", "my.yaml", *shlex.split(options))
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert result["told"] == {"adam": 2, "adamw": 2}
    assert set(result["chosen"]["adam"]["params"]) == {"optimizer.lr", "batch_size"}
    assert set(result["chosen"]["adamw"]["params"]) == {"optimizer.lr", "optimizer.weight_decay", "batch_size"}
    queries = [line for text in blocks("docs/sweeps.md", "sh") for line in text.splitlines() if "harness query" in line]
    assert len(queries) == 3
    for line in queries:
        answer = harness(*shlex.split(line)[1:], "--format", "json")
        assert answer.returncode == 0, answer.stderr
        assert json.loads(answer.stdout)


PAGE = "docs/tables.md"
CHEAP = ("--executor", "inline", "--no-report", "--quiet")


def test_the_examples_run_in_order(tmp_path: Path, harness: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    for client in ("mlflow", "tensorboard"):
        pytest.importorskip(client, reason="needs the extra 'trackers'")
    (suite,) = blocks("README.md", "yaml")
    (tmp_path / "my.yaml").write_text(suite.replace("steps: 300", "steps: 20"))
    output = {}
    for block in blocks(PAGE, "sh"):
        for words in commands(block):
            done = harness(*words, *(CHEAP if words[0] == "run" else ()))
            assert done.returncode == 0, (words, done.stderr)
            output[" ".join(words)] = done.stdout
    requested = next(out for words, out in output.items() if words.startswith("query"))
    cells = [line.split() for line in requested.splitlines()[2:-1]]
    assert sorted((line[0], line[1], line[-1]) for line in cells) == [("digits", "adam", "3"), ("digits", "adamw", "3")]
    assert (tmp_path / "tables" / "my-mini-top1-accuracy.tex").is_file()
    written = (tmp_path / "tables" / "my-mini-top1-accuracy.md").read_text()
    assert re.search(r"^\| benchmark +\| +adam +\| +adamw +\|$", written, re.MULTILINE)
    assert (tmp_path / "tables" / "my-mini-verdicts.md").is_file()
    assert [path.name for path in (tmp_path / "frames").iterdir()] == ["current_results.parquet"]
    assert (tmp_path / "whole" / "current_results.csv").is_file()
    assert list((tmp_path / "tb" / "my" / "mini" / "digits" / "adamw").glob("seed0-*/events.out.tfevents.*"))
    assert len(list((tmp_path / "mlruns").glob("*/*/meta.yaml"))) == 8, "six were exported, two came live"
    assert "no regression" in output["diff previous latest --regression 0.5 --metric top1-accuracy"]
    database = tmp_path / "results" / "harness.duckdb"
    (code,) = blocks(PAGE, "python")
    words = [sys.executable, "-c", code.replace('"results/harness.duckdb"', repr(str(database)))]
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:3] == ["digits", "adam", "0"]


def commands(block: str) -> list[list[str]]:
    """The words of each ``harness`` command of a block, without the name; one may go on over lines within quotes."""
    words = shlex.split(block, comments=True)
    starts = [at for at, word in enumerate(words) if word == "harness"]
    return [words[at + 1 : end] for at, end in zip(starts, [*starts[1:], len(words)], strict=True)]


def test_the_job_is_valid_and_calls_what_the_page_explains() -> None:
    (text,) = blocks(PAGE, "yaml")
    job = yaml.safe_load(text)["jobs"]["compare"]
    called = [step["run"] for step in job["steps"] if "run" in step]
    explained = [line for block in blocks(PAGE, "sh") for line in block.splitlines()]
    assert called[-1] in explained
    assert called[-2].startswith("harness run my.yaml")
    stored = [step["with"]["path"] for step in job["steps"] if step.get("uses", "").startswith("actions/cache/")]
    assert stored == ["results", "results"]
