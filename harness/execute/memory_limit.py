"""A trial's limit of memory, watched while it runs: what grows beyond it is ended, and everything else goes on.

One thread of a process is the watch of all its trials: to start one took longer than a short trial's step. It sees
what the process and its descendants hold ten times a second; the cheap figure counts pages that several processes share
once each, so that the exact one (``Pss``) decides.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from harness.execute.memory import OUT_OF_MEMORY

SAMPLE_SECONDS = 0.1
CHILDREN_SECONDS = 1.0
"""Between two looks at which processes there are: that costs more than their sizes."""
EXACT_SECONDS = 0.5
"""Between two exact figures, which cost milliseconds."""
MOST = 0.8
"""Of the machine's memory: what a trial may take where nobody says otherwise."""
SHORT = 0.08
"""Of the machine's memory: with less than this left, a trial above its share is ended (Ray ends workers at 0.05)."""
WORKER_MIB = 1024.0
"""What a worker holds itself beside a program that says what it may take."""
AGAIN_SECONDS = 3.0
"""For a trial to put its things in order before it is told again."""
_MIB = 2**20
_PROC = Path("/proc")
_CGROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Of a container's group, version 2 and 1: where it is, its limit, its use, and what of that can be given up."""


class OverMemoryError(MemoryError):
    """Raised in the thread of a trial that is over its limit and cannot be ended with its process."""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """What a trial may take, in MiB.

    Attributes:
        most: more is never allowed.
        share: of the machine, with the trials that run beside it; more is allowed while the machine has enough left.
            None: nothing but ``most`` counts.
    """

    most: float
    share: float | None = None

    @classmethod
    def of(cls, asked: float | None, side_by_side: int = 1, declared: float | None = None) -> Self:
        """The limit of a trial.

        Args:
            asked: ``--memory-per-trial``; None: the machine's memory decides.
            side_by_side: trials that may run at once on a machine.
            declared: what a program's suite says that it may take (``memory_mb``).
        """
        if asked is not None:
            return cls(asked)
        machine = _machine_mib()
        own = 0.0 if declared is None else declared + WORKER_MIB
        # At least two shares: a trial alone must not wait for the kernel, which would end the whole command.
        return cls(max(MOST * machine, own), max(MOST * machine / max(2, side_by_side), own))

    def trouble(self, taken: float) -> str | None:
        """Why a trial that holds ``taken`` MiB must end, or None."""
        if taken > self.most:
            return (
                f"{OUT_OF_MEMORY} the trial held {taken:,.0f} MiB with the processes that it started, more than its "
                f"limit of {self.most:,.0f} MiB; --memory-per-trial MIB gives it more"
            )
        if self.share is None or taken <= self.share:
            return None
        total, left = machine_bytes() / _MIB, available_bytes() / _MIB
        if left >= SHORT * total:
            return None
        return (
            f"{OUT_OF_MEMORY} {left:,.0f} of the machine's {total:,.0f} MiB were left, and the trial held "
            f"{taken:,.0f} MiB, more than its share of {self.share:,.0f} MiB; run fewer trials side by side, or say "
            f"what each may take with --memory-per-trial MIB"
        )


