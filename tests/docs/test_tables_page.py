"""The page about tables: its commands run in their order, its Python too, and its job is one that GitHub takes."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tree_support import blocks

PAGE = "docs/tables.md"
CHEAP = ("--executor", "inline", "--no-report", "--quiet")


def test_the_examples_run_in_their_order(
    tmp_path: Path, harness: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
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
    done = subprocess.run(
        [sys.executable, "-c", code.replace('"results/harness.duckdb"', repr(str(database)))],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
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
