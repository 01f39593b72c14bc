"""Processes with all that they have started: which there are, how much memory they hold, and how they end."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterable, Iterator

import psutil

KEPT = "HARNESS_KEPT"
"""In the environment of a process that outlives the trial that started it: it serves the next one of the worker."""


def below(process: psutil.Process | int | None = None) -> list[psutil.Process]:
    """All descendants of a process, parents first; None: of this process. Empty where it has ended."""
    with contextlib.suppress(psutil.Error):
        top = process if isinstance(process, psutil.Process) else psutil.Process(process)
        return top.children(recursive=True)
    return []


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process still runs; a zombie does not."""
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def end(processes: Iterable[psutil.Process]) -> int:
    """Kill processes and all their descendants; returns how many."""
    ended = 0
    for process in {each for top in processes for each in (*below(top), top)}:
        with contextlib.suppress(psutil.Error):
            process.kill()
            ended += 1
    return ended


def held_mib(processes: Iterable[psutil.Process], limit: float) -> float:
    """Resident memory in MiB; pages that they share count once where that decides whether it is above ``limit``."""
    processes = list(processes)
    resident = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            resident += process.memory_info().rss
    if resident / 2**20 <= limit:
        return resident / 2**20
    exact = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            memory = process.memory_full_info()
            exact += getattr(memory, "pss", memory.rss)  # only Linux counts shares of pages
    return exact / 2**20


def tree(pid: int) -> list[psutil.Process]:
    """A process and all its descendants; empty where it has ended."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return [process, *below(process)]
    return []


def group(number: int) -> list[psutil.Process]:
    """The living processes of a process group."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getpgid(process.pid) == number and is_alive(process):
                members.append(process)
    return members


@contextlib.contextmanager
def ending_children() -> Iterator[None]:
    """End the processes that this process starts in the meantime (not ``KEPT`` ones), with their children.

    A process that made itself an orphan (forked twice) escapes.
    """
    own = psutil.Process()
    before = set(own.children())
    try:
        yield
    finally:
        left = [child for child in own.children() if child not in before and not _is_kept(child)]
        end(left)
        psutil.wait_procs(left, timeout=1)


def _is_kept(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return KEPT in process.environ()
    return False


def end_as_interrupted() -> None:
    """Make SIGTERM raise KeyboardInterrupt, as Ctrl-C does."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
