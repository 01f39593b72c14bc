"""File locks: who may open the database, whose log segment is alive, and who holds what.

DuckDB lets one process write and shuts all others out, even read-only ones. Each of our processes that opens the
file therefore holds two ``flock`` locks (``connections``): the turnstile while it waits, so that a process that keeps a
connection open for its next use sees that others wait; and the lock itself while the file is open. They belong to an
open file description, so they exclude threads as well as processes, and the kernel drops them when their holder dies.
"""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from harness.store.errors import StoreError, StoreHeldError, StoreReadOnlyError
from harness.store.paths import StorePaths

_POLL_SECONDS = 0.002


def busy(paths: StorePaths, holder: str) -> StoreHeldError:
    """The error where another of our threads or processes has the database."""
    return StoreHeldError(f"{paths.database} is in use by {holder}", holder)


@contextlib.contextmanager
def file_lock(path: Path, deadline: float, paths: StorePaths) -> Iterator[None]:
    """Hold one of the lock files.

    Raises:
        StoreHeldError: not free until ``deadline``.
        StoreReadOnlyError: nothing can be written there.
        StoreError: the file cannot be made, or its file system does not lock files.
    """
    descriptor = _lock_file(path, paths)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                    raise StoreError(
                        f"the file system of {paths.database} does not lock files ({error.strerror}), so that two "
                        f"processes could write at once; keep the database on a disk of this machine"
                    ) from error
                if time.monotonic() >= deadline:
                    raise busy(paths, lock_holder(path) or "another harness process") from None
                time.sleep(_POLL_SECONDS)
        try:
            yield
        finally:
            # Explicit, because a child forked meanwhile shares the description and would keep the lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _lock_file(path: Path, paths: StorePaths) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        refused = error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
        kind = StoreReadOnlyError if refused else StoreError
        raise kind(f"{paths.database} cannot be written: {path.name}: {error.strerror}") from error


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


def copy_database(paths: StorePaths, target: Path) -> None:
    """Copy the file, and its WAL if there is one, to ``target``; the caller holds the lock and no connection.

    Raises:
        StoreHeldError: this process or a foreign writer has the file open.
    """
    with keeping_out(paths.database, fcntl.LOCK_SH) as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy, 1 << 22)
        if wal_bytes(paths) > 0:
            shutil.copyfile(paths.wal, target.with_name(target.name + ".wal"))


def wal_bytes(paths: StorePaths) -> int:
    """Size of DuckDB's write-ahead log; 0 after a checkpoint."""
    try:
        return paths.wal.stat().st_size
    except FileNotFoundError:
        return 0


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
