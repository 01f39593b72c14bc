"""The one place that opens the database file: for uses that follow one another once, and released soon after.

A connection costs some ten milliseconds to open. It is kept for a moment after its use, for the next use in this
process, unless another process waits for the file. The mutex of the process (``locking``) is held during each use, so
threads take turns.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.store.locking import all_process_locks, file_lock, is_free, process_lock
from harness.store.paths import StorePaths
from harness.store.schema import connect, open_for_writing

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LINGER_SECONDS = 0.1
"""How long an unused connection is kept."""


class OpenConnection:
    """A connection with the lock that guards it; the process's mutex is held whenever it is used or closed."""

    def __init__(self, connection: DuckDBPyConnection, held: contextlib.ExitStack, *, writes: bool) -> None:
        self.connection, self.writes = connection, writes
        self._held = held
        self._timer: threading.Timer | None = None

    def close(self) -> None:
        """Close the connection, then let others have the file."""
        self.keep_open()
        self._held.close()

    def fail(self) -> None:
        """Close after an exception; a guard of the connection may turn it into one with a message."""
        self.keep_open()
        self._held.__exit__(*sys.exc_info())

    def keep_open(self) -> None:
        """Cancel a pending :meth:`close_soon`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close_soon(self, paths: StorePaths) -> None:
        """Close unless it is used again within ``LINGER_SECONDS``."""
        self._timer = threading.Timer(LINGER_SECONDS, _close_unused, (paths, self))
        self._timer.daemon = True
        self._timer.start()


def _close_unused(paths: StorePaths, unused: OpenConnection) -> None:
    gate = process_lock(paths)
    with gate.mutex:
        if gate.kept is unused and unused._timer is threading.current_thread():
            gate.close_kept()


@contextlib.contextmanager
def using(
    paths: StorePaths, *, write: bool, timeout: float = 10.0, linger: bool = True
) -> Iterator[DuckDBPyConnection]:
    """Use the database; to write, at the newest schema, alone among our processes and threads.

    Args:
        paths: of the database.
        write: otherwise the connection may only read, together with other readers.
        timeout: seconds to wait for other threads and for our other processes.
        linger: keep the connection open for a moment, for the next use.

    Raises:
        StoreHeldError: not free within ``timeout`` seconds.
        StoreError: the file cannot be opened; see :func:`harness.store.schema.open_for_writing`.
    """
    with process_lock(paths).entered(paths, timeout, keep=True) as (gate, deadline):
        kept = gate.kept
        if isinstance(kept, OpenConnection) and (kept.writes or not write) and is_free(paths.turnstile):
            kept.keep_open()
            current = kept
        else:
            gate.close_kept()
            current = _opened(paths, deadline, write=write)
        gate.kept = current
        try:
            yield current.connection
        except BaseException:
            gate.kept = None
            current.fail()
            raise
        if linger:
            current.close_soon(paths)
        else:
            gate.close_kept()


def _opened(paths: StorePaths, deadline: float, *, write: bool) -> OpenConnection:
    mode = fcntl.LOCK_EX if write else fcntl.LOCK_SH
    with contextlib.ExitStack() as held:
        with file_lock(paths.turnstile, mode, deadline, paths):
            held.enter_context(file_lock(paths.lock, mode, deadline, paths))
        if write:
            connection = held.enter_context(open_for_writing(paths))
        else:
            connection = held.enter_context(contextlib.closing(connect(paths.database, read_only=True)))
        return OpenConnection(connection, held.pop_all(), writes=write)


def release(paths: StorePaths, *, writer: bool = True) -> None:
    """Close the connection of this process, if it is open and unused.

    ``writer``: also one that writes, which belongs to the session's writer.
    """
    gate = process_lock(paths)
    with gate.mutex:
        if isinstance(gate.kept, OpenConnection) and (writer or not gate.kept.writes):
            gate.close_kept()


def _release_before_fork() -> None:
    """A child must not inherit an open database."""
    for gate in all_process_locks():
        if gate.mutex.acquire(blocking=False):
            try:
                gate.close_kept()
            finally:
                gate.mutex.release()


os.register_at_fork(before=_release_before_fork)
