"""Tags, forgotten and replaced trials in the journal and the tables; a rebuild arrives at the same state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from store_support import event_of, outcome, outcome_line, planned, run_event

from harness.store import TABLES, Owner, StorePaths, check, ingest, open_reader, rebuild
from harness.store.events import Event, LogEvent, OutcomeEvent, SweepPointEvent, VerdictsEvent
from harness.store.forgotten import MOVED
from harness.store.hygiene_events import ForgottenEvent, ReplacedEvent, RestoredEvent, TaggedEvent
from harness.store.schema import migrations, open_for_writing

PUBLIC = tuple(table for table in TABLES if table not in ("ingested", "forgettings"))
BESIDE = tuple(f"forgotten.{table}" for table in (*MOVED, "gates"))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "h.duckdb"


def dump(database: Path, tables: Sequence[str] = (*PUBLIC, *BESIDE)) -> dict[str, list[str]]:
    with open_reader(database, consistent=True) as reader:
        return {table: sorted(map(repr, reader.query(f"FROM {table}").rows)) for table in tables}


def record(database: Path, *events: Event, run: str | None = None) -> None:
    with Owner(database, run, ingest_seconds=60) as owner:
        for event in events:
            owner.record(event)


def filled(database: Path) -> None:
    """Three finished trials with everything that a store has about a trial."""
    gate = {"claim_id": "k", "metric": "mechanism.x", "value": 1.0}
    sides = [{"claim_id": "k", "trial_id": trial, "side": "method"} for trial in "ab"]
    record(
        database,
        run_event("r1"),
        planned("r1", "a", "b", "c"),
        *map(outcome, "abc"),
        outcome("a", results=[{"split": "test", "metric": "top1-accuracy", "value": float("nan")}]),
        LogEvent("energy", {"trial_id": "a", "joules": {"cpu": 3.0}}, "r1"),
        SweepPointEvent({"sweep_id": "w", "arm": "x", "number": 1, "trial_ids": ["a", "b"], "status": "told"}),
        VerdictsEvent([{"claim_id": "k", "verdict": "undecided", "n": 2}], sides, [gate], "s", "mini"),
        run="r1",
    )


def forgotten(*trials: str, name: str = "F1") -> ForgottenEvent:
    row = {"claim_id": "k", "scale": "mini", "suite": "s", "verdict": "not run", "design": {"forget_id": name}}
    return ForgottenEvent(name, trials, [row], "why")


def agrees(database: Path) -> None:
    """The file is what its journal makes, in every table."""
    assert check(database) == []
    before = dump(database)
    rebuild(database)
    assert dump(database) == before


def test_a_forgotten_trial_is_in_no_public_table(database: Path) -> None:
    filled(database)
    record(database, forgotten("a"))
    found = dump(database)
    kept = ("verdict_trials", "verdicts", "forgettings")  # what was judged is history
    assert [table for table in PUBLIC if table not in kept and any("'a'" in row for row in found[table])] == []
    assert len(found["trials"]) == 2
    assert (found["sweep_points"], found["gates"]) == ([], []), "a configuration and a gate that rested on it"
    assert all(row.startswith("('F1'") for table in BESIDE for row in found[table])
    assert {table for table in BESIDE if found[table]} == set(BESIDE) - {"forgotten.adoptions"}
    with open_reader(database) as reader:
        assert reader.finished(["a", "b"]) == {"b": "done"}
        assert [row["verdict"] for row in reader.verdicts(["k"])] == ["not run"]
    agrees(database)


def test_what_is_brought_back_is_what_was(database: Path) -> None:
    filled(database)
    before = dump(database)
    record(database, forgotten("a"), forgotten("c", name="F2"))
    record(database, RestoredEvent("F1"))
    assert len(dump(database)["trials"]) == 2
    record(database, RestoredEvent("F2"))
    assert dump(database) == before
    with open_reader(database) as reader:
        told = reader.query("SELECT forget_id, reason, restored_at > forgotten_at FROM forgettings ORDER BY 1").rows
    assert told == [("F1", "why", True), ("F2", "why", True)]
    agrees(database)


def test_a_configuration_comes_back_with_the_last_of_its_trials(database: Path) -> None:
    filled(database)
    before = dump(database)["sweep_points"]
    record(database, forgotten("a", "b"), outcome("b"))
    record(database, RestoredEvent("F1"))
    assert dump(database)["sweep_points"] == before, "its other trial is there again, though measured anew"
    agrees(database)


def test_a_trial_that_ran_again_stays_as_it_is(database: Path) -> None:
    filled(database)
    record(database, forgotten("a", "b"))
    again = outcome("a", results=[{"split": "test", "metric": "top1-accuracy", "value": 7.0}])
    record(database, planned("r2", "a", "b"), again, outcome("b", "failed", error="x"), run="r2")
    record(database, RestoredEvent("F1"))
    with open_reader(database) as reader:
        assert reader.query("SELECT value FROM results WHERE trial_id = 'a'").rows == [(7.0,)]
        assert reader.statuses(["a", "b"]) == {"a": "done", "b": "done"}, "a failed attempt is no result"
        assert reader.query("SELECT trial_id FROM forgotten.trials").rows == [("a",)]
        assert reader.query("SELECT restored_at FROM forgettings").rows == [(None,)]
        assert reader.query("SELECT count(*) FROM run_trials WHERE trial_id = 'b'").rows == [(2,)]
    agrees(database)
    record(database, forgotten("a", name="F2"), RestoredEvent("F1"))
    with open_reader(database) as reader:
        assert reader.query("SELECT value = ord('a') FROM results WHERE trial_id = 'a'").rows == [(True,)]
    agrees(database)


def test_comparisons_with_forgotten_numbers_are_forgotten_with_them(database: Path) -> None:
    """A second outcome that differs makes a claim invalid; not that of a trial measured anew."""
    filled(database)
    record(database, forgotten("a"), planned("r2", "a"), outcome("a"))
    with open_reader(database) as reader:
        assert reader.query("SELECT kind FROM events").rows == []
        assert reader.query("SELECT kind FROM forgotten.events ORDER BY 1").rows == [("duplicate",), ("energy",)]


def test_an_undo_of_nothing_is_set_aside(database: Path) -> None:
    filled(database)
    before = dump(database)
    record(database, RestoredEvent("F9"))
    after = dump(database)
    (rejected,) = set(after.pop("events")) - set(before.pop("events"))
    assert "nothing was forgotten under" in rejected
    assert after == before


def test_a_replaced_outcome_leaves_nothing_of_the_one_before(database: Path) -> None:
    filled(database)
    line = outcome_line("a", steps=2, results=[{"split": "test", "metric": "other", "value": 7.0}], artifacts=[])
    event = event_of(line)
    assert isinstance(event, OutcomeEvent)
    record(database, ReplacedEvent(event.outcome, "r2"))
    with open_reader(database) as reader:
        assert reader.query("SELECT metric, value FROM results WHERE trial_id = 'a'").rows == [("other", 7.0)]
        assert reader.query("SELECT count(*) FROM metrics WHERE trial_id = 'a'").rows == [(2,)]
        assert reader.query("SELECT count(*) FROM artifacts WHERE trial_id = 'a'").rows == [(0,)]
        assert reader.query("SELECT arm, status FROM trials WHERE trial_id = 'a'").rows == [("adamp", "done")]
        kinds = reader.query("SELECT kind, detail->'replaced_results'->0->>'value' FROM events ORDER BY 1").rows
    assert kinds == [("energy", None), ("replaced", str(float(ord("a"))))], "the duplicate compared with what is gone"
    agrees(database)


@pytest.mark.parametrize("status", ["failed", "timeout", "cancelled"])
def test_an_outcome_without_a_result_replaces_nothing(database: Path, status: str) -> None:
    filled(database)
    before = dump(database)
    event = event_of(outcome_line("b", status))
    assert isinstance(event, OutcomeEvent)
    record(database, ReplacedEvent(event.outcome, "r2"))
    after = dump(database)
    assert len(after.pop("events")) == len(before.pop("events")) + 1
    assert after == before


def test_tags_come_and_go_in_order(database: Path) -> None:
    tagged = [
        TaggedEvent("r1", ["x", "y"]),
        TaggedEvent("r1", (), ["x", "none"]),
        TaggedEvent("r1", ["x"]),
        TaggedEvent("r1", (), ["y"]),
    ]
    record(database, run_event("r1"), *tagged)
    with open_reader(database) as reader:
        assert reader.query("SELECT run_id, tag FROM tags").rows == [("r1", "x")]
    agrees(database)


def test_events_that_stand_alone_do_so_in_every_batch(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything at once, or event by event: the same state."""
    filled(database)
    record(
        database,
        forgotten("a"),
        planned("r2", "a"),
        outcome("a", steps=1),
        RestoredEvent("F1"),
        forgotten("b", "a", name="F2"),
        outcome("b", steps=5),
        RestoredEvent("F2"),
    )
    live = dump(database)
    rebuild(database)
    assert dump(database) == live
    monkeypatch.setattr(ingest, "BATCH_BYTES", 1)
    rebuild(database)
    assert dump(database) == live


