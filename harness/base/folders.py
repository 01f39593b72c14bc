"""Write protection of the folders of trials that have ended."""

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def seal(folder: Path) -> None:
    """Remove write permission below a folder; damaged weights can still be set aside in it."""
    for path in _below(folder):
        _change(path, lambda mode: mode & ~_WRITABLE)


def unseal(folder: Path) -> None:
    """Restore the user's write permission, before the trial runs again."""
    for path in _below(folder):
        _change(path, lambda mode: mode | stat.S_IWUSR)


def remove(folder: Path) -> None:
    """Remove a folder with its content, even a write-protected one."""
    with contextlib.suppress(OSError):
        unseal(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _below(folder: Path) -> Iterator[Path]:
    """Yield everything below a folder except links, each folder before its content."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            if not path.is_symlink():
                yield path


def _change(path: Path, changed: Callable[[int], int]) -> None:
    with contextlib.suppress(OSError):  # owned by another user, or gone
        mode = stat.S_IMODE(path.lstat().st_mode)
        if changed(mode) != mode:
            path.chmod(changed(mode))
