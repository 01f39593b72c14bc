"""Stored trials of older code are matched to planned ones by content."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.app.session import planned
from harness.app.verify import StoredMatch, compared, contents_of, matches_of
from harness.plan import cell_trials
from harness.plan.planning import Plan, Selection, make_plan
from harness.store import Outcome, Writer
from harness.store.events import OutcomeEvent
from harness.suite import load_suite
from harness.trial.result import Score
from harness.vocabulary import Status

TABLE = """
suite: table
arms: {linear: {}, network: {set: {model.name: mlp}}}
benchmarks:
  table:
    task: tabular-classification
    metrics: {accuracy: higher}
    data: {name: table, path: table.csv, target: kind}
    model: {name: linear}
    recipe: {steps: 1, batch_size: 2, slots: {optimizer: adam}, optimizer: {adam: {lr: 0.01}}}
compare: [{arm: network, against: [linear], metric: accuracy}]
"""
PROGRAM = """
suite: program
arms: {first: {values: {opt: a}}, second: {values: {opt: b}}}
benchmarks:
  train:
    command: [python, train.py, --opt, "{arm.opt}"]
    metrics: {accuracy: higher}
    results: {pattern: 'accuracy=(?P<accuracy>[0-9.]+)'}
compare: [{arm: second, against: [first], metric: accuracy}]
"""


@pytest.mark.parametrize("text", [TABLE, PROGRAM])
def test_older_trials_of_user_files_match_in_a_moved_folder(
    text: str, tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default list of missing values has the text NaN; the content of a program leaves its folder out."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    (first / "suite.yaml").write_text(text, encoding="utf-8")
    (first / "train.py").write_text("print('accuracy=1')\n", encoding="utf-8")
    (first / "table.csv").write_text("size,kind\n1,a\n2,b\n3,a\n4,b\n", encoding="utf-8")
    shutil.copytree(first, second)
    older = plan_in(first, monkeypatch)
    with Writer(database, "older") as writer:
        writer.record(planned("older", older, ()))
        for trial in older.trials:
            writer.record(OutcomeEvent(Outcome(trial.trial_id, Status.DONE, wall_seconds=2.5), "older"))
    monkeypatch.setattr(cell_trials, "fingerprint", lambda roots: "other code")
    plan = plan_in(second, monkeypatch)
    with Writer(database) as writer, writer.reader() as reader:
        matches = matches_of(plan, reader)
    assert [match.trial.trial_id for match in matches] == [trial.trial_id for trial in plan.trials]
    assert [match.stored_id for match in matches] == [trial.trial_id for trial in older.trials]
    assert {(match.older, match.seconds) for match in matches} == {(True, 2.5)}
    assert_compared(matches[0])


def assert_compared(match: StoredMatch) -> None:
    """Numbers that one side lacks differ; another end is an error without a comparison."""
    stored = Outcome(match.stored_id, Status.DONE, results=[Score("test", "accuracy", 1.0)])
    lacking = compared(match, stored, replace(stored, results=[]))
    assert (lacking.numbers, lacking.differing, lacking.equal) == (1, ("test.accuracy",), False)
    assert compared(match, stored, stored).equal
    failed = compared(match, stored, replace(stored, status=Status.FAILED, error="E"))
    assert (failed.numbers, failed.error) == (0, "it ended as failed, stored is done: E")


def plan_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setenv("HARNESS_DATA", str(folder))
    return make_plan(load_suite(folder / "suite.yaml"), Selection(seeds=(0, 1)))


def test_the_content_of_a_dependent_trial_has_no_code() -> None:
    def spec(before: str, rate: float | str) -> dict[str, object]:
        return {"recipe": {"rate": rate}, "prerequisites": {"teacher": {"trial_id": before}}}

    alone: dict[str, object] = {"recipe": {}, "prerequisites": {}}
    old = contents_of({"teacher-1": ("same", alone), "student-1": ("a", spec("teacher-1", "Infinity"))})
    new = contents_of({"teacher-2": ("same", alone), "student-2": ("b", spec("teacher-2", float("inf")))})
    assert old("student-1") == new("student-2") != "a"
    other = contents_of({"teacher-3": ("other", alone), "student-3": ("c", spec("teacher-3", float("inf")))})
    assert other("student-3") != new("student-2")
