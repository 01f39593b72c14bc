"""The watch over a trial's memory: who is ended, why, and that nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.execute import memory_limit, worker
from harness.execute.memory_limit import MemoryLimit, MemoryWatch, OverMemoryError, descendants, exact_bytes, held_bytes
from harness.execute.worker import Job, run_job
from harness.vocabulary import Status

MIB = 2**20


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SAMPLE_SECONDS", "CHILDREN_SECONDS", "EXACT_SECONDS"):
        monkeypatch.setattr(memory_limit, name, 0.02)


@pytest.fixture
def hungry_child() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        [sys.executable, "-c", f"held = bytearray({200 * MIB}); print(1, flush=True); import time; time.sleep(60)"],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"1\n"
    yield child
    child.kill()
    child.communicate()


def grow(seconds: float = 30.0) -> None:
    held, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        if len(held) < 200:
            held.append(bytearray(5 * MIB))
        time.sleep(0.005)


def test_the_thread_of_a_trial_that_grows_gets_an_error() -> None:
    with pytest.raises(OverMemoryError), MemoryWatch(MemoryLimit(100.0)) as watch:
        grow()
    assert watch.trouble is not None
    assert watch.trouble.startswith("out of memory: the trial held 1")
    assert "more than its limit of 100 MiB; --memory-per-trial" in watch.trouble
    assert not watch.for_now


def test_what_the_process_held_before_does_not_count() -> None:
    before = bytearray(150 * MIB)
    with MemoryWatch(MemoryLimit(100.0)) as watch:
        time.sleep(0.3)
    assert watch.trouble is None
    assert before


def test_what_its_children_held_before_does_not_count_either(hungry_child: subprocess.Popen[bytes]) -> None:
    assert held_bytes(hungry_child.pid) > 60 * MIB
    with MemoryWatch(MemoryLimit(50.0)) as watch:
        time.sleep(0.5)
    assert watch.trouble is None


def test_what_its_children_hold_counts(hungry_child: subprocess.Popen[bytes]) -> None:
    told: list[str] = []
    with MemoryWatch(MemoryLimit(held_bytes(hungry_child.pid) / MIB - 50), told.append):
        time.sleep(0.5)
    assert len(told) == 1  # once
    assert hungry_child.pid in descendants(os.getpid())


def test_shared_pages_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes of a fork hold the same pages: twice the plain figure, once the exact one."""
    code = (
        f"import os; held = bytearray(b'x') * {200 * MIB}; child = os.fork(); import time\n"
        "if child: print(child, flush=True)\ntime.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    others = sum(held_bytes(pid) for pid in descendants(os.getpid()) if pid not in (parent.pid, child))
    try:
        assert held_bytes(parent.pid) + held_bytes(child) > 380 * MIB
        assert exact_bytes(parent.pid) + exact_bytes(child) < 300 * MIB
        told: list[str] = []
        own = (held_bytes(os.getpid()) + others) / MIB
        with MemoryWatch(MemoryLimit(own + 320), told.append):
            time.sleep(0.3)
        assert told == []
    finally:
        for pid in (child, parent.pid):
            os.kill(pid, 9)
        parent.communicate()


def test_a_machine_that_runs_short_ends_only_who_is_above_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_limit, "_machine_mib", lambda: 10_000.0)
    monkeypatch.setattr(memory_limit, "machine_bytes", lambda: 10_000 * MIB)
    limit = MemoryLimit.of(None, side_by_side=4)
    assert (limit.most, limit.share) == (8000.0, 2000.0)
    assert MemoryLimit.of(None).share == 4000.0  # alone, but not on the machine
    monkeypatch.setattr(memory_limit, "available_bytes", lambda: 5000 * MIB)
    assert limit.trouble(7000) is None
    monkeypatch.setattr(memory_limit, "available_bytes", lambda: 500 * MIB)
    assert limit.trouble(1900) is None
    assert "500 of the machine's 10,000 MiB were left" in str(limit.trouble(3000))
    assert "more than its limit of 8,000 MiB" in str(limit.trouble(8100))
    told: list[str] = []
    with MemoryWatch(MemoryLimit(1e9, share=1.0), told.append) as watch:
        time.sleep(0.3)
    assert "share of 1 MiB" in told[0]
    assert watch.for_now  # another attempt may succeed


def test_a_limit_that_is_asked_for_holds_alone_and_a_program_gets_what_it_declares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_limit, "_machine_mib", lambda: 10_000.0)
    monkeypatch.setattr(memory_limit, "machine_bytes", lambda: 10_000 * MIB)
    monkeypatch.setattr(memory_limit, "available_bytes", lambda: 0)
    assert MemoryLimit.of(3000.0, 4, declared=9000.0) == MemoryLimit(3000.0)
    assert MemoryLimit.of(3000.0).trouble(2999) is None
    assert MemoryLimit.of(None, 4, declared=9000.0) == MemoryLimit(10_024.0, 10_024.0)


def test_a_container_s_limit_is_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "max").write_text(f"{512 * MIB}\n")
    (tmp_path / "now").write_text(f"{400 * MIB}\n")
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {100 * MIB}\n")
    monkeypatch.setattr(memory_limit, "_CGROUPS", ((str(tmp_path), "max", "now", "inactive_file"),))
    assert memory_limit.machine_bytes() == 512 * MIB
    assert memory_limit.available_bytes() == 212 * MIB
    (tmp_path / "max").write_text("max\n")
    assert memory_limit.machine_bytes() > 512 * MIB


def test_nothing_comes_after_the_block() -> None:
    """A watch that is about to raise as its block ends does not reach what follows."""
    for _ in range(20):
        watch = MemoryWatch(MemoryLimit(1e-6))
        try:
            with watch:
                held = bytearray(3 * MIB)
                time.sleep(0.02)
        except OverMemoryError:
            pass
        watch.close()
        del held
    for _ in range(200):  # an error on its way would come up here
        time.sleep(0.001)


@pytest.mark.parametrize("swallows", [False, True])
def test_a_trial_in_this_process_fails_and_the_process_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swallows: bool
) -> None:
    def train(*_: object) -> Any:
        try:
            grow()
        except Exception:
            if not swallows:
                raise
        raise ValueError("what it makes of it")

    monkeypatch.setattr(worker, "_train", train)
    outcome = run_job(Job("t", "b", "a", {"recipe": {}}, tmp_path), lambda *_: None, memory=MemoryLimit(100.0))
    assert outcome.status == Status.FAILED
    assert not outcome.crashed
    assert str(outcome.error).startswith("out of memory: the trial held")
    assert (outcome.peak_memory_mb or 0) > 100


PROFILED = """
import contextlib, cProfile
from harness.execute.memory_limit import MemoryLimit, MemoryWatch

@contextlib.contextmanager
def block():
    yield

profile = cProfile.Profile()
profile.enable()
with block(), MemoryWatch(MemoryLimit(1e6)):
    pass
"""


def test_a_profiler_does_not_stand_still_after_a_watch() -> None:
    """A watch that took back an error which it had never sent did that to the interpreter."""
    done = subprocess.run([sys.executable, "-c", PROFILED], timeout=60, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
