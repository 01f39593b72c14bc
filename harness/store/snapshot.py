"""Whole copies of the database file, for readers and for safety."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from harness.store.locking import keeping_out
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


def copy_for_snapshot(paths: StorePaths) -> Path | None:
    """The first half of a snapshot, under the lock: a copy beside it. None while the WAL is not empty."""
    if wal_bytes(paths) > 0:
        return None
    partial = paths.snapshot.with_name(f"{paths.snapshot.name}.partial-{os.getpid()}")
    try:
        copy_database(paths, partial)
    except BaseException:
        partial.unlink(missing_ok=True)  # half a copy on a full disk takes the space that the event log needs
        raise
    return partial


def publish_snapshot(paths: StorePaths, partial: Path) -> None:
    """The second half, which needs no lock: make the copy durable and rename it into place."""
    try:
        sync(partial)
        partial.replace(paths.snapshot)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def remove_left_overs(paths: StorePaths) -> None:
    """Remove partial copies and databases of killed processes; the caller holds the lock."""
    import psutil

    beginnings = (f"{paths.snapshot.name}.partial-", f"{paths.database.name}.new-")
    for entry in paths.database.parent.iterdir():
        for beginning in beginnings:
            pid = entry.name.removeprefix(beginning).removesuffix(".wal")
            if entry.name.startswith(beginning) and not (pid.isdigit() and psutil.pid_exists(int(pid))):
                entry.unlink(missing_ok=True)
