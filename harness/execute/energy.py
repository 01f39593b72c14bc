"""Energy as devices count it themselves: the processor's packages and NVIDIA GPUs, in joules; nothing is estimated.

The counters are the whole device's, so a difference is a trial's own only where nothing else ran (``--exclusive``).
Sources: Linux powercap (``Documentation/power/powercap``: ``energy_uj``, ``max_energy_range_uj``), NVML
(``nvmlDeviceGetTotalEnergyConsumption``: millijoules since the driver was loaded, Volta and newer).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Mapping
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
NVML = "libnvidia-ml.so.1"

Reading = Mapping[str, tuple[float, float]]
"""Joules by counter, each with the range after which it begins again (0: never)."""


def reading(powercap: Path = POWERCAP) -> Reading:
    """What every counter that may be read shows now; empty where the machine tells nothing."""
    return {**_packages(powercap), **_gpus()}


def used(before: Reading, after: Reading) -> dict[str, float]:
    """Joules between two readings by kind of device (``cpu``, ``gpu``); a counter that began again is counted on."""
    found: dict[str, float] = {}
    for name, (now, span) in after.items():
        if name in before:
            difference = now - before[name][0]
            if difference < 0:
                difference += span
            if difference >= 0:
                kind = name.partition(":")[0]
                found[kind] = found.get(kind, 0.0) + difference
    return found


def _packages(powercap: Path) -> dict[str, tuple[float, float]]:
    found = {}
    for folder in sorted(powercap.glob("intel-rapl:?*")):
        try:
            if folder.name.count(":") == 1 and (folder / "name").read_text().startswith("package"):
                joules = int((folder / "energy_uj").read_text()) / 1e6
                found[f"cpu:{folder.name}"] = (joules, int((folder / "max_energy_range_uj").read_text()) / 1e6)
        except (OSError, ValueError):  # the counter is for root, or not there
            continue
    return found


def _gpus() -> dict[str, tuple[float, float]]:
    """The GPU that this process sees first; tasks compute on no other."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return {}
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(NVML)
        if library.nvmlInit_v2() == 0:
            try:
                return _total(library, os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip())
            finally:
                library.nvmlShutdown()
    return {}


def _total(library: ctypes.CDLL, visible: str) -> dict[str, tuple[float, float]]:
    device, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
    if visible.isdigit():
        answer = library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(int(visible)), ctypes.byref(device))
    else:
        answer = library.nvmlDeviceGetHandleByUUID(visible.encode(), ctypes.byref(device))
    if answer == 0 and library.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(millijoules)) == 0:
        return {f"gpu:{visible}": (millijoules.value / 1000, 0.0)}
    return {}
