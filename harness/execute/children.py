"""Processes that a trial starts end with it; nobody else would end them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

KEPT = "HARNESS_KEPT"
"""In the environment of a process that is to outlive its trial: it serves the next one of the same worker."""


@contextlib.contextmanager
def ending_children() -> Iterator[None]:
    """End what this process has started in the meantime, and all below it.

    A process that made itself nobody's child (forked twice), or that another thread started, escapes. Where
    the system does not list children cheaply (outside Linux) nothing is ended.
    """
    before = _children()
    try:
        yield
    finally:
        for pid in _children() - before:
            _end(pid)


def _children() -> set[int]:
    """Of the thread that runs the trial: to look at every thread of a process takes a millisecond."""
    with contextlib.suppress(OSError):
        return set(map(int, Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()))
    return set()


def _end(pid: int) -> None:
    import psutil

    with contextlib.suppress(psutil.Error):
        child = psutil.Process(pid)
        if KEPT in child.environ():
            return
        for process in (*child.children(recursive=True), child):
            with contextlib.suppress(psutil.Error):
                process.kill()
        with contextlib.suppress(psutil.TimeoutExpired):
            child.wait(1)
