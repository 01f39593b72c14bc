"""Effects of events on the tables; each is ingested exactly once."""

import math
import os
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from store_support import event_of, outcome_line, planned_line, run_line, trial_row

from harness.store import TABLES, EventLog, Outcome, StorePaths, ingest, segments
from harness.store import events as kinds
from harness.store.deletion import DeletedEvent, ReplacedEvent, RestoredEvent
from harness.store.log_lines import encode
from harness.store.rows import STORED, convert
from harness.store.schema import open_for_writing
from harness.trial.result import Artifact, MetricSeries, Score
from harness.vocabulary import Status


def write(paths: StorePaths, events: Iterable[dict[str, Any]], session: str = "r") -> EventLog:
    journal = EventLog(paths.journal, session)
    for event in events:
        journal.append(event_of(event), durable=False)
    journal.close()
    return journal


@contextmanager
def ingested(paths: StorePaths) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_for_writing(paths) as connection:
        ingest.ingest(connection, paths.journal)
        yield connection


def rows(paths: StorePaths, sql: str) -> list[tuple[Any, ...]]:
    with ingested(paths) as connection:
        return connection.execute(sql).fetchall()


def test_python_and_sql_agree_on_the_tables(paths: StorePaths) -> None:
    with open_for_writing(paths) as connection:
        types: dict[str, dict[str, str]] = {}
        for table, column, kind in connection.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns()"
            " WHERE schema_name = 'main' AND NOT internal ORDER BY table_name, column_index"
        ).fetchall():
            types.setdefault(table, {})[column] = kind
    views = {"cell_trials", "current_results"}
    types = {table: kinds for table, kinds in types.items() if table not in {*views, *STORED.values()}}
    assert list(types.pop("schema_version")) == ["version", "name", "applied_at"]
    assert {table: list(columns.items()) for table, columns in types.items()} == {
        table: list(columns.items()) for table, columns in TABLES.items()
    }


def test_a_trial_from_plan_to_outcome(paths: StorePaths) -> None:
    write(paths, [run_line("r", spec={"a": [1, None]}), planned_line("r", "t"), run_line("r", suite=None)])
    assert rows(paths, "SELECT status, attempts, stand_in, spec FROM trials") == [
        ("queued", 0, ["data:real", "model"], '{"model":"resnet8"}')
    ]
    started = {"kind": "started", "run_id": "r", "trial_id": "t", "attempt": 2, "device": "cuda:0"}
    write(paths, [started | {"at": "2026-02-03T04:05:06Z"}, {"kind": "heartbeat", "trial_id": "t", "step": 4}])
    assert rows(paths, "SELECT status, attempts, device, started_at FROM trials") == [
        ("running", 2, "cuda:0", datetime(2026, 2, 3, 4, 5, 6))
    ]
    assert rows(paths, "SELECT trial_id, step, steps FROM progress") == [("t", 4, None)]
    write(paths, [outcome_line("t", attempts=2, peak_memory_mb=10, environment_id="e")])
    write(paths, [{"kind": "environment", "environment_id": "e", "info": {"torch": "2.14"}}])
    assert rows(
        paths, "SELECT status, attempts, wall_seconds, peak_memory_mb, device, environment_id, arm FROM trials"
    ) == [("done", 2, 1.5, 10.0, "cuda:0", "e", "adamp")]
    base = float(sum(b"t"))
    assert rows(paths, "FROM results") == [("t", "test", "top1-accuracy", base)]
    assert rows(paths, "FROM metrics ORDER BY step") == [
        ("t", "train", "loss", step, step / 10, base + step, step / 2) for step in range(3)
    ]
    assert rows(paths, "FROM artifacts") == [("t", "weights", "weights", "t.safetensors", None)]
    assert rows(paths, "FROM progress") == []
    assert rows(paths, "SELECT suite, spec FROM runs") == [(None, '{"a":[1,null]}')]
    assert rows(paths, "FROM environments") == [("e", '{"torch":"2.14"}')]


