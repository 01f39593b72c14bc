"""Peak memory of this process, and the energy counter of its GPU."""

import contextlib
import os
import resource
import sys
from pathlib import Path

OUT_OF_MEMORY = "out of memory:"
"""Beginning of the error of a trial that failed for lack of memory."""
_STATUS = Path("/proc/self/status")


def peak_memory_bytes() -> int:
    """Highest resident size of this process; on Linux since :func:`reset_peak_memory`."""
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, the other systems KiB


def reset_peak_memory() -> None:
    """Restart the measurement of the peak, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def gpu_joules() -> float | None:
    """Energy of the first visible GPU since its driver was loaded; None without such a counter (NVML, Volta or newer).

    The counter covers the whole device: a difference belongs to one trial only where nothing else runs.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if not visible:
        return None
    import pynvml

    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex if visible.isdigit() else pynvml.nvmlDeviceGetHandleByUUID
            device = handle(int(visible) if visible.isdigit() else visible)
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(device)) / 1000
        finally:
            pynvml.nvmlShutdown()
    return None
