"""A flipped byte is reported and its line set aside."""

import contextlib
import gzip
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_support import outcome, planned

from harness.store import StoreError, StorePaths, Writer
from harness.store.event_log import EventLog, segments
from harness.store.events import LogEvent
from harness.store.rebuild import check, rebuild
from harness.store.schema import connect

TRIALS = tuple(f"{number:064x}" for number in range(12))


def rows(paths: StorePaths, sql: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(connect(paths.database, read_only=True)) as connection:
        return connection.execute(sql).fetchall()


def written(folder: Path) -> Path:
    journal = EventLog(folder, "s")
    for number in range(20):
        journal.append(LogEvent("note", {"number": number, "text": 'é😀 \\ "quoted"'}))
    journal.close()
    return journal.path


def numbers(folder: Path) -> list[int]:
    return [line.content["detail"]["number"] for each in segments(folder) for line in each.lines() if line.content]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(tmp_path_factory.mktemp("whole")).read_bytes()


@given(data=st.data())
def test_no_flip_passes(whole: bytes, tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    folder = tmp_path_factory.mktemp("flip")
    (folder / "a-s.jsonl").write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
    (segment,) = segments(folder)
    lines = list(segment.lines())
    contents = [line.content["detail"] for line in lines if line.content]
    assert all(content == {"number": content["number"], "text": 'é😀 \\ "quoted"'} for content in contents)
    assert len(contents) in (18, 19)  # a damaged end of line takes the next line with it
    assert any(line.content is None or line.missing for line in lines)


def test_a_line_that_is_gone_leaves_a_gap(tmp_path: Path) -> None:
    path = written(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5] + lines[8:]))
    (segment,) = segments(tmp_path)
    assert [(place, line.missing) for place, line in enumerate(segment.lines()) if line.missing] == [(5, 3)]
    assert numbers(tmp_path) == [0, 1, 2, 3, 4, *range(8, 20)]


def _store(paths: StorePaths) -> None:
    with Writer(paths.database, "r") as owner:
        owner.record(planned("r", *TRIALS))
        for number, trial in enumerate(TRIALS):
            scores = [{"split": "test", "metric": "accuracy", "value": 50 + number / 7}]
            owner.record(outcome(trial, results=scores, series=[]))


@pytest.mark.parametrize(
    "flips", [5, pytest.param(20, marks=pytest.mark.full), pytest.param(200, marks=pytest.mark.slow)]
)
def test_flips_change_no_stored_number(flips: int, paths: StorePaths, tmp_path: Path) -> None:
    """Without checksums, 13 of 200 flips changed a stored number silently."""
    _store(paths)
    (segment,) = segments(paths.journal)
    lines = gzip.decompress(segment.archived.read_bytes())
    values = dict(rows(paths, "SELECT trial_id, value FROM results"))
    paths.remove()
    draw = random.Random(0)
    reported = 0
    for number in range(flips):
        place = draw.randrange(len(lines))
        flipped = lines[:place] + bytes([lines[place] ^ (1 << draw.randrange(8))]) + lines[place + 1 :]
        other = StorePaths.of(tmp_path / f"{number}.duckdb")
        other.journal.mkdir()
        (other.journal / "a-s.jsonl").write_bytes(flipped)
        report = rebuild(other.database)
        numbers = dict(rows(other, "SELECT trial_id, value FROM results"))
        assert numbers.items() <= values.items()
        reported += bool(report.problems)
        lost = values.keys() - numbers.keys()
        assert len(lost) <= 2
        status = dict(rows(other, "SELECT trial_id, status FROM trials"))
        assert all(status.get(trial, "queued") == "queued" for trial in lost)  # it runs again
        other.remove()
    assert reported == flips


def test_half_a_surrogate_pair_is_stored_as_a_question_mark(paths: StorePaths) -> None:
    """A run whose events were refused must not end as complete."""
    artifact = {"name": "a\ud800.txt", "kind": "text", "path": "a", "caption": "half \udfff of a pair, and 😀"}
    with Writer(paths.database, "r") as owner:
        owner.record(planned("r", TRIALS[0]))
        scores = [{"split": "test", "metric": "acc\ud800", "value": 1.0}]
        owner.record(outcome(TRIALS[0], results=scores, artifacts=[artifact]))
        assert owner.refused() == []
    assert rows(paths, "SELECT status, metric FROM trials JOIN results USING (trial_id)") == [("done", "acc?")]
    assert rows(paths, "SELECT caption FROM artifacts") == [("half ? of a pair, and 😀",)]
    assert check(paths.database) == []


def test_what_is_not_taken_in_is_told_by_its_owner_and_by_check(paths: StorePaths) -> None:
    with Writer(paths.database, "r") as owner:
        event = LogEvent("note", {"number": 1})
        object.__setattr__(event, "at", "noon")  # past the check of events: what only the tables refuse
        owner.record(event)
        (message,) = owner.refused()
    assert message.startswith("event (")
    assert "noon" in message
    assert any("an event was set aside" in problem.message for problem in check(paths.database))


@pytest.mark.timeout(200)
def test_a_flipped_byte_of_the_database_is_harmless_or_told_with_what_mends_it(paths: StorePaths) -> None:
    """Writers raise only our errors, and a rebuild restores every number."""
    _store(paths)
    whole, values = paths.database.read_bytes(), dict(rows(paths, "SELECT trial_id, value FROM results"))
    draw = random.Random(3)
    messages: list[str] = []
    for number in range(20):
        place = draw.randrange(len(whole))
        paths.wal.unlink(missing_ok=True)
        paths.database.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            with Writer(paths.database, f"again-{number}") as owner:
                owner.record(LogEvent("note", {"number": number}))
                owner.flush()
        except StoreError as error:
            messages.append(str(error))
    paths.database.write_bytes(whole[:-5000])
    paths.wal.unlink(missing_ok=True)
    rebuild(paths.database, force=True)
    assert dict(rows(paths, "SELECT trial_id, value FROM results")) == values
    assert messages
    assert all("harness db rebuild" in text or "not a DuckDB database" in text for text in messages), messages
