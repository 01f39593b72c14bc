"""Each weather once, short and in order: a full disk, a read-only folder, a clock that jumps, a held database, damaged
checkpoints. Drawn at random, and between kills, they come again in ``test_soak.py``."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from soak_checkpoints import DAMAGES, checkpoints, damage
from soak_clock import HOUR, YEAR, Clock
from soak_disks import ReadOnly, SmallDisk, can_mount
from soak_episodes import UNKIND
from soak_holders import Holder
from soak_runs import (
    Started,
    Work,
    assert_nothing_is_lost,
    done_in,
    finish,
    finished,
    journal_of,
    real,
    started,
    synthetic,
    undisturbed,
)

from harness.store import Owner, open_reader

PATIENCE = 100.0


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> Work:
    folder = tmp_path_factory.mktemp("weathers")
    return undisturbed(synthetic(folder, tiny_text, seeds=5, pause=0.02), folder)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder / "soak.duckdb"


def until(true: Callable[[], object], process: Started) -> None:
    """Wait for it, as long as the run goes on."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"it never came: {process.said()}"
        assert process.poll() is None, process.said()
        time.sleep(0.02)


def some_finished(process: Started, count: int) -> None:
    until(lambda: len(finished(process.database)) >= count, process)


def ended(process: Started) -> tuple[int, str]:
    """The exit code of a run that ends by itself, and what it said, which is for a person."""
    code, said = process.wait(timeout=PATIENCE), process.said()
    assert not UNKIND.search(said), said
    return code, said


@pytest.mark.skipif(not can_mount(), reason="this user may mount nothing; the limit on files below is tried instead")
def test_a_disk_that_fills_up(work: Work, database: Path) -> None:
    with SmallDisk(database.parent, megabytes=28) as disk:
        process = started(work, database, "inline")
        try:
            some_finished(process, 2)
            disk.fill()
            code, said = ended(process)
        finally:
            process.end()
        assert code == 2
        assert "No space left on device" in said
        before = finished(database)
        disk.give_space()
        assert len(assert_nothing_is_lost(database, before)) < work.trials, "it never noticed"
        finish(work, database)


@pytest.mark.skipif(not can_mount(), reason="this user may mount nothing")
@pytest.mark.parametrize("megabytes", [1, 13])
def test_a_disk_too_small_for_the_database(work: Work, database: Path, megabytes: int) -> None:
    """The file takes six megabytes, its snapshot as much."""
    with SmallDisk(database.parent, megabytes) as disk:
        process = started(work, database, "inline")
        try:
            code, said = ended(process)
        finally:
            process.end()
        assert code == 0 or (code == 2 and "No space left on device" in said), said
        disk.resize(40)
        assert_nothing_is_lost(database, finished(database))
        finish(work, database)


def test_a_limit_on_the_size_of_files(work: Work, database: Path) -> None:
    process = started(work, database, "inline")
    try:
        some_finished(process, 2)
        (segment,) = journal_of(database).glob("*.jsonl")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (segment.stat().st_size + 500,) * 2)
        code, said = ended(process)
        assert code == 2
        assert "File too large" in said
        before = assert_nothing_is_lost(database, finished(database))
        assert 2 <= len(before) < work.trials
        process = started(work, database, "inline", largest=4096)
        code, said = ended(process)
        assert code == 2
        assert "File too large" in said
    finally:
        process.end()
    assert_nothing_is_lost(database, before)
    finish(work, database)


def test_a_folder_that_turns_read_only(work: Work, database: Path) -> None:
    folder = ReadOnly(database.parent)
    process = started(work, database, "inline")
    try:
        some_finished(process, 2)
        folder.on()
        code, said = ended(process)
        assert code in (0, 2)
        assert "Read-only file system" in said or "Permission denied" in said
        before = finished(database)
        assert done_in(database) == set(before), "a reader needs to write nothing"
        process = started(work, database, "inline")
        code, said = ended(process)
        assert (code, str(database.parent) in said) == (2, True), said
    finally:
        process.end()
        folder.off()
    assert_nothing_is_lost(database, before)
    finish(work, database)


@pytest.mark.ray
@pytest.mark.skipif(not Clock.can_be_made(), reason="no C compiler (cc) to make a clock with")
def test_a_clock_that_jumps_both_ways(work: Work, database: Path, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    clock.jump(2 * YEAR)
    process = started(work, database, "ray", clock.environment)
    try:
        some_finished(process, 2)
        clock.jump(-3 * HOUR)
        some_finished(process, 4)
        clock.jump(-YEAR)
        some_finished(process, 9)  # two ran when it jumped, and one may have ended meanwhile
    finally:
        process.end()
    assert_nothing_is_lost(database, finished(database))
    with open_reader(database) as reader:
        years = reader.query("SELECT year(started_at) - year(current_date) FROM trials WHERE status = 'done'").rows
    assert {year for (year,) in years} >= {2, -1}, "the workers' clock did not jump"
    finish(work, database)


@pytest.mark.parametrize(("mode", "finished_before"), [("read-only", 0), ("read-write", 2)])
def test_a_shell_that_holds_the_database(work: Work, database: Path, mode: str, finished_before: int) -> None:
    """From before the run, and from its midst; to its end and beyond."""
    with Owner(database):
        pass  # a database without trials
    holder = Holder(database, mode) if not finished_before else None
    try:
        if holder is not None:
            holder.wait()
        process = started(work, database, "inline")
        some_finished(process, finished_before)
        if holder is None:
            holder = Holder(database, mode)
            holder.wait()
        code, said = ended(process)
        assert code == 0, said
        assert str(holder.pid) in said
        assert len(finished(database)) == work.trials, "the run goes on beside it"
        assert len(done_in(database)) == work.trials
    finally:
        process.end()
        if holder is not None:
            holder.let_go()
    finish(work, database)


def test_checkpoints_half_written(database: Path, tmp_path: Path) -> None:
    """A real training, cut off twice; its checkpoint is damaged, and half of another one lies beside it."""
    work = undisturbed(real(tmp_path, seeds=1, steps=300), tmp_path)
    artifacts, chance = database.parent / "artifacts", random.Random(3)
    for kind in DAMAGES[:2]:
        process = started(work, database, "inline")
        try:
            until(lambda: checkpoints(artifacts), process)
        finally:
            process.end()
        damage(checkpoints(artifacts)[0], kind, chance)
        damage(checkpoints(artifacts)[0], "left-over", chance)
    finish(work, database)
    left = {path.name for path in artifacts.glob("*/*")}
    assert not [name for name in left if name.endswith(".part")]