class MemoryWatch:
    """Watches this process's memory while its block runs; use as a context manager in the trial's thread.

    Args:
        limit: what it may take.
        end: is told once why, in the watching thread, and ends this process. None: the process is shared, so the
            block's thread gets an :class:`OverMemoryError`, again and again until it ends; what the process held when
            the block began does not count.

    Attributes:
        trouble: why the block was ended, or None.
        for_now: the machine was short of memory: another attempt may succeed.
    """

    def __init__(self, limit: MemoryLimit, end: Callable[[str], None] | None = None) -> None:
        self._limit, self._end = limit, end
        self._before = 0.0 if end is not None else _held(descendants(os.getpid()))
        self._target = threading.get_ident()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._looked = self._exact = -float("inf")
        self._descendants: list[int] = []
        self._sent = False
        self.trouble: str | None = None
        self.for_now = False

    def __enter__(self) -> Self:
        _rounds.add(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()

    def close(self) -> None:
        """Watch no longer; nothing is raised from here on. To be called once more where an error came out of the block:
        it may have come up at its very end.
        """
        closed = False
        while not closed:
            try:
                with self._lock:
                    self._over.set()
                if self._sent:
                    # It may be on its way. Taking it back would leave the interpreter looking for it for ever, and a
                    # profiler or debugger would stand still: so it is sent once more, in its place, and awaited.
                    self._send()
                    while True:
                        time.sleep(0.001)
                closed = True
            except OverMemoryError:
                closed = self._over.is_set()
        self._sent = False
        _rounds.remove(self)

    def _send(self) -> None:
        """Raise an error in the block's thread; one that has not come up yet is forgotten."""
        self._sent = True
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._target), ctypes.py_object(OverMemoryError))

    def look(self) -> None:
        """See what is held now, and stop the block if that is too much."""
        now = time.monotonic()
        if now - self._looked >= CHILDREN_SECONDS:
            self._looked, self._descendants = now, descendants(os.getpid())
        held = _held(self._descendants) - self._before
        patience = EXACT_SECONDS if self.trouble is None else AGAIN_SECONDS
        if now - self._exact < patience or self._limit.trouble(held) is None:
            return
        self._exact = now
        if self._descendants:
            held = sum(map(exact_bytes, (os.getpid(), *self._descendants))) / _MIB - self._before
        if (trouble := self._limit.trouble(held)) is not None:
            self._stop(trouble, for_now=held <= self._limit.most)

    def _stop(self, trouble: str, *, for_now: bool) -> None:
        with self._lock:  # the block does not end in the meantime
            if self._over.is_set():
                return
            self.trouble, self.for_now = self.trouble or trouble, for_now
            if self._end is not None:
                self._end(trouble)
                self._over.set()
            else:
                self._send()


class _Rounds:
    """The thread that looks at every watch of this process; it sleeps while there is none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._watches: list[MemoryWatch] = []
        self._thread: threading.Thread | None = None

    def add(self, watch: MemoryWatch) -> None:
        with self._lock:
            self._watches.append(watch)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._go_round, name="memory", daemon=True)
                self._thread.start()
        self._wanted.set()

    def remove(self, watch: MemoryWatch) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._watches.remove(watch)

    def _go_round(self) -> None:
        while self._wanted.wait():
            time.sleep(SAMPLE_SECONDS)
            with self._lock:
                watches = tuple(self._watches)
                if not watches:
                    self._wanted.clear()
            for watch in watches:
                watch.look()


_rounds = _Rounds()


def _after_fork() -> None:
    """The child has the thread no longer, and perhaps its lock for ever."""
    global _rounds
    _rounds = _Rounds()


os.register_at_fork(after_in_child=_after_fork)


def _held(below: Sequence[int]) -> float:
    """MiB of this process and those below it."""
    return sum(map(held_bytes, (os.getpid(), *below))) / _MIB


def end_this_process(last_words: Callable[[], object]) -> None:
    """Kill everything that this process has started, say something, and kill this process."""
    for pid in reversed(descendants(os.getpid())):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    try:
        last_words()
    finally:
        os.kill(os.getpid(), signal.SIGKILL)


def held_bytes(pid: int) -> int:
    """Resident memory of a process; 0 where it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123 - a tenth of the cost
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        if _PROC.is_dir():
            return 0
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def exact_bytes(pid: int) -> int:
    """Resident memory of a process, of pages that it shares its part; the plain figure where none is told."""
    with contextlib.suppress(OSError, ValueError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return held_bytes(pid)


def descendants(pid: int) -> list[int]:
    """The processes below one, parents first."""
    if not (_PROC / "self" / "task").is_dir():
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        return []
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = list(_children(waiting.pop()))
        found += children
        waiting += children
    return found


def _children(pid: int) -> Iterator[int]:
    """Of every thread of a process."""
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                yield from map(int, (thread / "children").read_bytes().split())


_PAGE = os.sysconf("SC_PAGE_SIZE")


def machine_bytes() -> int:
    """The memory that there is for this process: the machine's, or its container's."""
    return min([int(psutil.virtual_memory().total), *(most for most, _ in _groups())])


@functools.cache
def _machine_mib() -> float:
    """Looked up once: it costs a fifth of a millisecond."""
    return machine_bytes() / _MIB


def available_bytes() -> int:
    """What of it could still be had."""
    return min([int(psutil.virtual_memory().available), *(max(0, most - used) for most, used in _groups())])


def _groups() -> Iterator[tuple[int, int]]:
    """Limit and use of the container that this process is in; nothing where it is in none."""
    for place, limit, use, cache in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # no such group, or "max"
            most = int(Path(place, limit).read_text())
            notes = dict(line.split() for line in Path(place, "memory.stat").read_text().splitlines())
            yield most, int(Path(place, use).read_text()) - int(notes.get(cache, 0))
