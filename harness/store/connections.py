"""Open the database file to write; copy it; release it soon after.

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

from harness.store.errors import StoreReadOnlyError
from harness.store.locking import busy, copy_database, file_lock, is_free, wal_bytes
from harness.store.paths import StorePaths
from harness.store.schema import open_for_writing
from harness.trial.files import sync

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LINGER_SECONDS = 0.1
"""How long an unused connection is kept."""


class ProcessLock:
    """A process's mutex for one database, and the connection it guards."""

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
    """Open the database at the newest schema, or use the kept connection.

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


def copy_current(paths: StorePaths, target: Path, timeout: float) -> None:
    """Copy the file under the lock; without it in a folder that nobody can write.

    Raises:
        StoreHeldError: not free within ``timeout`` seconds, or a foreign writer has the file open.
    """
    try:
        with writing(paths, timeout):
            copy_database(paths, target)
    except StoreReadOnlyError:
        copy_database(paths, target)


def take_snapshot(paths: StorePaths) -> bool:
    """Publish a whole copy of the database; False while the WAL is not empty.

    The copy is made under the lock; making it durable and renaming it into place needs none.

    Raises:
        StoreHeldError: as :func:`copy_database`, or another of our processes has the lock.
        OSError: the disk does not take the copy.
    """
    own = f"{os.getpid()}.{threading.get_ident()}"  # several writers may live in one process
    partial = paths.snapshot.with_name(f"{paths.snapshot.name}.partial-{own}")
    try:
        with writing(paths):
            if wal_bytes(paths) > 0:
                return False
            copy_database(paths, partial)
        sync(partial)
        partial.replace(paths.snapshot)
    except BaseException:
        partial.unlink(missing_ok=True)  # half a copy on a full disk takes the space that the event log needs
        raise
    return True


def remove_left_overs(paths: StorePaths) -> None:
    """Remove partial copies and databases of killed processes; the caller holds the lock."""
    import psutil

    beginnings = (f"{paths.snapshot.name}.partial-", f"{paths.database.name}.new-")
    for entry in paths.database.parent.iterdir():
        for beginning in beginnings:
            pid = entry.name.removeprefix(beginning).partition(".")[0]
            if entry.name.startswith(beginning) and not (pid.isdigit() and psutil.pid_exists(int(pid))):
                entry.unlink(missing_ok=True)
