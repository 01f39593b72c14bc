"""Writers: kept up to date, killed at any instant, two at once, and beside foreign processes."""

import contextlib
import errno
import os
import random
import re
import signal
import threading
import time
from pathlib import Path
from typing import BinaryIO

import duckdb
import pytest
from store_support import (
    dead_session,
    foreign_holder,
    outcome,
    outcome_line,
    planned,
    planned_line,
    python,
    run_event,
    run_line,
)
from waiting import until

from harness.store import StoreError, StorePaths, Writer, check, open_reader, segments
from harness.store.connections import take_snapshot
from harness.store.errors import StoreDiskError
from harness.store.fold import PendingRows
from harness.store.schema import connect


def file_rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    """Rows of the file itself, event log or not."""
    connection = connect(path, read_only=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_close_leaves_database_snapshot_and_archive_after_an_error_too(paths: StorePaths) -> None:
    with contextlib.suppress(ZeroDivisionError), Writer(paths.database, "run-1") as owner:
        owner.record(run_event("run-1"))
        owner.record(planned("run-1", "t"))
        owner.record(outcome("t"))
        name = owner.journal.segment
        raise ZeroDivisionError
    for path in (paths.database, paths.snapshot):
        assert file_rows(path, "SELECT status FROM trials") == [("done",)]
    assert not paths.wal.exists()
    assert [path.name for path in paths.journal.iterdir()] == [f"{name}.jsonl.gz"]
    assert check(paths.database) == []
    left = {path.name.removeprefix("h.duckdb") for path in paths.database.parent.iterdir()}
    assert left == {"", ".journal", ".snapshot", ".lock", ".lock-wait"}
    with pytest.raises(StoreError, match="not open"):
        owner.record(outcome("u"))
    owner.close()


def test_the_thread_keeps_database_and_snapshot_up_to_date(paths: StorePaths) -> None:
    with Writer(paths.database, ingest_seconds=0.05) as owner:
        owner.record(outcome("t"))
        until(lambda: _has(paths.snapshot, "t"))
        with open_reader(paths.database) as reader:
            assert reader.finished(["t"]) == {"t": "done"}
        assert segments(paths.journal)[0].plain.exists(), "a living writer's log segment stays"


def _has(path: Path, trial_id: str) -> bool:
    try:
        return bool(file_rows(path, f"FROM trials WHERE trial_id = '{trial_id}'"))
    except StoreError:
        return False


def test_finished_sees_what_was_recorded_a_moment_ago(paths: StorePaths) -> None:
    with Writer(paths.database, ingest_seconds=60) as owner:
        owner.record(planned("r", "a", "b", "c", "d"))
        for trial_id, status in [("a", "done"), ("b", "diverged"), ("c", "failed")]:
            owner.record(outcome(trial_id, status))
        assert owner.finished(["a", "b", "c", "d", "e"]) == {"a": "done", "b": "diverged"}
        assert owner.finished([]) == {}


def test_snapshot_does_not_drop_the_lock_of_the_open_file(paths: StorePaths) -> None:
    """POSIX locks go when any descriptor of the file is closed; with a connection open nobody may copy."""
    messages: list[str] = []
    with Writer(paths.database, ingest_seconds=60, tell=messages.append) as owner:
        owner.record(outcome("t"))
        owner.flush()
        own = duckdb.connect(str(paths.database))
        try:
            with pytest.raises(StoreError, match="this process itself"):
                take_snapshot(paths)
            probe = python(
                """
                import sys, duckdb
                try:
                    duckdb.connect(sys.argv[1])
                    print("opened")
                except duckdb.IOException:
                    print("locked")
                """,
                str(paths.database),
            )
            assert probe.communicate()[0] == "locked\n"
        finally:
            own.close()


WRITER = """
    import sys, threading
    from harness.store import Writer
    from harness.store.events import HeartbeatEvent, StartedEvent
    from store_support import outcome, planned, run_event
    database, run_id, first, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    names = [f"t{number}" for number in range(first, first + count)]
    say = threading.Lock()
    with Writer(database, run_id, ingest_seconds=0.02) as writer:
        writer.record(run_event(run_id))
        finished = writer.finished(names)
        writer.record(planned(run_id, *names))
        left = [name for name in names if name not in finished]
        def work(mine):
            for name in mine:
                writer.record(StartedEvent(name, run_id))
                writer.record(HeartbeatEvent(name, step=1))
                writer.record(outcome(name, steps=50, run_id=run_id))
                with say:
                    print(name, flush=True)
        threads = [threading.Thread(target=work, args=(left[part::2],)) for part in (0, 1)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        writer.record(run_event(run_id, status="done", finished_at="2026-01-03T00:00:00Z"))
    print("end", flush=True)
"""


def _kill_at_random_and_resume(paths: StorePaths, kills: int, seed: int) -> int:
    """Runs of 400 trials are killed at random instants; one at the end finishes. Returns the kills that hit.

    The instant is counted in acknowledged trials and a moment more, so that a fast machine does not
    outrun the killer; one in four kills falls while the process still starts.
    """
    killed = 0
    generator = random.Random(seed)
    acknowledged: list[str] = []
    for number in range(kills):
        process = python(WRITER, str(paths.database), f"run-{number}", "0", "400", start_new_session=True)
        after = generator.choice([0, *(generator.randint(1, 300 // kills) for _ in range(3))])
        timer = threading.Timer(generator.uniform(0, 0.05 if after else 0.6), os.killpg, (process.pid, signal.SIGKILL))
        if not after:
            timer.start()
        assert process.stdout is not None
        for seen, line in enumerate(process.stdout, start=1):
            if line.endswith("\n"):
                acknowledged.append(line.strip())
            if seen == after:
                timer.start()
        process.wait()
        timer.cancel()
        killed += process.returncode == -signal.SIGKILL
        if "end" in acknowledged:
            break
        if acknowledged:
            with open_reader(paths.database) as reader:
                assert set(acknowledged) <= set(reader.finished(acknowledged)), "a finished trial is not seen"
    process = python(WRITER, str(paths.database), "run-last", "0", "400")
    acknowledged += process.communicate()[0].split()
    names = [name for name in acknowledged if name != "end"]
    assert len(names) == len(set(names)), "an acknowledged trial ran again"
    everything = {f"t{number}" for number in range(400)}
    with open_reader(paths.database) as reader:
        assert reader.finished(everything) == dict.fromkeys(everything, "done")
        assert reader.query(
            "SELECT count(*), min(n), max(n) FROM (SELECT count(*) AS n FROM metrics GROUP BY trial_id)"
        ).rows == [(400, 50, 50)]
        wrong = "FROM metrics JOIN results USING (trial_id) WHERE metrics.value <> results.value + step"
        assert reader.query(wrong).rows == []
        assert reader.query("SELECT status, count(*) FROM runs WHERE run_id = 'run-last' GROUP BY 1").rows == [
            ("done", 1)
        ]
        assert reader.query("FROM runs WHERE status = 'running'").rows == []
    assert check(paths.database) == []
    assert all(segment.is_archived for segment in segments(paths.journal))
    return killed


@pytest.mark.full
def test_killed_at_random_loses_and_repeats_nothing(paths: StorePaths) -> None:
    assert _kill_at_random_and_resume(paths, kills=4, seed=int(time.time())) > 0


def test_two_owners_at_once_both_finish(paths: StorePaths) -> None:
    first = python(WRITER, str(paths.database), "one", "0", "60")
    second = python(WRITER, str(paths.database), "two", "40", "60")
    outputs = [process.communicate()[0].split() for process in (first, second)]
    assert [output[-1] for output in outputs] == ["end", "end"]
    shared = set(outputs[0]) & set(outputs[1]) - {"end"}
    with open_reader(paths.database) as reader:
        assert reader.query("SELECT status, count(*) FROM trials GROUP BY 1").rows == [("done", 100)]
        assert reader.query("SELECT count(*) FROM metrics").rows == [(5000,)]
        duplicates = reader.query("SELECT detail->>'trial_id' FROM events WHERE kind = 'duplicate' ORDER BY 1").rows
        assert [trial_id for (trial_id,) in duplicates] == sorted(shared)
        assert reader.query("SELECT run_id, status FROM runs ORDER BY 1").rows == [("one", "done"), ("two", "done")]
        expected = [("one", 60), ("two", 60)]
        assert reader.query("SELECT run_id, count(*) FROM run_trials GROUP BY 1 ORDER BY 1").rows == expected
    assert check(paths.database) == []


def test_a_dead_run_is_taken_over(paths: StorePaths) -> None:
    started = {"kind": "started", "trial_id": "a", "run_id": "dead"}
    lines = [run_line("dead"), planned_line("dead", "a", "b", "c"), started]
    dead_session(paths.database, "dead", *lines, outcome_line("b"), torn='{"v":1,"kind":"outco')
    with Writer(paths.database, "next", ingest_seconds=60) as owner:
        assert owner.finished(["a", "b", "c"]) == {"b": "done"}
        states = [segment.is_archived for segment in segments(paths.journal)]
        assert states == [True, False], "the dead writer's log segment is archived, the living one's is not"
    with open_reader(paths.database) as reader:
        assert reader.query("SELECT status FROM runs").rows == [("interrupted",)]
        assert reader.statuses("abc") == {"a": "cancelled", "b": "done", "c": "cancelled"}
    assert check(paths.database) == []


def test_a_trial_of_a_dead_run_that_another_run_has_is_left_alone(paths: StorePaths) -> None:
    with Writer(paths.database, "alive", ingest_seconds=60) as alive:
        alive.record(run_event("alive"))
        alive.record(planned("alive", "a"))
        dead_session(paths.database, "dead", run_line("dead"), planned_line("dead", "a", "b"))
        with Writer(paths.database, "next", ingest_seconds=60):
            pass
        with open_reader(paths.database) as reader:
            assert reader.statuses("ab") == {"a": "queued", "b": "cancelled"}


def test_a_foreign_process_holds_the_file_during_a_run(paths: StorePaths) -> None:
    messages: list[str] = []
    with Writer(paths.database, "r", ingest_seconds=0.02, tell=messages.append) as owner:
        owner.record(outcome("before"))
        owner.flush()
        with foreign_holder(paths.database) as holder:
            for number in range(30):
                owner.record(outcome(f"t{number}"))
            until(lambda: bool(messages))
            assert owner.finished(["before", "t0", "t29", "x"]) == dict.fromkeys(["before", "t0", "t29"], "done")
            time.sleep(0.3)
            assert len(messages) == 1, "it is reported once"
            assert str(holder.process.pid) in messages[0]
            assert "duckdb" in messages[0], "the holder's command line is named"
            holder.release()
            until(lambda: len(messages) == 2)
            assert "free again" in messages[1]
    assert file_rows(paths.database, "SELECT count(*) FROM trials") == [(31,)]
    assert check(paths.database) == []


def test_a_foreign_process_holds_the_file_from_before_to_after(paths: StorePaths) -> None:
    with Writer(paths.database) as owner:
        owner.record(outcome("old"))
    messages: list[str] = []
    with foreign_holder(paths.database):
        owner = Writer(paths.database, "r", tell=messages.append)
        owner.open()
        owner.record(outcome("new"))
        assert owner.finished(["old", "new"]) == {"old": "done", "new": "done"}
        owner.close(wait_seconds=0.3)
        assert any("next harness command" in message for message in messages)
        (segment,) = (segment for segment in segments(paths.journal) if not segment.is_archived)
        assert not segment.is_alive
        with open_reader(paths.database) as reader:
            assert reader.finished(["old", "new"]) == {"old": "done", "new": "done"}
    with Writer(paths.database) as owner:
        assert owner.finished(["new"]) == {"new": "done"}
    assert all(segment.is_archived for segment in segments(paths.journal))
    assert check(paths.database) == []


def test_trouble_with_the_database_never_stops_the_journal(paths: StorePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []
    with Writer(paths.database, ingest_seconds=0.02, tell=messages.append) as owner:

        def fail(*arguments: object) -> None:
            raise duckdb.IOException("No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("harness.store.writer.ingest", fail)
            owner.record(outcome("a"))
            until(lambda: bool(messages))
            owner.record(outcome("b"))
            time.sleep(0.2)
        assert len(messages) == 1
        assert "No space left" in messages[0]
        until(lambda: len(messages) == 2)
    assert file_rows(paths.database, "SELECT count(*) FROM trials") == [(2,)]


def test_leftovers_of_killed_copies_are_removed(paths: StorePaths) -> None:
    with Writer(paths.database):
        pass
    dead = python("pass")
    dead.communicate()
    for name in (f"{paths.snapshot.name}.partial-", f"{paths.database.name}.new-"):
        paths.snapshot.with_name(f"{name}{dead.pid}").write_bytes(b"half")
        paths.snapshot.with_name(f"{name}{os.getpid()}").write_bytes(b"not yet whole")
    paths.database.with_name(f"{paths.database.name}.new-{dead.pid}.wal").write_bytes(b"half")
    with Writer(paths.database):
        pass
    assert not list(paths.database.parent.glob(f"*{dead.pid}*"))
    assert len(list(paths.database.parent.glob(f"*.new-{os.getpid()}"))) == 1, "its process is alive"


def test_a_snapshot_that_does_not_fit_leaves_nothing_behind(paths: StorePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a copy would take the last space of the event log."""
    with Writer(paths.database) as owner:
        owner.record(outcome("a"))

    def half(source: BinaryIO, copy: BinaryIO, length: int) -> None:
        copy.write(source.read(1000))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("harness.store.locking.shutil.copyfileobj", half)
    with pytest.raises(OSError, match="No space left"):
        take_snapshot(paths)
    assert not list(paths.database.parent.glob("*.partial-*"))
    assert file_rows(paths.snapshot, "SELECT status FROM trials") == [("done",)]


LIMITED = """
    import resource, sys
    from harness.store import Writer
    from store_support import outcome
    limit = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    messages = []
    try:
        with Writer(sys.argv[1], tell=messages.append) as writer:
            writer.record(outcome("b", steps=4000))
            writer.flush()
    except Exception as error:
        messages.append(f"{type(error).__name__}: {error}")
    print(*messages, sep="\\n")
"""


FULL = 'TransactionContext Error: Failed to commit: Could not write file "h.duckdb.wal": No space left on device'


def test_a_full_disk_at_a_commit_is_no_damage(paths: StorePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB has ended the transaction then, and ``db rebuild`` would mend nothing: it needs the same space."""
    message = "cannot be written: .*No space left on device; what had finished is in the event log"
    write = PendingRows.write

    def full(rows: PendingRows) -> None:
        write(rows)
        rows.connection.execute("COMMIT")
        raise duckdb.TransactionException(FULL)

    with Writer(paths.database, ingest_seconds=60) as owner:
        owner.record(outcome("a"))
        with monkeypatch.context() as patch:
            patch.setattr(PendingRows, "write", full)
            with pytest.raises(StoreDiskError, match=message):
                owner.flush()


def test_what_a_limit_on_files_stops_is_taken_in_later(paths: StorePaths) -> None:
    limit = "100000"
    fresh = python(LIMITED, str(paths.database), limit).communicate()[0]
    with Writer(paths.database) as owner:
        owner.record(outcome("a"))
    grown = python(LIMITED, str(paths.database), limit).communicate()[0]
    for text in (fresh, grown):
        assert re.search(r"File too large|not up to date", text), text
        assert "damaged" not in text
        assert set(re.findall(r"^(\w+Error): ", text, re.MULTILINE)) <= {"StoreDiskError"}, text
    with Writer(paths.database) as owner:
        assert owner.finished(["a"]) == {"a": "done"}
    assert check(paths.database) == []
    assert not list(paths.database.parent.glob("*.new-*")), "what could not be made keeps no space"
