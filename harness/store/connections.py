"""The one place that opens the database file to write, and releases it soon after.

A connection costs some ten milliseconds to open. It is kept for a moment after its use, for the next use in this
process, unless another process waits for the file. A mutex inside the process is held during each use, because closing
*any* descriptor of a file drops this process's POSIX lock on it, which is the lock that DuckDB holds: nobody may copy
the file while a connection is open here.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.store.locking import busy, file_lock, is_free
from harness.store.paths import StorePaths
from harness.store.schema import open_for_writing

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LINGER_SECONDS = 0.1
"""How long an unused connection is kept."""


class ProcessLock:
    """The mutex of this process for one database, and the kept connection, which is touched under it alone."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self.kept: DuckDBPyConnection | None = None
        self._held = contextlib.ExitStack()
        self._timer: threading.Timer | None = None

    @contextlib.contextmanager
    def entered(self, paths: StorePaths, timeout: float) -> Iterator[float]:
        """Hold the mutex; gives the moment until which to wait for other locks.

        Raises:
            StoreHeldError: another thread holds it for longer than ``timeout`` seconds.
        """
        paths.check()
        deadline = time.monotonic() + timeout
        if not self.mutex.acquire(timeout=timeout):
            raise busy(paths, "another thread of this process")
        try:
            yield deadline
        finally:
            self.mutex.release()

    def open(self, paths: StorePaths, deadline: float) -> DuckDBPyConnection:
        """The kept connection, opened if there is none or another process waits."""
        if self.kept is not None and is_free(paths.turnstile):
            self._keep_open()
            return self.kept
        self.close()
        with contextlib.ExitStack() as held:
            held.enter_context(_file_locks(paths, deadline))
            self.kept = held.enter_context(open_for_writing(paths))
            self._held = held.pop_all()
        return self.kept

    def close(self, *, failed: bool = False) -> None:
        """Close the kept connection, then release the file.

        ``failed``: an exception is being handled; a guard of the connection may turn it into one with a message.
        """
        self._keep_open()
        self.kept = None
        held, self._held = self._held, contextlib.ExitStack()
        held.__exit__(*(sys.exc_info() if failed else (None, None, None)))

    def close_soon(self) -> None:
        """Close unless it is used again within ``LINGER_SECONDS``."""
        self._timer = threading.Timer(LINGER_SECONDS, self._close_unused)
        self._timer.daemon = True
        self._timer.start()

    def _keep_open(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close_unused(self) -> None:
        with self.mutex:
            if self._timer is threading.current_thread():
                self.close()


_locks: dict[Path, ProcessLock] = {}
_locks_guard = threading.Lock()


def process_lock(paths: StorePaths) -> ProcessLock:
    """The mutex and connection of a database in this process."""
    with _locks_guard:
        return _locks.setdefault(paths.database, ProcessLock())


@contextlib.contextmanager
def _file_locks(paths: StorePaths, deadline: float) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        with file_lock(paths.turnstile, deadline, paths):
            held.enter_context(file_lock(paths.lock, deadline, paths))
        yield


@contextlib.contextmanager
def writing(paths: StorePaths, timeout: float = 10.0) -> Iterator[None]:
    """Hold the database alone among our processes and threads, without a connection.

    Raises:
        StoreHeldError: not free within ``timeout`` seconds.
    """
    lock = process_lock(paths)
    with lock.entered(paths, timeout) as deadline:
        lock.close()
        with _file_locks(paths, deadline):
            yield


@contextlib.contextmanager
def using(paths: StorePaths, timeout: float = 10.0, *, linger: bool = True) -> Iterator[DuckDBPyConnection]:
    """Use the database at the newest schema, alone among our processes and threads.

    Args:
        paths: of the database.
        timeout: seconds to wait for other threads and for our other processes.
        linger: keep the connection open for a moment, for the next use.

    Raises:
        StoreHeldError: not free within ``timeout`` seconds.
        StoreError: the file cannot be opened; see :func:`harness.store.schema.open_for_writing`.
    """
    lock = process_lock(paths)
    with lock.entered(paths, timeout) as deadline:
        try:
            yield lock.open(paths, deadline)
        except BaseException:
            lock.close(failed=True)
            raise
        if linger:
            lock.close_soon()
        else:
            lock.close()


def release(paths: StorePaths) -> None:
    """Close the connection of this process, if it is open and unused."""
    lock = process_lock(paths)
    with lock.mutex:
        lock.close()


def _release_before_fork() -> None:
    """A child must not inherit an open database."""
    for lock in list(_locks.values()):
        if lock.mutex.acquire(blocking=False):
            try:
                lock.close()
            finally:
                lock.mutex.release()


def _drop_after_fork() -> None:
    """Replace the mutexes in a forked child: nothing there would release them."""
    global _locks_guard
    _locks_guard = threading.Lock()
    _locks.clear()


os.register_at_fork(before=_release_before_fork, after_in_child=_drop_after_fork)
