"""Weathers of an episode: what besides blows at processes befalls a run.

A weather sets a place up, does something before each attempt, strikes while one runs, and is taken away after it.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from soak_checkpoints import DAMAGES, checkpoints, damage
from soak_clock import HOUR, YEAR, Clock
from soak_disks import ReadOnly, SmallDisk, can_mount
from soak_holders import Holder
from soak_runs import Started


class Weather:
    """Fair weather; use as a context manager. ``folder`` is where the episode's database lies."""

    name: ClassVar[str] = "fair"

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.environment: Mapping[str, str] = {}

    @classmethod
    def is_possible(cls) -> bool:
        """Whether this machine has what it takes."""
        return True

    def __enter__(self) -> Weather:
        self.folder.mkdir(exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def before(self, database: Path) -> None:
        """Between two attempts, before the next one starts."""

    def strike(self, process: Started) -> bool:
        """Once more, while an attempt runs; whether it struck anything."""
        return False

    def clear(self) -> None:
        """Take away what is in the way. Idempotent."""


class FullDisk(Weather):
    """The database lies on a disk too small for it, which others fill besides; more space is given in time."""

    name = "full disk"

    def __init__(self, folder: Path, chance: random.Random) -> None:
        super().__init__(folder, chance)
        self._megabytes = chance.uniform(1, 20)
        self._disk = SmallDisk(folder, self._megabytes)

    @classmethod
    def is_possible(cls) -> bool:
        return can_mount()

    def __enter__(self) -> Weather:
        self._disk.__enter__()
        return self

    def __exit__(self, *exit_: object) -> None:
        self._disk.__exit__(*exit_)

    def strike(self, process: Started) -> bool:
        self._disk.fill(spare=self.chance.choice((0, 4096, self.chance.randrange(1 << 20))))
        return True

    def clear(self) -> None:
        self._disk.give_space()
        self._megabytes += self.chance.uniform(2, 16)
        self._disk.resize(self._megabytes)


class ReadOnlyFolder(Weather):
    """The folder turns read-only and, some time later, is as it was."""

    name = "read-only folder"

    def __init__(self, folder: Path, chance: random.Random) -> None:
        super().__init__(folder, chance)
        self._view = ReadOnly(folder)

    def before(self, database: Path) -> None:
        if database.exists() and self.chance.random() < 0.2:
            self._view.on()

    def strike(self, process: Started) -> bool:
        self._view.on()
        return True

    def clear(self) -> None:
        self._view.off()


class JumpingClock(Weather):
    """Every process of the run sees a clock that jumps forward and back, by hours or by years."""

    name = "jumping clock"

    def __init__(self, folder: Path, chance: random.Random) -> None:
        super().__init__(folder, chance)
        folder.mkdir(exist_ok=True)
        self._clock = Clock(folder)
        self.environment = self._clock.environment

    @classmethod
    def is_possible(cls) -> bool:
        return Clock.can_be_made()

    def before(self, database: Path) -> None:
        self.strike(None)

    def strike(self, process: Started | None) -> bool:
        unit = self.chance.choice((60.0, HOUR, YEAR))
        self._clock.jump(self.chance.uniform(-5, 5) * unit)
        return True


class HeldDatabase(Weather):
    """A shell holds the database, reading or writing, as a run starts or while it goes on."""

    name = "held database"

    def __init__(self, folder: Path, chance: random.Random) -> None:
        super().__init__(folder, chance)
        self._holder: Holder | None = None

    def before(self, database: Path) -> None:
        if database.exists() and self.chance.random() < 0.5:
            self._hold(database)

    def strike(self, process: Started) -> bool:
        if self._holder is not None:
            self.clear()
        elif process.database.exists():
            self._hold(process.database)
        return self._holder is not None

    def _hold(self, database: Path) -> None:
        # A shell that made the file itself would make another program's of it.
        self._holder = Holder(database, self.chance.choice(("read-only", "read-write")))

    def clear(self) -> None:
        if self._holder is not None:
            self._holder.let_go()
            self._holder = None


class HalfWrittenCheckpoints(Weather):
    """Checkpoints are damaged between attempts, and under way."""

    name = "half-written checkpoints"

    def before(self, database: Path) -> None:
        for file in checkpoints(self.folder / "artifacts"):
            if self.chance.random() < 0.7:
                self._damage(file)

    def strike(self, process: Started) -> bool:
        found = checkpoints(self.folder / "artifacts")
        return bool(found) and self._damage(self.chance.choice(found))

    def _damage(self, file: Path) -> bool:
        with contextlib.suppress(FileNotFoundError):  # its trial has ended meanwhile
            damage(file, self.chance.choice(DAMAGES), self.chance)
            return True
        return False


WEATHERS: tuple[type[Weather], ...] = (
    Weather,
    FullDisk,
    ReadOnlyFolder,
    JumpingClock,
    HeldDatabase,
    HalfWrittenCheckpoints,
)
