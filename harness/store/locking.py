"""Who may open the database file, and for how long.

DuckDB lets one process write and shuts all others out, even read-only ones. So each of our processes passes
three locks before opening the file:

1. a mutex inside the process, because closing *any* descriptor of a file drops this process's POSIX lock
   on it, which is the lock that DuckDB holds: nobody may copy the file while a connection is open here;
2. the turnstile, a lock that a writer holds from the moment it begins to wait: readers that find it taken
   turn away, so that a stream of readers cannot starve the writer;
3. the lock itself, shared by readers, exclusive for writers.

Locks 2 and 3 are ``flock`` locks: they belong to an open file description, so they exclude threads as well
as processes, and the kernel drops them when their holder dies.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from harness.store.errors import StoreError, StoreHeldError, StoreReadOnlyError
from harness.store.paths import StorePaths

_POLL_SECONDS = 0.002


class Closable(Protocol):
    """An open connection."""

    def close(self) -> None:
        """Close it."""
        ...


class ProcessLock:
    """The mutex of this process for one database, and the kept connection."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self.kept: Closable | None = None

    @contextlib.contextmanager
    def entered(self, paths: StorePaths, timeout: float, *, keep: bool = False) -> Iterator[tuple[ProcessLock, float]]:
        """Hold the mutex; gives this object and the moment until which to wait for other locks.

        ``keep``: leave an open connection open.

        Raises:
            StoreHeldError: another thread holds it for longer than ``timeout`` seconds.
        """
        paths.check()
        deadline = time.monotonic() + timeout
        if not self.mutex.acquire(timeout=timeout):
            raise _busy(paths, "another thread of this process")
        try:
            if not keep:
                self.close_kept()
            yield self, deadline
        finally:
            self.mutex.release()

    def close_kept(self) -> None:
        """Close the open connection, if there is one; the caller holds the mutex."""
        kept, self.kept = self.kept, None
        if kept is not None:
            kept.close()


_gates: dict[Path, ProcessLock] = {}
_gates_guard = threading.Lock()


def process_lock(paths: StorePaths) -> ProcessLock:
    """The mutex and connection of a database in this process."""
    with _gates_guard:
        return _gates.setdefault(paths.database, ProcessLock())


def all_process_locks() -> list[ProcessLock]:
    """Those of all databases that this process has opened."""
    return list(_gates.values())


def _drop_process_locks() -> None:
    """Replace the mutexes in a forked child: nothing there would release them."""
    global _gates_guard
    _gates_guard = threading.Lock()
    _gates.clear()


os.register_at_fork(after_in_child=_drop_process_locks)


@contextlib.contextmanager
def writing(paths: StorePaths, timeout: float = 10.0) -> Iterator[None]:
    """Hold the database alone among our processes and threads.

    Raises:
        StoreHeldError: not free within ``timeout`` seconds.
    """
    with (
        process_lock(paths).entered(paths, timeout) as (_, deadline),
        file_lock(paths.turnstile, fcntl.LOCK_EX, deadline, paths),
        file_lock(paths.lock, fcntl.LOCK_EX, deadline, paths),
    ):
        yield


@contextlib.contextmanager
def looking(paths: StorePaths, timeout: float = 0.1) -> Iterator[None]:
    """Hold the database together with our other readers, for a short read.

    Raises:
        StoreHeldError: one of our writers is at work or waits, and ``timeout`` seconds did not change that.
    """
    with contextlib.ExitStack() as held:
        _, deadline = held.enter_context(process_lock(paths).entered(paths, timeout))
        with file_lock(paths.turnstile, fcntl.LOCK_SH, deadline, paths):
            held.enter_context(file_lock(paths.lock, fcntl.LOCK_SH, deadline, paths))
        yield


def _busy(paths: StorePaths, holder: str) -> StoreHeldError:
    return StoreHeldError(f"{paths.database} is in use by {holder}", holder, foreign=False)


