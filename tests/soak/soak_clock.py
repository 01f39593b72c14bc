"""A clock that jumps, for the processes of a run alone: the machine's own is left as it is."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

HOUR = 3600.0
YEAR = 365 * 24 * HOUR


class Clock:
    """Preloaded into a run and all its children by :attr:`environment`; :meth:`jump` sets it for all of them."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        assert compiler is not None, "ask can_be_made first"
        self._shift, library = folder / "clock.shift", folder / "clock.so"
        self.jump(0.0)
        source = Path(__file__).with_name("soak_clock.c")
        options = ("-shared", "-fPIC", "-O2", "-o", str(library))
        subprocess.run([compiler, *options, str(source), "-ldl", "-lpthread"], check=True, timeout=60)
        before = os.environ.get("LD_PRELOAD")
        preload = f"{library}:{before}" if before else str(library)
        self.environment = {"LD_PRELOAD": preload, "SOAK_CLOCK": str(self._shift)}

    @staticmethod
    def can_be_made() -> bool:
        return os.uname().sysname == "Linux" and shutil.which("cc") is not None

    def jump(self, seconds: float) -> None:
        """From now on the clock is ahead of the machine's by so much (behind it, if negative)."""
        mode = "r+b" if self._shift.exists() else "wb"
        with self._shift.open(mode) as file:  # in place: it is mapped by whoever runs
            file.write(struct.pack("q", int(seconds * 1e9)))
