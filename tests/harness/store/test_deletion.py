"""Tags, deleted and replaced trials in the event log and the tables; a rebuild arrives at the same state."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from store_support import event_of, outcome, outcome_line, planned, run_event

from harness.store import TABLES, StorePaths, Writer, check, ingest, open_reader, rebuild
from harness.store.deletion import DeletedEvent, ReplacedEvent, RestoredEvent
from harness.store.events import Event, LogEvent, OutcomeEvent, SweepPointEvent, TaggedEvent, VerdictsEvent, read_event
from harness.store.rows import KEYS, STORED
from harness.store.schema import migrations, open_for_writing

PUBLIC = tuple(table for table in TABLES if table not in ("ingested", "deletions"))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "h.duckdb"


def dump(database: Path, tables: Sequence[str] = (*PUBLIC, *STORED.values())) -> dict[str, list[str]]:
    with open_reader(database, consistent=True) as reader:
        return {table: sorted(map(repr, reader.query(f"FROM {table}").rows)) for table in tables}


def record(database: Path, *events: Event, run: str | None = None) -> None:
    with Writer(database, run, ingest_seconds=60) as owner:
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
        VerdictsEvent([{"claim_id": "k", "verdict": "inconclusive", "n": 2}], sides, [gate], "s", "mini"),
        run="r1",
    )


def deleted(*trials: str, name: str = "D1") -> DeletedEvent:
    row = {"claim_id": "k", "scale": "mini", "suite": "s", "verdict": "not run", "design": {}}
    return DeletedEvent(name, trials, [row], "why")


def agrees(database: Path) -> None:
    """The file is what its event log makes, in every table."""
    assert check(database) == []
    before = dump(database)
    rebuild(database)
    assert dump(database) == before


def test_a_deleted_trial_is_in_no_public_table(database: Path) -> None:
    filled(database)
    record(database, deleted("a"))
    content = dump(database)
    kept = ("verdict_trials", "verdicts", "run_trials")  # history
    assert [table for table in PUBLIC if table not in kept and any("'a'" in row for row in content[table])] == []
    assert len(content["trials"]) == 2
    assert (content["sweep_points"], content["gates"]) == ([], []), (
        "a configuration and a mechanism check that rested on it"
    )
    marked = {table for table, stored in STORED.items() if len(content[stored]) > len(content[table])}
    assert marked == STORED.keys() - {"adoptions"}
    with open_reader(database) as reader:
        assert reader.finished(["a", "b"]) == {"b": "done"}
        assert [row["verdict"] for row in reader.verdicts(["k"]).dicts()] == ["not run"]
    agrees(database)


def test_what_is_restored_is_what_was(database: Path) -> None:
    filled(database)
    before = dump(database)
    record(database, deleted("a"), deleted("c", name="D2"))
    record(database, RestoredEvent("D1"))
    assert len(dump(database)["trials"]) == 2
    record(database, RestoredEvent("D2"))
    assert dump(database) == before
    with open_reader(database) as reader:
        deletions = reader.query("SELECT deletion_id, reason, restored_at > deleted_at FROM deletions ORDER BY 1").rows
    assert deletions == [("D1", "why", True), ("D2", "why", True)]
    agrees(database)


def test_a_configuration_comes_back_with_the_last_of_its_trials(database: Path) -> None:
    filled(database)
    before = dump(database)["sweep_points"]
    record(database, deleted("a", "b"), outcome("b"))
    record(database, RestoredEvent("D1"))
    assert dump(database)["sweep_points"] == before, "its other trial is there again, though measured again"
    agrees(database)


def test_a_trial_that_ran_again_stays_as_it_is(database: Path) -> None:
    filled(database)
    record(database, deleted("a", "b"))
    again = outcome("a", results=[{"split": "test", "metric": "top1-accuracy", "value": 7.0}])
    record(database, planned("r2", "a", "b"), again, outcome("b", "failed", error="x"), run="r2")
    record(database, RestoredEvent("D1"))
    with open_reader(database) as reader:
        assert reader.query("SELECT value FROM results WHERE trial_id = 'a'").rows == [(7.0,)]
        assert reader.statuses(["a", "b"]) == {"a": "done", "b": "done"}, "a failed attempt is not a result"
        assert reader.query("SELECT trial_id FROM trials_with_deleted WHERE deleted_at IS NOT NULL").rows == [("a",)]
        assert reader.query("SELECT restored_at FROM deletions").rows == [(None,)]
        assert reader.query("SELECT count(*) FROM run_trials WHERE trial_id = 'b'").rows == [(2,)]
    agrees(database)
    record(database, deleted("a", name="D2"), RestoredEvent("D1"))
    with open_reader(database) as reader:
        assert reader.query("SELECT value = ord('a') FROM results WHERE trial_id = 'a'").rows == [(True,)]
    agrees(database)


def test_comparisons_with_deleted_numbers_are_deleted_with_them(database: Path) -> None:
    """A second outcome that differs makes a claim invalid; not that of a trial measured again."""
    filled(database)
    record(database, deleted("a"), planned("r2", "a"), outcome("a"))
    with open_reader(database) as reader:
        assert reader.query("SELECT kind FROM events").rows == []
        assert reader.query("SELECT kind FROM events_with_deleted ORDER BY 1").rows == [("duplicate",), ("energy",)]


def test_an_undo_of_nothing_is_set_aside(database: Path) -> None:
    filled(database)
    before = dump(database, PUBLIC)
    record(database, RestoredEvent("D9"))
    after = dump(database, PUBLIC)
    (rejected,) = set(after.pop("events")) - set(before.pop("events"))
    assert "unknown deletion" in rejected
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
    before = dump(database, PUBLIC)
    event = event_of(outcome_line("b", status))
    assert isinstance(event, OutcomeEvent)
    record(database, ReplacedEvent(event.outcome, "r2"))
    after = dump(database, PUBLIC)
    assert len(after.pop("events")) == len(before.pop("events")) + 1
    assert after == before


def test_tags_come_and_go_in_order(database: Path) -> None:
    changes = ((["x", "y"], []), ([], ["x", "none"]), (["x"], []), ([], ["y"]))
    record(database, run_event("r1"), *(TaggedEvent("r1", added, removed) for added, removed in changes))
    with open_reader(database) as reader:
        assert reader.query("SELECT run_id, tag FROM tags").rows == [("r1", "x")]
    agrees(database)


def test_events_that_stand_alone_do_so_in_every_batch(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything at once, or event by event: the same state."""
    filled(database)
    first = [deleted("a"), planned("r2", "a"), outcome("a", steps=1), RestoredEvent("D1")]
    second = [deleted("b", "a", name="D2"), outcome("b", steps=5), RestoredEvent("D2")]
    record(database, *first, *second)
    live = dump(database)
    rebuild(database)
    assert dump(database) == live
    monkeypatch.setattr(ingest, "BATCH_BYTES", 1)
    rebuild(database)
    assert dump(database) == live


