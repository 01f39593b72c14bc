"""Every section of docs/general-tasks.md: its data, its suite and its verdicts."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tree_support import FENCE

from harness.cli.group import run_main
from harness.suite import load_suite

PAGE = Path(__file__).parents[2] / "docs" / "general-tasks.md"
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)


def sections() -> dict[str, dict[str, str]]:
    """The fenced blocks of each section by language."""
    text = PAGE.read_text(encoding="utf-8")
    return {title: dict(FENCE.findall(body)) for title, body in SECTION.findall(text)}


TITLES = list(sections())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def prepared(title: str, place: Path) -> Path:
    """The section's data, and its suite file."""
    blocks = sections()[title]
    exec(compile(blocks["python"], f"{PAGE.name}: {title}", "exec"), {"__name__": "example"})
    suite = place / blocks["yaml"].splitlines()[0].removeprefix("# ")
    suite.write_text(blocks["yaml"], encoding="utf-8")
    return suite


def ran(suite: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    """The record of a run."""
    capsys.readouterr()
    code = run_main(["run", str(suite), "--executor", "inline", "--no-report", "--json", *more])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    (run,) = json.loads(shown.out.splitlines()[-1])["runs"]
    return run


@pytest.mark.parametrize("title", TITLES)
def test_its_suite_runs_and_is_judged(title: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = prepared(title, place)
    assert run_main(["validate", str(suite)]) == 0
    loaded = load_suite(suite)
    arms, seeds = len(loaded.model.arms), loaded.model.seeds.min
    run = ran(suite, capsys)
    assert run["counts"] == {"done": arms * seeds}
    assert {verdict["claim_id"] for verdict in run["verdicts"]} == {claim.id for claim in loaded.model.claims}
    assert all(verdict["n"] == seeds for verdict in run["verdicts"])
    assert ran(suite, capsys)["reused"] == arms * seeds


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("target: kind", "target: knid", r"table: .*cancer\.csv:1: no column 'knid' .*did you mean '"),
        ("path: cancer.csv", "path: cancer.xlsx", r"pointed at .*cancer\.xlsx, which does not exist"),
        ("target: kind", "target: mean radius", r""),
        ("target: kind}", "target: kind, split: {tset: 0.1}}", r"split: unknown name 'tset'; did you mean 'test'"),
        ("name: linear", "name: bn-cnn", r""),
    ],
)
def test_a_mistake_is_one_message_without_a_traceback(
    old: str, new: str, expected: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = prepared(TITLES[0], place)
    text = suite.read_text(encoding="utf-8")
    assert old in text
    suite.write_text(text.replace(old, new), encoding="utf-8")
    capsys.readouterr()
    code = run_main(["run", str(suite), "--executor", "inline", "--no-report", "--seeds", "1"])
    shown = capsys.readouterr()
    assert code == (2 if expected else 1)
    assert re.search(expected, shown.err), shown.err
    assert "Traceback" not in shown.err


def test_weights_that_are_not_there_are_one_message_before_anything_runs(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = prepared("Given weights", place)
    (place / "data" / "given.safetensors").unlink()
    capsys.readouterr()
    assert run_main(["run", str(suite), "--executor", "inline", "--no-report"]) == 2
    output = capsys.readouterr().err
    assert re.search(r"the model 'fine-tuned' is pointed at .*given\.safetensors by 'weights'", output), output
    assert len(output.splitlines()) == 1
