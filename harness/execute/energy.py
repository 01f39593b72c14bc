"""Energy as devices count it themselves: the processor's packages and NVIDIA GPUs, in joules; nothing is estimated.

The counters are the whole device's, so a difference is a trial's own only where nothing else ran (``--exclusive``).
Sources: Linux powercap (``Documentation/power/powercap``: ``energy_uj``, ``max_energy_range_uj``), NVML
(``nvmlDeviceGetTotalEnergyConsumption``: millijoules since the driver was loaded, Volta and newer).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")

EnergyCounters = Mapping[str, tuple[float, float]]
"""Joules by counter, each with the range after which it begins again (0: never)."""


def reading(powercap: Path = POWERCAP) -> EnergyCounters:
    """Every counter that may be read now; empty where the machine has none."""
    return {**_packages(powercap), **_gpu()}


def used(before: EnergyCounters, after: EnergyCounters) -> dict[str, float]:
    """Joules between two readings by kind of device (``cpu``, ``gpu``); a counter that began again is counted on."""
    joules: dict[str, float] = {}
    for name, (now, span) in after.items():
        if name in before:
            difference = now - before[name][0]
            if difference < 0:
                difference += span
            if difference >= 0:
                kind = name.partition(":")[0]
                joules[kind] = joules.get(kind, 0.0) + difference
    return joules


def _packages(powercap: Path) -> EnergyCounters:
    counters = {}
    for folder in sorted(powercap.glob("intel-rapl:?*")):
        try:
            if folder.name.count(":") == 1 and (folder / "name").read_text().startswith("package"):
                joules = int((folder / "energy_uj").read_text()) / 1e6
                counters[f"cpu:{folder.name}"] = (joules, int((folder / "max_energy_range_uj").read_text()) / 1e6)
        except (OSError, ValueError):  # the counter is for root, or not there
            continue
    return counters


def _gpu() -> EnergyCounters:
    """The GPU that this process sees first; tasks compute on no other."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if not visible:
        return {}
    import pynvml

    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        try:
            if visible.isdigit():
                device = pynvml.nvmlDeviceGetHandleByIndex(int(visible))
            else:
                device = pynvml.nvmlDeviceGetHandleByUUID(visible)
            return {f"gpu:{visible}": (pynvml.nvmlDeviceGetTotalEnergyConsumption(device) / 1000, 0.0)}
        finally:
            pynvml.nvmlShutdown()
    return {}
