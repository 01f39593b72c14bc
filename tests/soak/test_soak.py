"""Runs that are killed or meet a full disk lose nothing: a few faults, hundreds in the slow tier.

    HARNESS_SOAK_KILLS=300 pytest tests/soak/test_soak.py -m slow -s

After each fault every finished trial must still be in the log, once, and the database must open and have it; the
command's message must be no traceback; in the end the numbers are those of an undisturbed run, to the last bit.
"""

import os
from pathlib import Path

import pytest
from soak_faults import UNKIND, SmallDisk, can_mount, soak
from soak_runs import (
    ROUND_SECONDS,
    Started,
    Work,
    assert_nothing_is_lost,
    finish,
    finished,
    real,
    started,
    synthetic,
    undisturbed,
)
from waiting import until


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> Work:
    folder = tmp_path_factory.mktemp("soak")
    return undisturbed(synthetic(folder, tiny_text, seeds=5, pause=0.02), folder)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder / "soak.duckdb"


def ended(process: Started) -> tuple[int, str]:
    """The exit code and the message of a run that ends."""
    code, message = process.wait(timeout=ROUND_SECONDS), process.said()
    assert not UNKIND.search(message), message
    return code, message


@pytest.mark.ray
@pytest.mark.timeout(900)
@pytest.mark.parametrize("executor", ["ray", "inline"])
def test_a_few_faults_lose_nothing(work: Work, tmp_path: Path, executor: str) -> None:
    assert soak([work], tmp_path, 2, 5, lambda text: None, (executor,)).total() >= 2


@pytest.mark.skipif(not can_mount(), reason="this user may not mount")
def test_a_disk_that_fills_up(work: Work, database: Path) -> None:
    with SmallDisk(database.parent, megabytes=28) as disk:
        process = started(work, database, "inline")
        try:
            until(lambda: len(finished(database)) >= 2)
            disk.fill()
            code, message = ended(process)
        finally:
            process.end()
        assert code == 2
        assert "No space left on device" in message
        before = finished(database)
        disk.grow(12)
        assert len(assert_nothing_is_lost(database, before)) < work.trials, "it never noticed"
        finish(work, database)


@pytest.mark.skipif(not can_mount(), reason="this user may not mount")
@pytest.mark.parametrize("megabytes", [pytest.param(1, marks=pytest.mark.slow), 13])
def test_a_disk_too_small_for_the_database(work: Work, database: Path, megabytes: int) -> None:
    with SmallDisk(database.parent, megabytes) as disk:
        process = started(work, database, "inline")
        try:
            code, message = ended(process)
        finally:
            process.end()
        assert code == 0 or (code == 2 and "No space left on device" in message), message
        disk.grow(40)
        assert_nothing_is_lost(database, finished(database))
        finish(work, database)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(6 * 3600)
def test_hundreds_of_faults_lose_nothing(tmp_path: Path, tiny_text: str) -> None:
    most, seed = int(os.environ.get("HARNESS_SOAK_KILLS", "300")), int(os.environ.get("HARNESS_SOAK_SEED", "7"))
    others = tmp_path / "real"
    others.mkdir()
    works = [undisturbed(synthetic(tmp_path, tiny_text), tmp_path), undisturbed(real(others), others)]
    faults = soak(works, tmp_path, most, seed, lambda text: print(text, flush=True), ("ray", "ray", "inline"))
    assert faults.total() >= most
