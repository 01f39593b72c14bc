"""Faults injected into runs: a killed process, a full disk; episodes repeat a command until its suite is complete."""

from __future__ import annotations

import contextlib
import os
import random
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import psutil
from soak_runs import ROUND_SECONDS, Started, Work, assert_nothing_is_lost, assert_whole, finished, started
from waiting import until

MEGABYTE = 1 << 20
MOST_ATTEMPTS = 200
UNKIND = re.compile(r"^internal error|^Traceback", re.MULTILINE)
"""Messages that no user should see, whatever happens."""
KILLS = ("group", "command", "worker", "raylet", "gcs_server")
INLINE_KILLS = KILLS[:2]
Tell = Callable[[str], None]


def kill(process: Started, target: str, chance: random.Random) -> bool:
    """Kill the process group, the command alone, or one of Ray's processes; False if there is none."""
    if process.poll() is not None:
        return False
    if target == "group":
        process.end()
    elif target == "command":
        process.kill()
        process.wait()
    else:
        victims = [
            item for item in _family(process) if _name(item).startswith("ray::" if target == "worker" else target)
        ]
        if not victims:
            return False
        with contextlib.suppress(psutil.Error):
            chance.choice(victims).kill()
    return True


def _family(process: Started) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        line = process.cmdline()
        return Path(line[0].split()[0]).name if line and line[0] else process.name()
    return ""


# the full disk


def mount(*arguments: str) -> bool:
    """Mount a file system; False where this user may not."""
    with contextlib.suppress(OSError):
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
    return False


@cache
def can_mount() -> bool:
    """Try once whether this user may mount."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        if mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", folder):
            subprocess.run(["umount", "-l", folder], check=True)
            return True
        return False


class SmallDisk:
    """A file system in memory, mounted on ``folder``; use as a context manager."""

    def __init__(self, folder: Path, megabytes: float) -> None:
        self.folder, self.megabytes = folder, megabytes
        self._ballast = folder / "ballast"

    def __enter__(self) -> SmallDisk:
        self.folder.mkdir(exist_ok=True)
        assert mount("-t", "tmpfs", "-o", f"size={int(self.megabytes * 1024)}k", "tmpfs", str(self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)

    def fill(self, spare: int = 0) -> None:
        """Take what is free, but for ``spare`` bytes."""
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while (left := self._free() - spare) > 0:
                file.write(bytes(min(left, MEGABYTE)))

    def _free(self) -> int:
        state = os.statvfs(self.folder)
        return state.f_bavail * state.f_frsize

    def grow(self, megabytes: float) -> None:
        """Free what was taken, and make the disk larger."""
        self._ballast.unlink(missing_ok=True)
        self.megabytes += megabytes
        assert mount("-o", f"remount,size={int(self.megabytes * 1024)}k", str(self.folder))


# episodes


class Episode:
    """A suite on its own database, started again until it is complete.

    Attributes:
        faults: injected faults by name, over all episodes, at most ``most``.
    """

    def __init__(self, work: Work, executor: str, folder: Path, chance: random.Random, faults: Counter[str], most: int):
        self.work, self.executor, self.chance, self.faults, self.most = work, executor, chance, faults, most
        self.database, self.disk = folder / "soak.duckdb", None
        self._folder = folder

    def run(self, tell: Tell, full_disk: bool) -> None:
        """Run until the suite is complete, with kills or a full disk.

        Raises:
            AssertionError: something was lost, ran twice, gave other numbers, or was reported badly.
        """
        self._folder.mkdir()
        with (
            SmallDisk(self._folder, self.chance.uniform(1, 20)) if full_disk else contextlib.nullcontext() as self.disk
        ):
            for _ in range(MOST_ATTEMPTS):
                if self._attempt(tell) == 0:
                    assert_whole(self.work, self.database)
                    return
        raise AssertionError("the suite never came to its end")

    def _attempt(self, tell: Tell) -> int:
        before = finished(self.database)
        process = started(self.work, self.database, self.executor)
        try:
            while self.faults.total() < self.most and process.poll() is None:
                self._wait(process, len(finished(self.database)) + self.chance.randint(0, 2))
                self._inject(process)
            code = process.wait(timeout=ROUND_SECONDS)
        finally:
            process.end()
            if self.disk is not None:
                self.disk.grow(self.chance.uniform(2, 16))
        message = process.said()
        assert not UNKIND.search(message), message
        assert code <= 0 or message.strip(), f"it ended with {code} and no message"
        after = assert_nothing_is_lost(self.database, before)
        tell(f"{self.executor}: {len(after)} finished, exit {code}, faults {dict(self.faults)}")
        return code

    def _wait(self, process: Started, trials: int) -> None:
        """Wait until so many trials have finished or the run has ended."""
        until(lambda: process.poll() is not None or len(finished(self.database)) >= trials)

    def _inject(self, process: Started) -> None:
        if self.disk is not None:
            self.disk.fill(spare=self.chance.choice((0, 4096, self.chance.randrange(MEGABYTE))))
            self.faults["full disk"] += 1
            process.wait(timeout=ROUND_SECONDS)
            return
        target = self.chance.choice(KILLS if self.executor == "ray" else INLINE_KILLS)
        self.faults[target] += kill(process, target, self.chance)


def soak(works: list[Work], folder: Path, most: int, seed: int, tell: Tell, executors: tuple[str, ...]) -> Counter[str]:
    """Run episodes in turn over works, executors and faults until ``most`` faults; returns their counts."""
    chance, faults = random.Random(seed), Counter[str]()
    for number, (work, executor, full_disk) in enumerate(_turns(works, executors)):
        if faults.total() >= most:
            break
        Episode(work, executor, folder / f"episode-{number}", chance, faults, most).run(tell, full_disk)
    return faults


def _turns(works: list[Work], executors: tuple[str, ...]) -> Iterator[tuple[Work, str, bool]]:
    while True:
        for full_disk in (False, True) if can_mount() else (False,):
            for executor in executors:
                yield from ((work, executor, full_disk) for work in works)
