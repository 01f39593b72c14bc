"""The package from Python: its names, runs, warnings, trials of the tuned protocol."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.base.yaml_nodes import parse
from harness.cli.group import run_main
from harness.errors import HarnessError
from harness.execute.dispatch import Watch
from harness.execute.outcome import Outcome
from harness.execute.worker import Job
from harness.store import open_reader
from harness.suite.warnings import warnings_of

INLINE: dict[str, Any] = {"executor": "inline", "tuned": False}


TUNED = """
tuned:
  budget: 3
  seeds: 1
  searches: 1
  spaces:
    "*": {optimizer.lr: {factors: [0.333, 1, 3]}}
  rates: {factors: [0.333, 1, 3], seeds: 3}
"""


class Seen(Watch):
    """Records warnings, the jobs of each queue, and how trials ended."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.queues: list[list[str]] = []
        self.ended: Counter[str] = Counter()

    def warned(self, message: str) -> None:
        self.warnings.append(message)

    def queued(self, jobs: Sequence[Job]) -> None:
        self.queues.append([job.label for job in jobs])

    def finished(self, job: Job, outcome: Outcome) -> None:
        self.ended[f"{job.label} {outcome.status}"] += 1


def test_it_gives_what_the_command_prints(tiny: Path, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = harness.run(tiny, seeds=3, database=database, **INLINE)
    assert ran.complete
    assert (ran.record["trials"], ran.record["reused"], dict(ran.record["counts"])) == (6, 0, {"done": 6})
    again = harness.run(str(tiny), seeds=[0, 1, 2], database=database, **INLINE)
    assert again.record["reused"] == 6
    command = ["run", str(tiny), "--db", str(database), "--executor", "inline", "--no-report", "--no-tuned", "--json"]
    assert run_main(command) == 0
    (printed,) = json.loads(capsys.readouterr().out)["runs"]
    assert printed.keys() == again.record.keys()
    varying = {"run_id", "verdicts"}
    own = json.loads(json.dumps(again.record))
    assert {key: value for key, value in printed.items() if key not in varying} == {
        key: value for key, value in own.items() if key not in varying
    }
    for message, result in zip(printed["verdicts"], own["verdicts"], strict=True):
        assert {**message, "judged_at": ""} == {**result, "judged_at": ""}
    (row,) = ran.verdicts.to_dict("records")
    assert (row["claim_id"], row["verdict"], row["n"]) == ("tiny-better", "direction confirmed", 3)
    with harness.open(database) as db:
        assert db.verdicts("tiny").columns.tolist() == ran.verdicts.columns.tolist()
        assert set(db.results(run=ran.run_id, metric="score")["arm"]) == {"base", "better"}
    assert "tiny-better: direction confirmed" in repr(ran)
    assert "direction confirmed" in ran._repr_html_()


def test_a_suite_of_plain_data_is_judged_and_shown_again_by_its_name(
    tiny_text: str, database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file holds it: the store has it, for ``harness claims`` and the pages."""
    monkeypatch.chdir(tmp_path)
    data = parse(tiny_text, tmp_path).plain()
    ran = harness.run(data, report=True, **INLINE)
    assert ran.database == database
    assert ran.report is not None
    assert ran.report.is_file()
    assert run_main(["claims", "tiny", "--format", "json"]) == 0
    (message,) = json.loads(capsys.readouterr().out)
    assert [item["verdict"] for item in message["verdicts"]] == ["direction confirmed"]
    assert run_main(["report"]) == 0
    assert run_main(["claims", "tinny"]) == 2


def test_forced_and_scratch_runs(tiny: Path, database: Path, tmp_path: Path) -> None:
    suite = harness.load_suite(tiny)
    scratch = harness.run(suite, seeds=2, scratch=True, **INLINE)
    assert not scratch.database.exists()
    assert not database.exists()
    harness.run(suite, seeds=2, database=database, arms=["base"], **INLINE)
    forced = harness.run(suite, seeds=2, database=database, force=True, **INLINE)
    assert forced.record["reused"] == 0
    assert dict(forced.record["counts"]) == {"done": 4}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "rya"}, "unknown executor 'rya'; did you mean 'ray'"),
        ({"seeds": 0}, "--seeds '0'"),
        ({"seeds": [-1]}, "whole numbers from 0 on"),
        ({"scale": "minni"}, "did you mean 'mini'"),
        ({"arms": ["bettr"]}, "did you mean 'better'"),
        ({"overrides": {"stepss": 2}}, "stepss"),
        ({"scratch": True, "database": "x.duckdb"}, "'scratch' and 'database' exclude"),
    ],
)
def test_wrong_usage_is_one_message_before_anything_runs(
    tiny: Path, database: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(HarnessError, match=message):
        harness.run(tiny, **{"executor": "inline", **options})
    assert not database.exists()


def test_the_cost_of_an_added_seed_is_reported_before_it_runs(tiny: Path, database: Path) -> None:
    first = harness.run(tiny, seeds=3, database=database, **INLINE)
    assert first.record["warnings"] == []
    seen = Seen()
    second = harness.run(tiny, seeds=4, database=database, watch=seen, **INLINE)
    (warning,) = seen.warnings
    assert second.record["warnings"] == [warning]
    assert warning.startswith(
        "tiny-better: evaluated at 3 pairs before and at 4 now, so that the sequential test applies"
    )
    needed = int(warning.split("--seeds ")[1].split()[0])
    (row,) = second.result.verdicts
    assert row.ci_low is None or abs(row.ci_low) == float("inf")
    third = harness.run(tiny, seeds=needed, database=database, watch=seen, **INLINE)
    assert len(seen.warnings) == 1, "a sequential claim costs nothing more"
    (row,) = third.result.verdicts
    assert row.ci_low is not None
    assert abs(row.ci_low) < float("inf")


def test_a_run_shows_the_warnings_of_validate(tiny: Path, database: Path) -> None:
    text = tiny.read_text().replace("arms:\n", "arms:\n  idle: {role: method, optimizer: {name: sgd, lr: 0.1}}\n", 1)
    tiny.write_text(text)
    seen = Seen()
    harness.run(tiny, seeds=2, arms=["base", "better"], database=database, watch=seen, **INLINE)
    assert any("known/idle" in warning for warning in seen.warnings)
    assert seen.warnings == list(map(str, warnings_of(harness.load_suite(tiny))))


@pytest.fixture
def tuned(tiny: Path) -> Path:
    tiny.write_text(tiny.read_text().replace("steps: 20", "steps: 1") + TUNED)
    return tiny


def test_searches_and_rates_wait_in_one_queue(tuned: Path, database: Path) -> None:
    seen = Seen()
    run = harness.run(tuned, seeds=3, database=database, executor="inline", watch=seen)
    assert run.complete
    main, ahead = seen.queues[:2]
    assert len(main) == 6
    assert {label.split("/")[1].partition("#")[0].partition("-")[0] for label in ahead} == {"base", "better"}
    assert sum("#" in label for label in ahead) == 6
    assert sum("-lr-" in label for label in ahead) == 12
    assert len(seen.queues) <= 3  # what the arms chose
    again = Seen()
    harness.run(tuned, seeds=3, database=database, executor="inline", watch=again)
    assert not again.queues


def test_a_failure_in_a_search_runs_once(tuned: Path, database: Path) -> None:
    tuned.write_text(tuned.read_text().replace("effect: 3.0}", "effect: 3.0, fails: true}"))
    seen = Seen()
    run = harness.run(tuned, seeds=3, database=database, executor="inline", watch=seen)
    failed = {name: count for name, count in seen.ended.items() if name.endswith("failed")}
    assert len(failed) == 3 + 3 + 6  # the sensitivity's middle is the arm itself, which has failed
    assert set(failed.values()) == {1}
    assert len(run.record["failures"]) == len(failed)
    with open_reader(database) as reader:
        rows = reader.query("SELECT arm, status, count(*) FROM sweep_points GROUP BY ALL ORDER BY ALL").rows
    assert rows == [("base", "told", 3), ("better", "failed", 3)]


HEAVY = ("torch", "ray", "duckdb", "pandas", "numpy", "pydantic", "click")


def test_importing_the_package_costs_nothing() -> None:
    code = f"import sys, harness\nprint(sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", harness.__all__)
def test_each_public_name_is_there(name: str) -> None:
    assert getattr(harness, name).__name__ == name


def test_a_notebook_completes_names_that_are_not_imported_yet() -> None:
    assert {"judge", "open", "run", "Suite", "HarnessError"} <= set(dir(harness))


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'runsuite'"):
        _ = harness.runsuite
