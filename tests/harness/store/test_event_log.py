"""The event log alone: lines, durability, torn tails, archives."""

import gzip
import json
import os
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_support import outcome, planned, python, run_event

from harness.errors import HarnessError
from harness.execute.outcome import Outcome
from harness.store import EventLog, StoreError, segments
from harness.store.events import EnvironmentEvent, Event, HeartbeatEvent, LogEvent, OutcomeEvent, PlannedEvent
from harness.store.locking import hold_segment
from harness.store.log_lines import encode


def event(number: int, **detail: Any) -> Event:
    return LogEvent("note", {"number": number, **detail}, "r")


def numbers(folder: Path) -> list[int]:
    return [
        line.content["detail"]["number"] for segment in segments(folder) for line in segment.lines() if line.content
    ]


def test_lines_carry_version_kind_and_utc_time(tmp_path: Path) -> None:
    journal = EventLog(tmp_path, "run-1")
    end = journal.append(event(7))
    journal.close()
    (line,) = journal.path.read_bytes().splitlines()
    content = json.loads(line)
    assert (content["v"], content["kind"]) == (1, "event")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(content["at"])) < timedelta(minutes=1)
    assert end == len(line) + 1
    assert "run-1" in journal.segment


def test_session_names_become_file_names(tmp_path: Path) -> None:
    journal = EventLog(tmp_path, "../../evil name\0/x")
    journal.close()
    assert journal.path.parent == tmp_path
    assert journal.path.exists()


def test_numpy_paths_and_times_are_written() -> None:
    moment = datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))
    values = {"scalar": np.float32(0.5), "array": np.array([1.0, np.nan]), "path": Path("a/b"), "set": {"b", "a"}}
    expected = {"scalar": 0.5, "array": [1.0, "NaN"], "path": "a/b", "set": ["a", "b"]}
    line = encode(values | {"time": moment})
    assert json.loads(line) == expected | {"time": "2026-01-02T01:00:00.000000Z"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    )
)
@settings(max_examples=50, deadline=None)
def test_any_value_is_one_line_of_strict_json(value: Any) -> None:
    line = encode({"kind": "event", "detail": value})
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    json.loads(line, parse_constant=lambda text: pytest.fail(text))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (OutcomeEvent(Outcome("t", "finished")), ["finished", "done", "timeout"]),
        (outcome("t", series=[{"name": "loss", "value": [1, 2], "step": [1]}]), ["loss", "unequal", "step 1"]),
        (outcome("t", series=[{"name": "loss", "value": [], "step": [1]}]), ["loss", "unequal", "value 0"]),
        (outcome("t", results=[{"split": "test", "value": 1.0}]), ["results", "metric"]),
        (EnvironmentEvent("e", None), ["environment", "info"]),
        (run_event("r", git_comit="x"), ["git_comit", "git_commit"]),
        (planned("r", "t", zzz=1), ["zzz", "benchmark"]),
        (PlannedEvent("r", ["t"]), ["str", "row"]),
        (LogEvent("x", object()), ["object", "JSON"]),
    ],
)
def test_malformed_events_are_refused_with_the_reason(tmp_path: Path, bad: Event, words: list[str]) -> None:
    journal = EventLog(tmp_path, "s")
    with pytest.raises(HarnessError) as caught:
        journal.append(bad)
    journal.close()
    assert all(word in str(caught.value) for word in words)
    assert journal.path.stat().st_size == 0


