"""How much memory this process took: its highest resident size, which psutil does not tell."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

OUT_OF_MEMORY = "out of memory:"
"""How the error of a trial begins whose cause is memory."""
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def peak_memory_bytes() -> int:
    """This process's highest resident size; on Linux since :func:`reset_peak_memory`."""
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, the other systems KiB


def reset_peak_memory() -> None:
    """Begin the highest resident size anew, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")
