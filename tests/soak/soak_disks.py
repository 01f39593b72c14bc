"""Disks that are full or turn read-only, each a small one of its own where this user may mount."""

from __future__ import annotations

import contextlib
import os
import subprocess
from functools import cache
from pathlib import Path

MEGABYTE = 1 << 20


def _mount(*arguments: str) -> bool:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(["mount", *arguments], capture_output=True, timeout=20, check=False).returncode == 0
    return False


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, timeout=20, check=True)


@cache
def can_mount() -> bool:
    """Whether this user may mount, tried once."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        if not _mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", folder):
            return False
        _unmount(Path(folder))
        return True


class SmallDisk:
    """A file system of its own in memory, mounted on ``folder``; use as a context manager."""

    def __init__(self, folder: Path, megabytes: float) -> None:
        self.folder, self._megabytes = folder, megabytes
        self._ballast = folder / "ballast"

    def __enter__(self) -> SmallDisk:
        self.folder.mkdir(exist_ok=True)
        assert _mount("-t", "tmpfs", "-o", f"size={int(self._megabytes * 1024)}k", "tmpfs", str(self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        _unmount(self.folder)

    def resize(self, megabytes: float) -> None:
        assert _mount("-o", f"remount,size={int(megabytes * 1024)}k", str(self.folder))

    def fill(self, spare: int = 0) -> None:
        """Somebody else takes what is free, but for ``spare`` bytes."""
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while True:
                free = os.statvfs(self.folder)
                left = free.f_bavail * free.f_frsize - spare
                if left <= 0:
                    return
                file.write(bytes(min(left, MEGABYTE)))

    def give_space(self) -> None:
        self._ballast.unlink(missing_ok=True)


class ReadOnly:
    """Turns a folder read-only while a run is at work in it, and back.

    Where this user may mount, a read-only view is mounted over it: files that are open go on being written, as no new
    one can be. Elsewhere its mode is changed, and those of the folders in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._on = False

    def on(self) -> None:
        if self._on:
            return
        if can_mount():
            assert _mount("--bind", "-o", "ro", str(self.folder), str(self.folder))
        else:
            self._modes(0o555)
        self._on = True

    def off(self) -> None:
        if not self._on:
            return
        if can_mount():
            _unmount(self.folder)
        else:
            self._modes(0o755)
        self._on = False

    def _modes(self, mode: int) -> None:
        for folder in (self.folder, *(one for one in self.folder.rglob("*") if one.is_dir())):
            folder.chmod(mode)
