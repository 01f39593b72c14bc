"""Whole copies of the database file, for readers and for safety."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from pathlib import Path

from harness.store.locking import keeping_out, writing
from harness.store.paths import StorePaths
from harness.trial.files import sync


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