def test_the_schema_of_what_is_forgotten_is_that_of_the_tables(database: Path) -> None:
    """A migration that changes a table changes the one beside it."""
    with open_for_writing(StorePaths.of(database)) as connection:
        found: dict[str, list[Any]] = {}
        sql = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = 'forgotten'"
        for table, column, kind in connection.execute(f"{sql} ORDER BY table_name, column_index").fetchall():
            found.setdefault(table, []).append((column, kind))
    expected = {table: [("forget_id", "VARCHAR"), *TABLES[table].items()] for table in (*MOVED, "gates")}
    assert {table: dict(columns) for table, columns in found.items()} == {t: dict(c) for t, c in expected.items()}


def test_verdicts_of_before_get_the_suite_that_alone_has_their_claim(database: Path) -> None:
    hygiene = next(step.number for step in migrations() if step.name == "hygiene")
    with open_for_writing(StorePaths.of(database), migrations()[: hygiene - 1]) as connection:
        for claim, suites in (("one", ["s"]), ("two", ["s", "t"])):
            for suite in suites:
                connection.execute("INSERT INTO claims (claim_id, suite) VALUES (?, ?)", [claim, suite])
            key = [claim, "mini", "published"]
            connection.execute(
                "INSERT INTO verdicts (claim_id, scale, protocol, judged_at) VALUES (?, ?, ?, now()::TIMESTAMP)", key
            )
            connection.execute("INSERT INTO gates (claim_id, scale, protocol) VALUES (?, ?, ?)", key)
    with open_for_writing(StorePaths.of(database)) as connection:
        for table in ("verdicts", "gates"):
            told = connection.execute(f"SELECT claim_id, suite FROM {table} ORDER BY 1").fetchall()
            assert told == [("one", "s"), ("two", None)]