def test_not_finite_numbers_survive(paths: StorePaths) -> None:
    values = [math.nan, math.inf, -math.inf, 1.0, None]
    series = {"split": "train", "name": "loss", "step": [0, 1, 2, 3, 4], "value": values}
    results = [{"split": "test", "metric": f"m{i}", "value": value} for i, value in enumerate(values)]
    write(paths, [planned_line("r", "t"), outcome_line("t", "diverged", series=[series], results=results)])
    for sql in ("SELECT value FROM metrics ORDER BY step", "SELECT value FROM results ORDER BY metric"):
        stored = [value for (value,) in rows(paths, sql)]
        assert math.isnan(stored[0])
        assert stored[1:] == [math.inf, -math.inf, 1.0, None]


def test_one_trial_under_several_names_and_in_several_runs(paths: StorePaths) -> None:
    links = [
        {"trial_id": "t", "benchmark": benchmark, "arm": arm, "reused": False}
        for benchmark, arm in [("digits", "adamp"), ("digits", "adamp-nesterov"), ("grocery", "adamp")]
    ]
    write(paths, [planned_line("r", "t") | {"links": links}, outcome_line("t")])
    write(paths, [planned_line("r2", "t", reused=True, arm="renamed", suite="other", benchmark="other")])
    expected = [("digits", "adamp"), ("digits", "adamp-nesterov"), ("grocery", "adamp")]
    assert rows(paths, "SELECT benchmark, arm FROM run_trials WHERE run_id = 'r' ORDER BY ALL") == expected
    assert rows(paths, "SELECT reused FROM run_trials WHERE run_id = 'r2'") == [(True,)]
    assert rows(paths, "SELECT suite, benchmark, arm, status FROM trials") == [("adamp", "digits", "adamp", "done")]


@pytest.mark.parametrize("first", ["done", "diverged"])
@pytest.mark.parametrize("second", ["done", "diverged", "failed", "timeout", "cancelled"])
@pytest.mark.parametrize("together", [True, False])
def test_a_result_is_final(paths: StorePaths, first: str, second: str, together: bool) -> None:
    write(paths, [planned_line("r", "t"), outcome_line("t", first)])
    if not together:
        rows(paths, "FROM trials")
    late = outcome_line("t", second, results=[{"split": "test", "metric": "other", "value": 0}], run_id="late")
    write(paths, [late, planned_line("r2", "t"), {"kind": "started", "trial_id": "t"}])
    assert rows(paths, "SELECT status FROM trials") == [(first,)]
    assert rows(paths, "SELECT count(*) FROM metrics") == [(3,)]
    assert rows(paths, "SELECT metric FROM results") == [("top1-accuracy",)]
    assert rows(paths, "SELECT run_id, kind, detail->>'status', detail->>'kept' FROM events") == [
        ("late", "duplicate", second, first)
    ]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("status", ["failed", "timeout", "cancelled"])
def test_a_failure_leaves_status_and_error_and_can_be_replaced(paths: StorePaths, status: str, together: bool) -> None:
    write(paths, [planned_line("r", "t"), outcome_line("t", status, error="CUDA out of memory")])
    if not together:
        assert rows(paths, "SELECT status, error FROM trials") == [(status, "CUDA out of memory")]
        for table in ("metrics", "results", "artifacts"):
            assert rows(paths, f"FROM {table}") == []
        write(paths, [planned_line("r2", "t")])
        assert rows(paths, "SELECT status, error FROM trials") == [("queued", None)]
    write(paths, [outcome_line("t")])
    assert rows(paths, "SELECT status, error FROM trials") == [("done", None)]
    assert rows(paths, "SELECT count(*) FROM metrics") == [(3,)]
    assert rows(paths, "FROM events") == []


