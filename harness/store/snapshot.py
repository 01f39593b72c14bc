"""Whole copies of the database file, for readers and for safety."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from harness.store.connections import writing
from harness.store.errors import StoreReadOnlyError
from harness.store.locking import copy_database, wal_bytes
from harness.store.paths import StorePaths
from harness.trial.files import sync


def copy_current(paths: StorePaths, target: Path, timeout: float) -> None:
    """Copy the file under the lock; without it where nothing can be written, so that nobody of ours writes.

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
