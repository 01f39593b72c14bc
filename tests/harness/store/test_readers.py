"""Readers: fresh while a writer writes, while someone holds the file, and shut in when a person's SQL runs."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from store_support import dead_session, foreign_holder, outcome, outcome_line, planned, run_event
from waiting import until

from harness.store import Reader, StoreError, StorePaths, Writer, open_reader, readers
from harness.store.connections import writing
from harness.store.events import EnvironmentEvent, VerdictsEvent


def fill(paths: StorePaths) -> StorePaths:
    with Writer(paths.database, "r") as owner:
        owner.record(run_event("r", spec={"a": 1}))
        owner.record(planned("r", "ab1", "ab2", "c"))
        owner.record(outcome("ab1"))
    return paths


@pytest.fixture
def filled(paths: StorePaths) -> StorePaths:
    return fill(paths)


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
        owner.record(EnvironmentEvent(environment_id="e", info={"torch": "2"}))
        for at, verdict in [("2026-01-02T00:00:00Z", "new"), ("2026-01-01T00:00:00Z", "old")]:
            rows = [{"claim_id": "k", "scale": "mini", "verdict": verdict, "design": {"g": 2}}]
            gates = [{"claim_id": "k", "scale": "mini", "metric": "m", "passed": False}]
            owner.record(VerdictsEvent(at=at, verdicts=rows, gates=gates))
    with open_reader(filled.database) as reader:
        assert reader.finished(["ab1", "ab2", "zz"]) == {"ab1": "done"}
        assert reader.statuses(["ab1", "ab2", "zz"]) == {"ab1": "done", "ab2": "queued"}
        assert reader.trial("c")["spec"] == {"model": "resnet8"}  # type: ignore[index]
        assert reader.trial("ab1") is not None
        assert reader.trial("ab") is None, "the beginning of two"
        assert reader.trial("zz") is None
        assert reader.results(["ab1"]).rows == [("ab1", "test", "top1-accuracy", float(sum(b"ab1")))]
        assert [row["name"] for row in reader.artifacts(["ab1"]).dicts()] == ["weights"]
        assert [row["verdict"] for row in reader.verdicts(["k"], "mini").dicts()] == ["new"]
        assert len(reader.verdicts(["other"])) == 0
        assert reader.environments(["e"]) == {"e": {"torch": "2"}}


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept readers look for news before every query."""
    monkeypatch.setattr(readers, "FRESH_SECONDS", 0.0)


def test_reads_while_a_writer_writes(paths: StorePaths, eager: None) -> None:
    seen: list[tuple[int, int]] = []
    done = threading.Event()

    def poll() -> None:
        with open_reader(paths.database) as kept:
            while not done.is_set():
                first = kept.query("SELECT count(*) FROM results").rows[0][0]
                with open_reader(paths.database) as fresh:
                    seen.append((first, fresh.query("SELECT count(*) FROM results").rows[0][0]))

    with Writer(paths.database, ingest_seconds=0.02) as writer:
        thread = threading.Thread(target=poll)
        thread.start()
        for number in range(20):
            writer.record(outcome(f"t{number}", steps=20))
            turns = len(seen)
            until(lambda turns=turns: len(seen) > turns or not thread.is_alive())
        until(lambda: not thread.is_alive() or seen[-1] == (20, 20))
        done.set()
        thread.join()
    counts = [count for pair in seen for count in pair]
    assert counts == sorted(counts), "an answer went back in time"
    assert seen[-1] == (20, 20)


def test_a_reader_and_a_writer_do_not_wait_for_each_other(filled: StorePaths) -> None:
    with writing(filled), open_reader(filled.database) as reader:
        assert reader.finished(["ab1"]) == {"ab1": "done"}


def is_copied(reader: Reader) -> bool:
    return reader._copy.database.exists()