def test_an_outcome_without_a_plan_is_kept_and_named_later(paths: StorePaths) -> None:
    write(paths, [outcome_line("t")])
    assert rows(paths, "SELECT status, suite FROM trials") == [("done", None)]
    write(paths, [planned_line("r", "t")])
    assert rows(paths, "SELECT status, suite, seed FROM trials") == [("done", "adamp", 0)]


def test_last_heartbeat_wins_and_none_outlives_the_outcome(paths: StorePaths) -> None:
    beats = [{"kind": "heartbeat", "trial_id": "t", "step": step, "loss": step / 2} for step in range(5)]
    write(paths, [planned_line("r", "t"), *beats])
    assert rows(paths, "SELECT step, loss FROM progress") == [(4, 2.0)]
    write(paths, [outcome_line("t", "failed"), planned_line("r", "t"), beats[1]])
    assert rows(paths, "SELECT step FROM progress") == [(1,)]
    write(paths, [beats[2], outcome_line("t"), beats[3]])
    assert rows(paths, "FROM progress") == []


def claim(claim_id: str, **columns: Any) -> dict[str, Any]:
    return {"claim_id": claim_id, "metric": "top1-accuracy", "is_primary": False, **columns}


@pytest.mark.parametrize("together", [True, False])
def test_claims_replace_those_of_their_suite(paths: StorePaths, together: bool) -> None:
    first = [claim("a", published_method=71.96), claim("b")]
    write(paths, [{"kind": "claims", "suite": "nkd", "claims": first}])
    write(paths, [{"kind": "claims", "suite": "adamp", "claims": [claim("c")]}])
    if not together:
        rows(paths, "FROM claims")
    write(paths, [{"kind": "claims", "suite": "nkd", "claims": [claim("b", unit="percent"), claim("d")]}])
    expected = [("b", "nkd", "percent", None), ("c", "adamp", None, None), ("d", "nkd", None, None)]
    assert rows(paths, "SELECT claim_id, suite, unit, published_method FROM claims ORDER BY 1") == expected
    write(paths, [{"kind": "claims", "suite": "nkd", "claims": []}])
    assert rows(paths, "SELECT claim_id FROM claims") == [("c",)]


def test_verdicts_keep_their_history_and_gates_their_last_state(paths: StorePaths) -> None:
    def judged(at: str, verdict: str, value: float) -> dict[str, Any]:
        gate = {"claim_id": "a", "metric": "mechanism.x", "arm": "adamp", "value": value, "threshold": 1}
        return {
            "kind": "verdicts",
            "at": at,
            "suite": "s",
            "scale": "mini",
            "verdicts": [{"claim_id": "a", "n": 3, "p": math.nan, "verdict": verdict, "design": {"g": 2}}],
            "trials": [{"claim_id": "a", "trial_id": "t", "side": "method"}],
            "gates": [gate | {"passed": value > 1}, gate | {"metric": "mechanism.y"}],
        }

    write(paths, [judged("2026-01-01T00:00:00Z", "inconclusive", 0.5)])
    write(paths, [judged("2026-01-02T00:00:00Z", "direction confirmed", 2.0)])
    assert rows(paths, "SELECT judged_at, verdict, isnan(p), design FROM verdicts ORDER BY 1") == [
        (datetime(2026, 1, 1), "inconclusive", True, '{"g":2}'),
        (datetime(2026, 1, 2), "direction confirmed", True, '{"g":2}'),
    ]
    assert rows(paths, "SELECT count(*) FROM verdict_trials") == [(2,)]
    expected = [("mechanism.x", 2.0, True), ("mechanism.y", 2.0, None)]
    assert rows(paths, "SELECT metric, value, passed FROM gates ORDER BY 1") == expected