@contextlib.contextmanager
def file_lock(path: Path, mode: int, deadline: float, paths: StorePaths) -> Iterator[None]:
    """Hold one of the lock files, shared or alone.

    Raises:
        StoreHeldError: not free until ``deadline``.
        StoreError: the file cannot be made, or its file system does not lock files.
    """
    descriptor = _lock_file(path, mode, paths)
    if descriptor is None:
        yield
        return
    try:
        while True:
            try:
                fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                    raise StoreError(
                        f"the file system of {paths.database} does not lock files ({error.strerror}), so that two "
                        f"processes could write at once; keep the database on a disk of this machine"
                    ) from error
                if time.monotonic() >= deadline:
                    raise _busy(paths, lock_holder(path) or "another harness process") from None
                time.sleep(_POLL_SECONDS)
        try:
            yield
        finally:
            # Explicit, because a child forked meanwhile shares the description and would keep the lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _lock_file(path: Path, mode: int, paths: StorePaths) -> int | None:
    """The open lock file; None for a reader of a folder in which nothing can be written, so that nobody writes.

    Raises:
        StoreError: it cannot be made.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        text = f"{paths.database} cannot be written: {path.name}: {error.strerror}"
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise StoreError(text) from error
        if mode != fcntl.LOCK_SH:
            raise StoreReadOnlyError(text) from error
        with contextlib.suppress(OSError):
            return os.open(path, os.O_RDONLY)
        return None


def is_free(path: Path) -> bool:
    """True if no other process holds or waits for a lock file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def hold_segment(descriptor: int) -> None:
    """Mark a log segment as alive while the descriptor is open."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def segment_is_held(path: Path) -> bool:
    """True while the writer of a log segment lives."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def keeping_out(path: Path, mode: int) -> Iterator[BinaryIO]:
    """The database file, open and locked as DuckDB locks it: against writers (``LOCK_SH``), or everyone (``LOCK_EX``).

    The caller holds the lock and no connection: closing the descriptor used here drops every POSIX lock
    that this process has on the file, DuckDB's included.

    Raises:
        StoreHeldError: this process or a foreign one has the file open.
        FileNotFoundError: the file does not exist.
    """
    if open_in_this_process(path):
        raise held_here(path)
    with path.open("rb" if mode == fcntl.LOCK_SH else "r+b") as file:
        try:
            fcntl.lockf(file, mode | fcntl.LOCK_NB)
        except OSError as error:
            holder = lock_holder(path) or "another process"
            raise StoreHeldError(f"{path} is held by {holder}: close it first", holder) from error
        yield file


def held_here(path: Path) -> StoreHeldError:
    """The error where this process itself has the file open."""
    holder = f"this process itself (process {os.getpid()})"
    return StoreHeldError(f"{path} is held by {holder}: close its other connection", holder)


def open_in_this_process(path: Path) -> bool:
    """True if a descriptor of this process is the file (known on Linux; elsewhere False)."""
    try:
        target = path.stat()
        descriptors = os.listdir("/proc/self/fd")  # noqa: PTH208 - names only, no Path per descriptor
    except OSError:
        return False
    for name in descriptors:
        with contextlib.suppress(OSError):
            status = os.fstat(int(name))
            if (status.st_dev, status.st_ino) == (target.st_dev, target.st_ino):
                return True
    return False


def holder_in(message: str) -> str | None:
    """The holder that DuckDB's error names, with its command line if available."""
    named = re.search(r"held in (.*?) \(PID (\d+)\)", message)
    return None if named is None else _process(int(named[2]), named[1])


def lock_holder(path: Path) -> str | None:
    """The process that locks a file, from the kernel's list of locks (Linux; elsewhere None)."""
    try:
        status = path.stat()
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    inode = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in lines:
        fields = line.split()
        if len(fields) >= 6 and fields[1] != "->" and fields[5] == inode and fields[4].isdigit():
            return _process(int(fields[4]), "a process")
    return None


def _process(pid: int, program: str) -> str:
    import psutil

    try:
        command = " ".join(" ".join(psutil.Process(pid).cmdline()).split()) or program
    except psutil.Error:
        command = program
    return f"process {pid} ({command if len(command) <= 120 else command[:117] + '…'})"