def test_a_copy_is_made_only_where_the_event_log_is_ahead(filled: StorePaths, eager: None) -> None:
    with open_reader(filled.database) as reader, open_reader(filled.database, sandbox=True) as second:
        assert reader.finished(["ab1", "c"]) == second.finished(["ab1", "c"]) == {"ab1": "done"}
        assert not is_copied(reader)
        assert is_copied(second), "DuckDB opens no file twice in one process with other settings"
        with Writer(filled.database, ingest_seconds=60) as writer:
            writer.record(outcome("c"))
            assert reader.finished(["ab1", "c"]) == second.finished(["ab1", "c"]) == {"ab1": "done", "c": "done"}
            assert is_copied(reader)
    with open_reader(filled.database) as reader:
        assert reader.finished(["c"]) == {"c": "done"}
        assert not is_copied(reader), "the writer left a snapshot with everything"


def test_news_of_a_living_writer_are_read_once_a_second(filled: StorePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "FRESH_SECONDS", 3600.0)
    with open_reader(filled.database) as reader:
        assert reader.finished(["c"]) == {}
        with Writer(filled.database, ingest_seconds=60) as writer:
            writer.record(outcome("c"))
            assert reader.finished(["c"]) == {}
            monkeypatch.setattr(readers, "FRESH_SECONDS", 0.0)
            assert reader.finished(["c"]) == {"c": "done"}
        monkeypatch.setattr(readers, "FRESH_SECONDS", 3600.0)
        dead_session(filled.database, "dead", outcome_line("ab2"))
        assert reader.finished(["ab2"]) == {"ab2": "done"}, "news of a dead one are read at once"


def test_a_foreign_process_holds_the_file(filled: StorePaths, eager: None) -> None:
    both = {"ab1": "done", "c": "done"}
    with foreign_holder(filled.database) as holder, open_reader(filled.database) as reader:
        assert reader.finished(["ab1", "c"]) == {"ab1": "done"}
        writer = Writer(filled.database, tell=lambda message: None).open()
        writer.record(outcome("c"))
        assert reader.finished(["ab1", "c"]) == both
        writer.close(wait_seconds=0.0)
        holder.release()
        assert reader.finished(["ab1", "c"]) == both


@pytest.mark.parametrize("damage", [None, b"", b"not a database" * 1000])
def test_a_missing_or_damaged_snapshot_is_passed_over(filled: StorePaths, damage: bytes | None) -> None:
    filled.snapshot.unlink()
    if damage is not None:
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


def test_a_consistent_reader_sees_one_moment(filled: StorePaths, eager: None) -> None:
    with Writer(filled.database) as writer, open_reader(filled.database, consistent=True) as reader:
        assert reader.finished(["c"]) == {}
        writer.record(outcome("c"))
        writer.flush()
        assert reader.finished(["c"]) == {}
        with open_reader(filled.database, consistent=True) as later:
            assert later.finished(["c"]) == {"c": "done"}


def test_private_copies_are_removed(filled: StorePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    filled.snapshot.unlink()
    with open_reader(filled.database) as reader:
        reader.query("SELECT 1")
        assert is_copied(reader)
    assert not list((tmp_path / "tmp").iterdir())


# the sandbox


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """One reader for all attempts: none may leave a trace for the next."""
    paths = fill(StorePaths.of(tmp_path_factory.mktemp("sandbox") / "h.duckdb"))
    with open_reader(paths.database, sandbox=True) as reader:
        yield reader


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
    folders = (tmp_path, spilling, database.parent)
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
    with open_reader(filled.database, sandbox=True) as reader:
        with pytest.raises(StoreError, match=r"more than 1,000,000 rows; say LIMIT"):
            reader.query("FROM range(3000000)")
        with pytest.raises(StoreError, match=r"more than 256 MB of text"):
            reader.query("SELECT repeat('x', 100000) FROM range(3000)")
        with pytest.raises(StoreError, match=r"(?i)out of memory"):
            reader.query("SELECT list(range) FROM range(1000000000)")
        assert reader.query("SELECT count(*) FROM range(3000000)").rows == [(3000000,)]