def test_a_claim_has_a_verdict_and_gates_under_each_protocol(paths: StorePaths) -> None:
    at = "2026-01-01T00:00:00Z"
    gate = {"claim_id": "a", "metric": "mechanism.x", "arm": "ours", "value": 1.0}
    verdicts = {"kind": "verdicts", "scale": "mini", "at": at}
    for protocol, verdict in (
        ("published", "inconclusive"),
        ("tuned", "direction confirmed"),
        ("tuned", "inconclusive"),
    ):
        own = {"claim_id": "a", "protocol": protocol}
        side = {**own, "trial_id": "t", "side": "method"}
        parts = {"verdicts": [{**own, "verdict": verdict}], "trials": [side], "gates": [{**gate, **own}]}
        write(paths, [{**verdicts, **parts}])
    write(paths, [{**verdicts, "verdicts": [{"claim_id": "b", "verdict": "inconclusive"}]}])
    expected = [("a", "published", "inconclusive"), ("a", "tuned", "inconclusive"), ("b", "published", "inconclusive")]
    assert rows(paths, "SELECT claim_id, protocol, verdict FROM verdicts ORDER BY ALL") == expected
    assert rows(paths, "SELECT protocol FROM verdict_trials ORDER BY 1") == [("published",), ("tuned",)]
    assert rows(paths, "SELECT protocol FROM gates ORDER BY 1") == [("published",), ("tuned",)]


def test_sweeps_and_points_are_updated_in_parts(paths: StorePaths) -> None:
    sweep = {"sweep_id": "w", "suite": "s", "arms": ["a", "b"], "budget": 8, "status": "running"}
    point = {"sweep_id": "w", "arm": "a", "number": 0, "params": {"lr": 0.1}, "trial_ids": ["t"]}
    write(paths, [{"kind": "sweep", "row": sweep}, {"kind": "sweep_point", "row": point}])
    rows(paths, "FROM sweeps")
    point = {"sweep_id": "w", "arm": "a", "number": 0, "value": 0.5, "status": "done", "told_at": "2026-01-01"}
    write(paths, [{"kind": "sweep_point", "row": point}, {"kind": "sweep", "row": {"sweep_id": "w", "status": "done"}}])
    assert rows(paths, "SELECT arms, budget, status FROM sweeps") == [(["a", "b"], 8, "done")]
    assert rows(paths, "SELECT params, trial_ids, value, status FROM sweep_points") == [
        ('{"lr":0.1}', '["t"]', 0.5, "done")
    ]


def test_an_abandoned_run_runs_no_more(paths: StorePaths) -> None:
    started = {"kind": "started", "trial_id": "a"}
    write(paths, [run_line("r"), planned_line("r", "a", "b", "c"), started, outcome_line("b")])
    write(paths, [{"kind": "abandoned", "run_id": "r", "trials": ["a", "b", "c"]}])
    assert rows(paths, "SELECT status, finished_at IS NULL FROM runs") == [("interrupted", False)]
    expected = [("a", "cancelled"), ("b", "done"), ("c", "cancelled")]
    assert rows(paths, "SELECT trial_id, status FROM trials ORDER BY 1") == expected


