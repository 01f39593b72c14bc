"""The folders of trials that have ended: nobody changes what lies in them by mistake, and they can still be removed."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def seal(folder: Path) -> None:
    """Nobody but root may write to the files of a folder, nor make or remove any in the folders below it.

    In the folder itself that stays possible: a damaged product is set aside there, and a determinism check runs in it.
    """
    for path in _below(folder):
        _change(path, lambda mode: mode & ~_WRITABLE)


def unseal(folder: Path) -> None:
    """Its owner may write again: the trial runs once more."""
    for path in _below(folder):
        _change(path, lambda mode: mode | stat.S_IWUSR)


def remove(folder: Path) -> None:
    """Remove a folder with all in it, sealed or not, as far as that is possible."""
    with contextlib.suppress(OSError):
        unseal(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _below(folder: Path) -> Iterator[Path]:
    """Everything below a folder but links, which lead elsewhere; a folder before what is in it."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            if not path.is_symlink():
                yield path


def _change(path: Path, changed: Callable[[int], int]) -> None:
    with contextlib.suppress(OSError):  # of somebody else, or gone
        mode = stat.S_IMODE(path.lstat().st_mode)
        if changed(mode) != mode:
            path.chmod(changed(mode))