def test_a_view_shows_the_columns_of_its_table(database: Path) -> None:
    """A migration that changes a stored table creates its view again."""
    with open_for_writing(StorePaths.of(database)) as connection:
        for table, stored in STORED.items():
            columns = [name for name, *_ in connection.execute(f"FROM {stored} LIMIT 0").description or ()]
            shown = [name for name, *_ in connection.execute(f"FROM {table} LIMIT 0").description or ()]
            assert (sorted(columns), sorted(shown)) == (sorted([*TABLES[table], "deleted_at"]), sorted(TABLES[table]))
    assert {"metrics", "events", "gates"} == STORED.keys() - KEYS.keys()


OF_SCHEMA_6 = (
    {"kind": "forgotten", "forget_id": "F1", "trials": ["a"], "verdicts": [], "reason": "why"},
    {"kind": "restored", "forget_id": "F1"},
)


def test_lines_of_before_schema_7_are_read(database: Path) -> None:
    filled(database)
    before = dump(database)
    first, second = (read_event({"v": 1, **line}) for line in OF_SCHEMA_6)
    assert first == DeletedEvent("F1", ["a"], [], "why")
    record(database, first)
    assert len(dump(database)["trials"]) == 2
    record(database, second)
    assert dump(database) == before


def test_the_migration_marks_what_was_forgotten(database: Path) -> None:
    """A file of schema 6 with deleted trials; one ran again."""
    steps = [step for step in migrations() if step.name != "deletions" and step.number < 7]
    with open_for_writing(StorePaths.of(database), steps) as connection:
        connection.execute("INSERT INTO forgettings VALUES ('F1', '2026-01-02', NULL, 'why', 'harness forget')")
        for schema, trials in (("main", "ab"), ("forgotten", "bc")):
            forget_id = "" if schema == "main" else ", 'F1' AS forget_id"
            for trial in trials:
                row = f"SELECT '{trial}' AS trial_id{forget_id}"
                connection.execute(f"INSERT INTO {schema}.trials BY NAME {row}, 'done' AS status")
                connection.execute(
                    f"INSERT INTO {schema}.results BY NAME {row}, 'test' AS split, 'm' AS metric, 1 AS value"
                )
                connection.execute(f"INSERT INTO {schema}.metrics BY NAME {row}, 'loss' AS name, 2 AS value")
                link = f"{row}, 'r' AS run_id, 'b' AS benchmark, 'x' AS arm"
                connection.execute(f"INSERT INTO {schema}.run_trials BY NAME {link}")
    with open_reader(database, consistent=True) as reader:
        for table in ("trials", "results", "metrics"):
            assert reader.query(f"SELECT trial_id FROM {table} ORDER BY 1").rows == [("a",), ("b",)]
            marked = f"FROM {STORED[table]} WHERE deleted_at IS NOT NULL"
            sql = f"SELECT trial_id, CAST(deleted_at AS VARCHAR) {marked} ORDER BY 1"
            assert reader.query(sql).rows == [("b", "2026-01-02 00:00:00"), ("c", "2026-01-02 00:00:00")]
        assert reader.query("SELECT trial_id FROM run_trials ORDER BY 1").rows == [("a",), ("b",), ("c",)]
        assert reader.query("SELECT deletion_id, reason FROM deletions").rows == [("F1", "why")]
    record(database, RestoredEvent("F1"))
    with open_reader(database) as reader:
        assert reader.query("SELECT trial_id, value FROM results ORDER BY 1").rows == [("a", 1), ("b", 1), ("c", 1)]


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
            suites = connection.execute(f"SELECT claim_id, suite FROM {table} ORDER BY 1").fetchall()
            assert suites == [("one", "s"), ("two", None)]