def test_events_that_make_no_sense_are_set_aside(paths: StorePaths) -> None:
    good = encode({"v": 1, "at": "2026-01-01T00:00:00Z", **outcome_line("good")})
    bad = [
        {"v": 1, "kind": "outcome", "trial_id": "x"},
        {"v": 1, **outcome_line("x", wall_seconds="long")},
        {"v": 1, **outcome_line("x", series=[{"name": "n", "value": [1, 2], "step": [1]}])},
        {"v": 1, **outcome_line("x", series=[{"name": "n", "value": ["one"]}])},
        {"v": 1, **outcome_line("x", results=7)},
        {"v": 1, **outcome_line("x", results=[{"split": "test", "metric": None}])},
        {"v": 1, **outcome_line("x", attempts=2**70)},
        {"v": 1, **outcome_line("x", error="lone \ud800 surrogate")},
        {"v": 1, "kind": "planned", "run_id": "r", "trials": [trial_row("x"), {"seed": 1}]},
        {"v": 1, "kind": "run", "run": {"run_id": "r", "started_at": "yesterday"}},
        {"v": 1, "kind": "claims", "suite": "s", "claims": [{"is_primary": "perhaps", "claim_id": "c"}]},
        {"v": 1, "kind": "heartbeat", "trial_id": ["x"]},
        {"v": 1, "kind": "teleport"},
        {"v": 2, **outcome_line("x")},
        {"v": 1, "kind": "event", "event_kind": "e", "at": "noon"},
    ]
    paths.journal.mkdir()
    # A surrogate that a writer writes is replaced; here it is in the file.
    lines = [encode(event).replace(b"lone ? s", b"lone \\ud800 s") for event in bad] + [b"junk\n"]
    random.Random(0).shuffle(lines)
    (paths.journal / "a.jsonl").write_bytes(good + b"".join(lines) + good.replace(b"good", b"last"))
    assert rows(paths, "SELECT trial_id, status FROM trials ORDER BY 1") == [("good", "done"), ("last", "done")]
    expected = [("rejected", len(bad)), ("unreadable", 1)]
    assert rows(paths, "SELECT kind, count(*) FROM events GROUP BY ALL ORDER BY 1") == expected
    assert all(reason for (reason,) in rows(paths, "SELECT detail->>'reason' FROM events"))
    assert rows(paths, "SELECT count(*) FROM metrics") == [(6,)]


def test_nothing_is_taken_twice_whatever_the_cuts(paths: StorePaths) -> None:
    """The event log grows by random pieces of bytes; ingestion happens after each, also of two log segments."""
    names = [f"t{i}" for i in range(40)]
    whole = [planned_line("r", *names), *(outcome_line(name, steps=i) for i, name in enumerate(names))]
    data = b"".join(encode({"v": 1, "at": f"2026-01-01T00:00:{i:02}Z", **event}) for i, event in enumerate(whole))
    cuts = sorted(random.Random(1).sample(range(len(data)), 12))
    paths.journal.mkdir()
    target = paths.journal / "a.jsonl"
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        with target.open("ab") as file:
            file.write(data[start:end])
        write(paths, [{"kind": "event", "event_kind": "between"}], session="b")
        rows(paths, "FROM trials")
    assert rows(paths, "SELECT count(*), count(DISTINCT trial_id) FROM results") == [(40, 40)]
    assert rows(paths, "SELECT trial_id, count(*) FROM metrics GROUP BY ALL ORDER BY count(*)") == [
        (f"t{i}", i) for i in range(1, 40)
    ]
    assert rows(paths, "SELECT count(*) FROM events") == [(13,)]
    assert rows(paths, "SELECT \"offset\" FROM ingested WHERE segment = 'a'") == [(len(data),)]


