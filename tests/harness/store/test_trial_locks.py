"""Locks of trials: one holder at a time, none that is dead, and what others measured is seen before a trial starts."""

import errno
import fcntl
import os
import platform
import signal
import threading
import time
from pathlib import Path

import pytest
from store_support import outcome, planned, python

from harness.store import EventLog, StoreError, StorePaths, Writer
from harness.store.other_sessions import OtherSessions, TrialLocks


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "h.duckdb.sessions" / "trial-locks"


HOLD = """
    import sys, time
    from pathlib import Path
    from harness.store.other_sessions import TrialLocks
    locks = TrialLocks(Path(sys.argv[1]))
    locks.own_locks = sys.argv[2] == "own"
    assert all(map(locks.take, sys.argv[3:]))
    print("held", flush=True)
    time.sleep(300)
"""


def test_one_holder_at_a_time_in_one_process(file: Path) -> None:
    first, two = TrialLocks(file), TrialLocks(file)
    assert two.is_free("t")
    assert first.take("t")
    assert first.take("t")  # has it already
    assert first.is_free("t")  # nobody else has it
    assert not two.take("t")
    assert not two.is_free("t")
    assert two.take("u")
    first.release("t")
    first.release("u")  # is not its own
    assert not first.take("u")
    assert two.is_free("t")
    assert two.take("t")
    two.close()
    assert first.take("t")
    assert first.take("u")
    assert file.stat().st_size == 0  # nothing is written


@pytest.mark.parametrize("kind", ["own", "of the process"])
def test_a_killed_process_holds_nothing_and_a_stopped_one_everything(file: Path, kind: str) -> None:
    here = TrialLocks(file)
    here.own_locks = kind == "own"
    other = python(HOLD, str(file), kind, "t", "u")
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    try:
        os.kill(other.pid, signal.SIGSTOP)
        assert not here.take("t")
        assert not here.is_free("u")
        assert here.take("v")
    finally:
        other.kill()
        other.wait()
    assert here.is_free("u")
    assert here.take("t")
    here.close()


def test_a_kernel_without_locks_of_a_description_gets_the_others(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(errno.EINVAL, "Invalid argument")

    here = TrialLocks(file)
    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "fcntl", refuse)
        assert here.take("t")
    other = TrialLocks(file)  # locks of both kinds exclude each other
    assert not other.take("t")
    here.release("t")
    assert other.take("t")


def test_a_forked_child_does_not_keep_what_its_parent_let_go(file: Path) -> None:
    here, other = TrialLocks(file), TrialLocks(file)
    assert here.take("t")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # until its parent is done
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    here.release("t")
    assert other.take("t")
    os.close(writing)
    os.waitpid(child, 0)


def test_many_at_once_never_hold_one_trial_together(file: Path) -> None:
    held = {f"{number:064x}": 0 for number in range(3)}
    counts: list[int] = []

    def work(number: int) -> None:
        locks = TrialLocks(file)
        for turn in range(400):
            trial = f"{(turn + number) % 3:064x}"
            if locks.take(trial):
                held[trial] += 1
                time.sleep(0)  # let others try meanwhile
                counts.append(held[trial])
                held[trial] -= 1
                locks.release(trial)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(counts) == {1}


def test_what_stands_in_the_way_of_locks_is_one_message(file: Path) -> None:
    file.parent.write_text("no folder")
    with pytest.raises(StoreError, match="cannot be locked"):
        TrialLocks(file).take("t")


def test_others_results_are_seen_as_they_come_and_after_they_left(paths: StorePaths) -> None:
    with Writer(paths.database, "one") as first:
        follow = OtherSessions(paths, first.journal.segment)
        with Writer(paths.database, "two") as two:
            follow.look()
            assert follow.result("t") is None
            assert follow.living() == [f"two, process {os.getpid()} on {platform.node()}"]
            two.record(planned("two", "t", "u", "v"))
            two.record(outcome("t"))
            two.record(outcome("u", "failed"))
            first.record(outcome("w"))
            follow.look()
            result = follow.result("t")
            assert result is not None
            assert (result.status, result.series) == ("done", ())
            assert result.results == outcome("t").outcome.results  # type: ignore[attr-defined]
            assert follow.result("u") is None  # no result
            assert follow.result("w") is None  # the session's own
            two.record(outcome("v"))
        assert not list(paths.journal.glob("*two*.jsonl"))  # it has left, and its log segment is archived
        follow.look()
        assert follow.result("v") is not None
        assert follow.living() == []


def test_who_came_and_went_between_two_looks_is_seen(paths: StorePaths) -> None:
    with Writer(paths.database, "one") as first:
        follow = OtherSessions(paths, first.journal.segment)
        for name in ("two", "three"):
            with Writer(paths.database, name) as other:
                other.record(outcome(f"of-{name}"))
        follow.look()
        assert follow.result("of-two") is not None
        assert follow.result("of-three") is not None


def test_a_line_that_is_being_written_is_read_when_it_is_whole(paths: StorePaths) -> None:
    journal = EventLog(paths.journal, "two")
    journal.append(outcome("before"))
    whole = journal.path.read_bytes()
    journal.append(outcome("t", steps=40_000))
    line = journal.path.read_bytes()[len(whole) :]
    journal.path.write_bytes(whole + line[: len(line) // 2])  # as it looks in the middle of the write
    follow = OtherSessions(paths, "own")
    follow.look()
    assert follow.result("t") is None
    journal.path.write_bytes(whole + line)
    follow.look()
    assert follow.result("t") is not None
    assert follow.result("before") is None  # the database has it
    journal.close()


def test_what_a_dead_session_left_is_seen_by_who_planned_before(paths: StorePaths) -> None:
    with Writer(paths.database, "one") as first:
        follow = OtherSessions(paths, first.journal.segment)
        killed = python(
            f"""
            import os
            from harness.store import Outcome, Writer, StorePaths
            from harness.store.events import OutcomeEvent
            from harness.vocabulary import Status
            writer = Writer({str(paths.database)!r}, "two").open()
            writer.record(OutcomeEvent(Outcome("t", Status.DONE)))
            os.kill(os.getpid(), 9)
            """
        )
        assert killed.wait(timeout=60) == -signal.SIGKILL
        follow.look()
        assert follow.result("t") is not None
