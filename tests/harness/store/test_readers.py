"""Readers: fresh while a writer writes, while someone holds the file, and shut in when a person's SQL runs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from store_support import dead_session, foreign_holder, outcome, outcome_line, planned, python, run_event
from waiting import until

from harness.store import Reader, StoreError, StorePaths, Writer, open_reader, readers
from harness.store.events import ClaimsEvent, EnvironmentEvent, HeartbeatEvent, LogEvent, SweepPointEvent, VerdictsEvent
from harness.store.locking import looking, writing


def fill(paths: StorePaths) -> StorePaths:
    with Writer(paths.database, "r") as owner:
        owner.record(run_event("r", spec={"a": 1}))
        owner.record(planned("r", "ab1", "ab2", "c"))
        owner.record(outcome("ab1"))
    return paths


@pytest.fixture
def filled(paths: StorePaths) -> StorePaths:
    return fill(paths)


SLOW = "SELECT count(*) FROM range(3000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3"
"""Hours of work, so that only an interruption ends it."""


def test_a_missing_database_is_reported_with_what_makes_one(paths: StorePaths) -> None:
    with pytest.raises(StoreError, match="harness run SUITE"):
        open_reader(paths.database)
    fill(paths).database.unlink()
    with pytest.raises(StoreError, match="harness db rebuild"):
        open_reader(paths.database)


def test_queries_come_with_columns_types_and_rows(filled: StorePaths) -> None:
    with open_reader(filled.database) as reader:
        answer = reader.query("SELECT run_id, started_at, spec FROM runs WHERE run_id = ?", ["r"])
        assert (answer.columns, answer.types) == (["run_id", "started_at", "spec"], ["VARCHAR", "TIMESTAMP", "JSON"])
        assert answer.dicts()[0]["spec"] == {"a": 1}
        assert len(answer) == len(list(answer)) == 1
        assert reader.query("SELECT $x + 1", {"x": 1}).rows == [(2,)]
        assert reader.arrow("FROM results").column("value").to_pylist() == [float(sum(b"ab1"))]
        assert reader.arrow("FROM results WHERE trial_id = ?", ["zz"]).num_rows == 0
        frame = reader.frame("FROM metrics ORDER BY step")
        assert list(frame["step"]) == [0, 1, 2]
        assert np.allclose(frame["elapsed_seconds"], [0, 0.5, 1])
        assert reader.query("SELECT range FROM range(12345)").rows[-1] == (12344,)
        with pytest.raises(StoreError, match="does not exist"):
            reader.query("FROM nothing")
        assert reader.query("SELECT 1").rows == [(1,)], "a wrong query leaves the reader usable"


def test_named_queries(filled: StorePaths) -> None:
    with Writer(filled.database) as owner:
        owner.record(HeartbeatEvent(trial_id="c", step=5, steps=9, loss=0.5))
        owner.record(EnvironmentEvent(environment_id="e", info={"torch": "2"}))
        owner.record(LogEvent(run_id="r", event_kind="retry", detail={"n": 1}))
        owner.record(ClaimsEvent(suite="s", claims=[{"claim_id": "k"}]))
        for at, verdict in [("2026-01-02T00:00:00Z", "new"), ("2026-01-01T00:00:00Z", "old")]:
            rows = [{"claim_id": "k", "scale": "mini", "verdict": verdict, "design": {"g": 2}}]
            gates = [{"claim_id": "k", "scale": "mini", "metric": "m", "passed": False}]
            owner.record(VerdictsEvent(at=at, verdicts=rows, gates=gates))
        owner.record(SweepPointEvent(row={"sweep_id": "w", "arm": "a", "number": 1, "params": {"lr": 1}}))
    with open_reader(filled.database) as reader:
        assert reader.finished(["ab1", "ab2", "zz"]) == {"ab1": "done"}
        assert reader.statuses(["ab1", "ab2", "zz"]) == {"ab1": "done", "ab2": "queued"}
        assert reader.trial("c")["spec"] == {"model": "resnet8"}  # type: ignore[index]
        assert reader.trial("ab1") is not None
        assert reader.trial("ab") is None, "the beginning of two"
        assert reader.trial("zz") is None
        assert reader.results(["ab1"]).rows == [("ab1", "test", "top1-accuracy", float(sum(b"ab1")))]
        assert [row["name"] for row in reader.artifacts(["ab1"])] == ["weights"]
        assert [row["run_id"] for row in reader.runs()] == [row["run_id"] for row in reader.runs("adamp")] == ["r"]
        assert reader.runs("nkd") == []
        assert len(reader.run_trials("r")) == 3
        assert reader.query("SELECT claim_id FROM claims").rows == [("k",)]
        assert [row["verdict"] for row in reader.verdicts(["k"], "mini")] == ["new"]
        assert reader.verdicts(["other"]) == []
        assert reader.query("SELECT passed FROM gates").rows == [(False,)]
        assert reader.query("SELECT step FROM progress").rows == [(5,)]
        assert [row["detail"] for row in reader.events("r", "retry")] == [{"n": 1}]
        assert reader.environments(["e"]) == {"e": {"torch": "2"}}
        assert [row["params"] for row in reader.sweep_points("w")] == [{"lr": 1}]


def test_reads_while_an_owner_writes(paths: StorePaths, capsys: pytest.CaptureFixture[str]) -> None:
    """A reader polls while a writer records. The age of the oldest unseen outcome is printed, not judged."""
    done = threading.Event()
    seen: list[tuple[float, int]] = []

    def poll() -> None:
        with open_reader(paths.database, sandbox=True) as reader:
            while not done.is_set():
                start = time.monotonic()
                seen.append((start, reader.query("SELECT count(*) FROM results").rows[0][0]))

    acknowledged: list[float] = []
    with Writer(paths.database) as owner:
        thread = threading.Thread(target=poll)
        thread.start()
        for number in range(60):
            owner.record(outcome(f"t{number}", steps=20))
            acknowledged.append(time.monotonic())
            time.sleep(0.05)
        until(lambda: not thread.is_alive() or (seen and seen[-1][1] == 60))
        done.set()
        thread.join()
    assert seen[-1][1] == 60
    counts = [count for _, count in seen]
    assert counts == sorted(counts), "an answer never goes back in time"
    assert len(set(counts)) > 2, "the reader saw the run go on"
    ages = [start - acknowledged[count] for start, count in seen if count < len(acknowledged)]
    with capsys.disabled():
        print(f"\n{len(seen)} queries during the run; the oldest unseen outcome was {max(ages):.2f} s old")


def test_a_reader_turns_away_from_a_waiting_writer(filled: StorePaths) -> None:
    inside, leave = threading.Event(), threading.Event()
    order: list[str] = []

    def write() -> None:
        with writing(filled):
            order.append("writer")
            inside.set()
            leave.wait(30)

    with open_reader(filled.database) as reader:
        thread = threading.Thread(target=write)
        thread.start()
        assert inside.wait(30)
        assert reader.finished(["ab1"]) == {"ab1": "done"}
        assert (reader.source, reader.holder) == ("copy", None), "our own writer is not worth a word"
        leave.set()
        thread.join()
        assert reader.finished(["ab1"]) == {"ab1": "done"}
        assert reader.source == "database"


def test_a_waiting_writer_of_another_process_passes_before_new_readers(filled: StorePaths) -> None:
    code = """
        import sys
        from harness.store import StorePaths
        from harness.store.locking import writing
        print("waiting", flush=True)
        with writing(StorePaths.of(sys.argv[1]), timeout=60):
            print("in", flush=True)
            sys.stdin.readline()
    """
    with looking(filled):
        process = python(code, str(filled.database))
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        until(lambda: _is_shut_out(filled), "the writer never stood at the turnstile")  # others may look before
    assert process.stdout.readline() == "in\n"
    process.communicate("\n")


def _is_shut_out(paths: StorePaths) -> bool:
    """True if another process cannot read now."""
    try:
        with _other_look(paths):
            return False
    except StoreError:
        return True


def _other_look(paths: StorePaths) -> threading.Lock:
    """A look as another process would take it: past the mutex of this one."""
    other = StorePaths(paths.database.parent / "." / paths.database.name)
    from harness.store import locking

    locking._gates.pop(other.database, None)
    return looking(other, timeout=0.05)  # type: ignore[return-value]


def test_a_long_query_leaves_the_file_and_goes_to_a_copy(filled: StorePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_reader(filled.database) as reader:
        for take in (readers._table, readers._arrow):
            with pytest.raises(readers._SlowError):
                reader._look(SLOW, (), take)
        with writing(filled, timeout=5.0):
            pass
        monkeypatch.setattr(readers, "LOOK_SECONDS", 0.0)
        assert reader.finished(["ab1"]) == {"ab1": "done"}
        assert reader.source == "copy"


def test_a_foreign_process_holds_the_file(filled: StorePaths) -> None:
    with foreign_holder(filled.database) as holder, open_reader(filled.database) as reader:
        assert reader.finished(["ab1", "c"]) == {"ab1": "done"}
        assert reader.source == "copy"
        assert str(holder.process.pid) in str(reader.holder)
        owner = Writer(filled.database, tell=lambda message: None)
        owner.open()
        owner.record(outcome("c"))
        with open_reader(filled.database) as second:
            assert second.finished(["ab1", "c"]) == {"ab1": "done", "c": "done"}
        owner.close(wait_seconds=0.0)
        holder.release()
        both = {"ab1": "done", "c": "done"}
        until(lambda: reader.finished(["ab1", "c"]) == both, "an old copy is brought up to date from the event log")


def test_without_a_snapshot_the_journal_alone_is_enough(filled: StorePaths) -> None:
    filled.snapshot.unlink()
    with foreign_holder(filled.database), open_reader(filled.database) as reader:
        assert reader.finished(["ab1"]) == {"ab1": "done"}
        assert reader.query("SELECT count(*) FROM metrics").rows == [(3,)]


@pytest.mark.parametrize("damage", [b"", b"not a database" * 1000])
def test_a_damaged_snapshot_is_passed_over(filled: StorePaths, damage: bytes) -> None:
    filled.snapshot.write_bytes(damage)
    with open_reader(filled.database, consistent=True) as reader:
        assert reader.finished(["ab1"]) == {"ab1": "done"}
    with foreign_holder(filled.database), open_reader(filled.database) as reader:
        assert reader.finished(["ab1"]) == {"ab1": "done"}


def test_an_old_snapshot_is_passed_over_if_the_file_is_free(filled: StorePaths) -> None:
    """Log segments that were removed are still in the file."""
    old = filled.snapshot.read_bytes()
    with Writer(filled.database) as owner:
        owner.record(outcome("c"))
    for path in filled.journal.iterdir():
        path.unlink()
    filled.snapshot.write_bytes(old)
    os.utime(filled.snapshot, (time.time() - 3600, time.time() - 3600))
    with open_reader(filled.database, consistent=True) as reader:
        assert reader.finished(["ab1", "c"]) == {"ab1": "done", "c": "done"}


def test_a_consistent_reader_sees_one_moment(filled: StorePaths) -> None:
    with Writer(filled.database) as owner, open_reader(filled.database, consistent=True) as reader:
        assert reader.finished(["c"]) == {}
        owner.record(outcome("c"))
        owner.flush()
        time.sleep(readers.FRESH_SECONDS + 0.1)
        assert reader.finished(["c"]) == {}
        with open_reader(filled.database, consistent=True) as later:
            assert later.finished(["c"]) == {"c": "done"}


def test_news_of_a_dead_owner_are_seen_at_once(filled: StorePaths) -> None:
    dead_session(filled.database, "dead", outcome_line("c"))
    with open_reader(filled.database) as reader:
        assert reader.finished(["c"]) == {"c": "done"}
        assert reader.source == "copy"


def test_a_file_from_the_future_is_not_fresh(filled: StorePaths) -> None:
    """After the clock was put back, the file has a later time."""
    with Writer(filled.database, ingest_seconds=60) as owner:
        owner.flush()
        owner.record(outcome("c"))
        ahead = time.time() + 3600
        os.utime(filled.database, (ahead, ahead))
        with open_reader(filled.database) as reader:
            assert reader.finished(["c"]) == {"c": "done"}
            assert reader.source == "copy"


def test_private_copies_are_removed(filled: StorePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    with open_reader(filled.database, consistent=True) as reader:
        reader.query("SELECT 1")
        assert list((tmp_path / "tmp").iterdir())
    assert not list((tmp_path / "tmp").iterdir())


# the sandbox


@pytest.fixture(scope="module", params=["database", "copy"])
def sandbox(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """One reader for all attempts: none may leave a trace for the next."""
    paths = fill(StorePaths.of(tmp_path_factory.mktemp("sandbox") / "h.duckdb"))
    with open_reader(paths.database, sandbox=True, consistent=request.param == "copy") as reader:
        yield reader
        assert reader.source == request.param


secret_frame = {"x": [1, 2]}

ESCAPES = [
    "FROM read_csv('/etc/passwd')",
    "FROM read_text('/etc/passwd')",
    "FROM read_json('{tmp}/x.json')",
    "FROM '{tmp}/data.csv'",
    "FROM glob('{tmp}/*')",
    "FROM read_csv('http://127.0.0.1:1/x.csv')",
    "FROM secret_frame",
    "FROM query_table('secret_frame')",
    "FROM query('FROM read_csv(''/etc/passwd'')')",
    "FROM json_execute_serialized_sql(json_serialize_sql('FROM read_csv(''/etc/passwd'')'))",
    "FROM enable_logging(storage='file', storage_path='{tmp}/log')",
    "FROM duckdb_secrets()",
    "COPY trials TO '{tmp}/out.csv'",
    "COPY trials FROM '{tmp}/data.csv'",
    "ATTACH '{tmp}/other.duckdb' AS other",
    "DETACH copy",
    "EXPORT DATABASE '{tmp}/export'",
    "INSTALL httpfs",
    "LOAD json",
    "PRAGMA threads=1",
    "SET threads = 1",
    "SET lock_configuration = false",
    "RESET lock_configuration",
    "SET VARIABLE x = 1",
    "CALL enable_logging()",
    "USE memory",
    "CREATE TABLE x (i INTEGER)",
    "CREATE OR REPLACE TEMP MACRO m() AS 1",
    "INSERT INTO trials (trial_id) VALUES ('x')",
    "UPDATE trials SET status = 'done'",
    "DELETE FROM trials",
    "DROP TABLE trials",
    "ALTER TABLE trials ADD COLUMN x INTEGER",
    "MERGE INTO trials USING results ON (false) WHEN NOT MATCHED THEN INSERT (trial_id) VALUES ('x')",
    "WITH x AS (SELECT 1) INSERT INTO trials (trial_id) SELECT 'x'",
    "EXPLAIN ANALYZE DELETE FROM trials",
    "EXPLAIN ANALYZE COPY trials TO '{db}.tmp/out.csv'",
    "/* x */ EXPLAIN -- a\n (ANALYZE, FORMAT JSON) COPY trials TO '{db}.tmp/out.csv'",
    "FROM read_csv('{db}.tmp/here.csv')",
    "SELECT '\udcff'",
    "BEGIN",
    "CHECKPOINT",
    "PREPARE p AS SELECT 1",
    "SELECT 1; DROP TABLE trials",
    "",
    "-- nothing",
    "SELECT 'unfinished",
    "SELECT \0",
]


@pytest.mark.parametrize("sql", ESCAPES)
def test_the_sandbox_refuses(sandbox: Reader, tmp_path: Path, sql: str) -> None:
    frame = secret_frame
    database = sandbox.paths.database
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")
    # DuckDB's own folder, in which it lets statements read and write.
    spilling = database.with_name(f"{database.name}.tmp")
    spilling.mkdir(exist_ok=True)
    (spilling / "here.csv").write_text("a,b\n1,2\n")
    folders = (tmp_path, spilling)
    before = {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")}
    with pytest.raises(StoreError):
        sandbox.query(sql.replace("{tmp}", str(tmp_path)).replace("{db}", str(database)))
    after = {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")}
    assert after == before, "something was written"
    assert frame is secret_frame
    assert sandbox.query("SELECT count(*) FROM trials").rows == [(3,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "FROM trials",
        "WITH x AS (SELECT count(*) AS n FROM trials) FROM x",
        "VALUES (1), (2)",
        "SHOW TABLES",
        "DESCRIBE trials",
        "SUMMARIZE metrics",
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE SELECT 1",
        "EXPLAIN (FORMAT JSON) FROM trials",
        "SELECT spec->>'model' FROM trials",
        "SELECT count(*) FROM trials;",
        "FROM (PIVOT trials ON status IN ('done', 'queued') USING count(*) GROUP BY arm)",
    ],
)
def test_the_sandbox_answers(sandbox: Reader, sql: str) -> None:
    assert sandbox.query(sql).rows


def test_refusals_say_what_is_allowed(filled: StorePaths) -> None:
    with open_reader(filled.database, sandbox=True) as reader:
        with pytest.raises(StoreError, match=r"only read: DELETE is refused.*SELECT"):
            reader.query("DELETE FROM trials")
        with pytest.raises(StoreError, match="reads this database and nothing else"):
            reader.query("FROM read_csv('/etc/passwd')")
        with pytest.raises(StoreError, match="one statement"):
            reader.query("SELECT 1; SELECT 2")
        with pytest.raises(StoreError, match='with quotes: "at"'):
            reader.query("SELECT at FROM events")


def test_a_person_s_query_is_bounded(filled: StorePaths) -> None:
    """One of the review's took 6.7 GB."""
    with open_reader(filled.database, sandbox=True) as reader:
        with pytest.raises(StoreError, match=r"more than 1,000,000 rows; say LIMIT"):
            reader.query("FROM range(3000000)")
        with pytest.raises(StoreError, match=r"more than 256 MB of text"):
            reader.query("SELECT repeat('x', 100000) FROM range(3000)")
        with pytest.raises(StoreError, match=r"(?i)out of memory"):
            reader.query("SELECT list(range) FROM range(1000000000)")
        assert reader.query("SELECT count(*) FROM range(3000000)").rows == [(3000000,)]