def test_a_batch_that_fails_to_commit_leaves_nothing(paths: StorePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    write(paths, [planned_line("r", "t"), outcome_line("t")])

    write_rows = ingest.PendingRows.write

    def fail(batch: ingest.PendingRows) -> None:
        write_rows(batch)
        raise duckdb.IOException("No space left on device")

    with open_for_writing(paths) as connection:
        with monkeypatch.context() as patch:
            patch.setattr(ingest.PendingRows, "write", fail)
            with pytest.raises(duckdb.IOException):
                ingest.ingest(connection, paths.journal)
        assert connection.execute("SELECT count(*) FROM trials").fetchall() == [(0,)]
        ingest.ingest(connection, paths.journal)
    assert rows(paths, "SELECT (SELECT count(*) FROM metrics), (FROM ingested SELECT count(*))") == [(3, 1)]


def test_segments_are_merged_in_the_order_of_their_times(paths: StorePaths) -> None:
    def at(minute: int, event: dict[str, Any]) -> dict[str, Any]:
        return event | {"at": f"2026-01-01T00:{minute:02}:00Z"}

    later = outcome_line("t", results=[{"split": "test", "metric": "m", "value": 2}])
    earlier = outcome_line("t", results=[{"split": "test", "metric": "m", "value": 1}])
    write(paths, [at(0, planned_line("r", "t")), at(5, later)])
    write(paths, [at(1, {"kind": "event", "event_kind": "x"}), at(4, earlier)])
    assert rows(paths, "SELECT value FROM results") == [(1.0,)]


def test_every_kind_of_event_comes_back_from_its_line(paths: StorePaths) -> None:
    row = {"sweep_id": "w", "arm": "a", "number": 1}
    events = [
        kinds.SessionEvent("r", 7, "host"),
        kinds.RunEvent({"run_id": "r"}),
        kinds.EnvironmentEvent("e", {"torch": "2"}),
        kinds.PlannedEvent("r", [{"trial_id": "t"}], [{"trial_id": "t", "benchmark": "b", "arm": "a"}]),
        kinds.StartedEvent("t", "r", 2),
        kinds.HeartbeatEvent("t", 1, 2, 0.5),
        kinds.LogEvent("retry", {"trial_id": "t"}, "r"),
        kinds.OutcomeEvent(
            Outcome(
                "t",
                Status.DONE,
                2,
                "2026-01-01T00:00:00",
                "e",
                "cpu",
                None,
                (Score("test", "m", 1.0),),
                (MetricSeries("train", "loss", [1], [0.5], [2.0], [0.1]),),
                (Artifact("items", "npz", Path("a/b.npz"), "c"),),
                1.0,
                2.0,
                3.0,
            ),
            "r",
        ),
        kinds.ClaimsEvent("s", [{"claim_id": "c"}]),
        kinds.VerdictsEvent(
            [{"claim_id": "c"}], [{"claim_id": "c", "trial_id": "t", "side": "method"}], [], "s", "mini"
        ),
        kinds.SweepEvent({"sweep_id": "w"}),
        kinds.SweepPointEvent(row),
        kinds.AbandonedEvent("r", ["t"]),
        kinds.AdoptedEvent([{"trial_id": "t", "adopted_from": "s"}], "r"),
        kinds.TaggedEvent("r", ["a"], ["b"]),
        DeletedEvent("f", ["t"], [], "why", "harness delete t"),
        RestoredEvent("f"),
        ReplacedEvent(Outcome("t", Status.DONE, results=(Score("test", "m", 1.0),)), "r"),
    ]
    assert {event.kind for event in events} == {kind.kind for kind in kinds.KINDS.values()}
    journal = EventLog(paths.journal, "s")
    for event in events:
        journal.append(event)
    journal.close()
    (segment,) = segments(paths.journal)
    restored = [kinds.read_event(line.content) for line in segment.lines() if line.content]
    assert [replace(event, at=None) for event in restored] == events


def test_damaged_archive_does_not_hold_up_the_others(paths: StorePaths) -> None:
    paths.journal.mkdir()
    (paths.journal / "a.jsonl.gz").write_bytes(os.urandom(500))
    (paths.journal / "b.jsonl.gz").write_bytes(b"")
    write(paths, [outcome_line("t")])
    assert rows(paths, "SELECT trial_id FROM trials") == [("t",)]


def test_conversion_keeps_meaning() -> None:
    row = convert("trials", {"seed": 3.0, "started_at": 0, "stand_in": "model", "spec": "plain", "other": 1})
    assert row == {"seed": 3, "started_at": datetime(1970, 1, 1), "stand_in": ["model"], "spec": '"plain"'}
    assert convert("trials", {"started_at": "2026-01-01T02:00:00+02:00"})["started_at"] == datetime(2026, 1, 1)
    assert convert("trials", {"spec": '{"a": 1}', "seed": None}) == {"spec": '{"a": 1}', "seed": None}
    for bad in ({"seed": 3.5}, {"seed": "x"}, {"wall_seconds": [1]}, {"started_at": "later"}):
        with pytest.raises((TypeError, ValueError)):
            convert("trials", bad)