def test_threads_share_syncs_and_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (syncs.append(descriptor), real(descriptor)))
    journal = EventLog(tmp_path, "s")
    syncs.clear()
    inside = threading.Barrier(8)

    def append(first: int) -> None:
        inside.wait()
        for number in range(25):
            journal.append(event(first + number))

    threads = [threading.Thread(target=append, args=(100 * index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers(tmp_path)) == sorted(100 * i + n for i in range(8) for n in range(25))
    assert 0 < len(syncs) < 200, "two hundred appends of eight threads group their syncs"
    journal.close()


def test_appends_wait_for_the_disk_and_heartbeats_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = EventLog(tmp_path, "s")
    entered, leave = threading.Event(), threading.Event()

    def slow(descriptor: int) -> None:
        entered.set()
        leave.wait(30)

    monkeypatch.setattr(os, "fsync", slow)
    waiter = threading.Thread(target=journal.append, args=(event(1),))
    waiter.start()
    assert entered.wait(30)
    journal.append(HeartbeatEvent(trial_id="t", step=1))
    assert waiter.is_alive(), "the durable append returned before its line was on the disk"
    leave.set()
    waiter.join(30)
    assert not waiter.is_alive()
    journal.close()


def test_failed_sync_is_never_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = EventLog(tmp_path, "s")

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StoreError, match="Input/output error"):
            journal.append(event(1))
    with pytest.raises(StoreError, match="Input/output error"):
        journal.append(event(2))


def test_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = EventLog(tmp_path, "s")
    journal.append(event(1))
    real = os.write
    calls = []

    def short(descriptor: int, data: memoryview) -> int:
        calls.append(len(data))
        if len(calls) == 1:
            return real(descriptor, data[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        with pytest.raises(StoreError, match="No space left"):
            journal.append(event(2))
    journal.append(event(3))
    journal.close()
    assert numbers(tmp_path) == [1, 3]


def test_closed_journal_refuses(tmp_path: Path) -> None:
    journal = EventLog(tmp_path, "s")
    journal.close()
    journal.close()
    with pytest.raises(StoreError, match="closed"):
        journal.append(event(1))


@pytest.mark.parametrize("cut", range(1, 40, 7))
def test_torn_tail_is_left_alone(tmp_path: Path, cut: int) -> None:
    journal = EventLog(tmp_path, "s")
    first = journal.append(event(1))
    journal.append(event(2))
    journal.close()
    os.truncate(journal.path, journal.path.stat().st_size - cut)
    (segment,) = segments(tmp_path)
    assert [line.end for line in segment.lines()] == [first]
    assert list(segment.lines(first)) == []


def test_unreadable_lines_are_reported_not_raised(tmp_path: Path) -> None:
    journal = EventLog(tmp_path, "s")
    journal.append(event(1))
    with journal.path.open("ab") as file:
        file.write(b"\0\0\0\n{broken\n[1]\n\xff\xfe\n" + b"[" * 5000 + b"\n")
    journal.close()
    other = EventLog(tmp_path, "t")
    other.append(event(2))
    other.close()
    lines = list(segments(tmp_path)[0].lines())
    assert [line.content is None for line in lines] == [False, True, True, True, True, True]
    assert lines[-1].end == journal.path.stat().st_size
    assert numbers(tmp_path) == [1, 2]


def test_lines_longer_than_a_chunk(tmp_path: Path) -> None:
    journal = EventLog(tmp_path, "s")
    big = event(1, text="x" * 3_500_000)
    ends = [journal.append(big), journal.append(event(2))]
    journal.close()
    (segment,) = segments(tmp_path)
    assert [line.end for line in segment.lines()] == ends
    assert numbers(tmp_path) == [1, 2]


def test_archive_keeps_offsets_and_drops_the_torn_tail(tmp_path: Path) -> None:
    journal = EventLog(tmp_path, "s")
    ends = [journal.append(event(number)) for number in range(50)]
    journal.close()
    with journal.path.open("ab") as file:
        file.write(b'{"kind":"ev')
    (segment,) = segments(tmp_path)
    assert segment.behind(ends[-1])
    segment.archive(ends[-1])
    assert segment.is_archived
    assert not segment.plain.exists()
    assert segments(tmp_path) == [segment]
    assert [line.end for line in segment.lines(ends[9])] == ends[10:]
    assert not segment.behind(ends[-1])
    assert segment.behind(ends[-2])


def test_archive_that_was_interrupted_is_done_again(tmp_path: Path) -> None:
    journal = EventLog(tmp_path, "s")
    end = journal.append(event(1))
    journal.close()
    (segment,) = segments(tmp_path)
    segment.archived.with_name(f"{segment.archived.name}.{os.getpid()}.part").write_bytes(b"half")
    segment.archived.write_bytes(b"")  # as if the plain file had not yet been removed
    assert segments(tmp_path) == [segment]
    assert numbers(tmp_path) == [1]
    segment.archive(end)
    assert gzip.decompress(segment.archived.read_bytes()).count(b"\n") == 1


def test_damaged_archives_are_told_apart(tmp_path: Path) -> None:
    journal = EventLog(tmp_path, "s")
    for number in range(300):
        end = journal.append(event(number, noise=os.urandom(20).hex()))
    journal.close()
    (segment,) = segments(tmp_path)
    segment.archive(end)
    whole = segment.archived.read_bytes()
    segment.archived.write_bytes(whole[: len(whole) // 2])
    assert 0 < len(list(segment.lines())) < 300
    with pytest.raises(EOFError):
        list(segment.lines(strict=True))
    segment.archived.write_bytes(whole[:2000] + bytes(200) + whole[2200:])
    with pytest.raises(StoreError, match="cannot be read"):
        list(segment.lines())


def test_a_segment_has_its_name_only_once_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that opens meanwhile must not think it dead."""
    seen: list[list[Any]] = []

    def look(descriptor: int) -> None:
        seen.append(segments(tmp_path))
        hold_segment(descriptor)

    monkeypatch.setattr("harness.store.event_log.hold_segment", look)
    journal = EventLog(tmp_path, "s")
    assert seen == [[]]
    (segment,) = segments(tmp_path)
    assert segment.is_alive
    journal.close()


def test_a_segment_is_alive_while_its_process_is(tmp_path: Path) -> None:
    process = python(
        """
        import sys, pathlib
        from harness.store import EventLog
        log = EventLog(pathlib.Path(sys.argv[1]), "s")
        print("open", flush=True)
        sys.stdin.readline()
        """,
        str(tmp_path),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    (segment,) = segments(tmp_path)
    assert segment.is_alive
    process.kill()
    process.communicate()
    assert not segment.is_alive
