"""Verdicts that stand while their inputs are equal."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

from harness.app.run import Request, Result, run_suite
from harness.cli.group import run_main
from harness.execute.dispatch import Watch
from harness.exports.verdict_table import verdict_tables
from harness.judge import judging, remembered
from harness.judge.rows import VerdictRow
from harness.judge.stored import judge_now, stored_otherwise
from harness.plan.planning import Selection
from harness.results.current import ResultFilter
from harness.results.diff import difference
from harness.store import Writer, open_reader
from harness.store.deletion import DeletedEvent
from harness.store.events import EnvironmentEvent, LogEvent, PlannedEvent, VerdictsEvent
from harness.suite import load_suite

SELECTION = Selection(seeds=(0, 1, 2))


def ran(path: Path, database: Path, selection: Selection = SELECTION) -> Result:
    return run_suite(load_suite(path), Request(database, selection, executor="inline"), Watch())


def count(database: Path, table: str = "verdicts") -> int:
    with open_reader(database) as reader:
        return int(reader.query(f"SELECT count(*) FROM {table}").rows[0][0])


def plain(row: VerdictRow) -> dict[str, Any]:
    return json.loads(json.dumps({**row.columns(), "judged_at": None}))  # type: ignore[no-any-return]


@pytest.fixture
def judged(tiny: Path, database: Path) -> Result:
    """A run whose claim is judged."""
    return ran(tiny, database)


def test_nothing_is_judged_again(judged: Result, tiny: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, sides = count(database), count(database, "verdict_trials")
    monkeypatch.setattr(remembered, "judge_protocols", lambda *positional, **named: pytest.fail("it was judged again"))
    again, (_, later) = ran(tiny, database), judge_now(load_suite(tiny), SELECTION, database)
    assert judged.verdicts
    assert [*map(plain, again.verdicts)] == [*map(plain, later)] == [*map(plain, judged.verdicts)]
    assert (count(database), count(database, "verdict_trials")) == (rows, sides)


def test_a_run_that_judged_nothing_new_ends_with_standing_verdicts(judged: Result, tiny: Path, database: Path) -> None:
    second = ran(tiny, database)
    with Writer(database) as owner:
        row = {"claim_id": "tiny-better", "verdict": "contradicted", "judged_at": "2100-01-01T00:00:00", "n": 3}
        owner.record(VerdictsEvent([row], suite="tiny", scale="mini"))
    with open_reader(database) as reader:
        assert difference(reader, judged.run_id, second.run_id).verdicts == []
        for run, word in (
            (judged.run_id, "direction confirmed"),
            (second.run_id, "direction confirmed"),
            (None, "contradicted"),
        ):
            (table,) = verdict_tables(reader, ResultFilter(suite="tiny", run=run)).values()
            assert [row[2] for row in table.rows] == [word]


def repeated(database: Path, result: Result) -> None:
    detail = {"trial_id": result.plan.trials[0].trial_id, "status": "done", "results": []}
    with Writer(database) as owner:
        owner.record(LogEvent(run_id=result.run_id, event_kind="determinism", detail=detail))


def environment(database: Path, result: Result) -> None:
    with Writer(database) as owner:
        owner.record(EnvironmentEvent("another", {"class": "another"}))


def deleted(database: Path, result: Result) -> None:
    with Writer(database) as owner:
        owner.record(DeletedEvent("f", [result.plan.trials[0].trial_id]))


def another_verdict(database: Path, result: Result) -> None:
    with Writer(database) as owner:
        row = {"claim_id": "tiny-better", "verdict": "not run", "judged_at": "2100-01-01T00:00:00"}
        owner.record(VerdictsEvent([row], suite="tiny", scale="mini"))


@pytest.mark.parametrize("change", [repeated, environment, deleted, another_verdict])
def test_what_happens_in_the_store_makes_a_new_judgement(
    judged: Result, tiny: Path, database: Path, change: Callable[[Path, Result], None]
) -> None:
    change(database, judged)
    rows = count(database)
    judge_now(load_suite(tiny), SELECTION, database)
    assert count(database) == rows + 1
    judge_now(load_suite(tiny), SELECTION, database)
    assert count(database) == rows + 1


def test_another_suite_plan_or_code_makes_a_new_judgement(
    judged: Result, tiny: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, suite = tiny.read_text(), load_suite(tiny)
    judge_now(suite, replace(SELECTION, seeds=(0, 1)), database)
    assert count(database) == 2
    tiny.write_text(text.replace("against: [base]", "against: [base], m: 2.0"))
    judge_now(load_suite(tiny), SELECTION, database)
    assert count(database) == 3
    monkeypatch.setattr(remembered, "code_digest", lambda: "of tomorrow")
    judge_now(load_suite(tiny), SELECTION, database)
    assert count(database) == 4


def planned(database: Path) -> list[PlannedEvent]:
    from harness.store import segments
    from harness.store.events import read_event

    journal = database.with_name(database.name + ".journal")
    events = [read_event(line.content) for item in segments(journal) for line in item.lines() if line.content]
    return [event for event in events if isinstance(event, PlannedEvent)]


def test_a_row_that_is_stored_is_journalled_no_more_unless_its_content_is_lost(
    judged: Result, tiny: Path, database: Path
) -> None:
    import duckdb

    ran(tiny, database)
    first, second = planned(database)
    assert (len(first.trials), len(second.trials), len(second.links)) == (6, 0, 6)
    lost = judged.plan.trials[0]
    with duckdb.connect(str(database)) as connection:
        connection.execute(
            "UPDATE trials_with_deleted SET spec = NULL, benchmark = NULL WHERE trial_id = ?", [lost.trial_id]
        )
        connection.execute("CHECKPOINT")
    ran(tiny, database)
    assert [row["trial_id"] for row in planned(database)[-1].trials] == [lost.trial_id]
    with open_reader(database) as reader:
        row = reader.trial(lost.trial_id)
    assert row is not None
    assert (row["benchmark"], row["status"], row["spec"]["seed"]) == ("known", "done", lost.seed)


def test_the_last_verdict_is_the_last_whatever_the_clock_says(
    tiny: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(days=3650)

    with monkeypatch.context() as patch:
        patch.setattr(judging, "datetime", Ahead)
        ran(tiny, database, replace(SELECTION, seeds=(0, 1, 2)))
    ran(tiny, database, replace(SELECTION, seeds=(0, 1, 2, 3)))
    with open_reader(database) as reader:
        rows = reader.query("SELECT judged_at, n FROM verdicts ORDER BY judged_at").rows
        (current,) = reader.verdicts(scale="mini").dicts()
    assert [count for _, count in rows] == [3, 4]
    assert rows[1][0] - rows[0][0] == timedelta(microseconds=1)
    assert current["n"] == 4


def otherwise(path: Path, database: Path, seeds: tuple[int, ...]) -> int:
    plan, _ = judge_now(load_suite(path), Selection(seeds=seeds), database)
    with open_reader(database) as reader:
        return stored_otherwise(plan, reader)


def test_claims_say_how_many_stored_trials_another_recipe_made(
    tiny: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(tiny, database)
    assert otherwise(tiny, database, (0, 1, 2)) == 0
    assert otherwise(tiny, database, (0, 1, 2, 3)) == 0, "a seed that never ran was not measured with other code"

    text = tiny.read_text(encoding="utf-8")
    changed = re.sub(r"steps: (\d+)", lambda steps: f"steps: {int(steps[1]) + 1}", text)
    assert changed != text
    tiny.write_text(changed, encoding="utf-8")
    assert otherwise(tiny, database, (0, 1, 2)) == 6
    assert otherwise(tiny, database, (2, 3)) == 2

    assert run_main(["claims", str(tiny), "--seeds", "3", "--db", str(database)]) == 0
    message = " ".join(capsys.readouterr().err.split())
    assert "6 stored trials measured with other code, recipes or data are not judged" in message
    assert f"harness run {tiny} --scale mini" in message
