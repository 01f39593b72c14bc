"""Stores of real runs, for tests of tables, trackers and differences."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli.group import run_main


def run(suite: Path, *more: object, code: int = 0) -> None:
    """``harness run SUITE`` in this process, without a report."""
    arguments = ["run", str(suite), "--executor", "inline", "--no-report", "--quiet", *map(str, more)]
    assert run_main(arguments) == code


def rows(capsys: pytest.CaptureFixture[str], sql: str) -> list[dict[str, Any]]:
    """The answer of ``harness query``."""
    capsys.readouterr()
    assert run_main(["query", sql, "--format", "json"]) == 0
    result: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return result


def run_ids(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The stored runs, the oldest first; sweeps are left out."""
    return [row["run_id"] for row in rows(capsys, "SELECT run_id FROM runs ORDER BY started_at")]


def table_of(path: Path) -> dict[str, dict[str, str]]:
    """A Markdown table: row → column → text."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head, _, *body = split
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in body}
