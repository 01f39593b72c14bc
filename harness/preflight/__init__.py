"""Preflight: every cell of a suite built and stepped for real on tiny data, before days of training are paid for."""

from harness.preflight.devices import DEVICES, Device, device
from harness.preflight.rows import CellResult, PreflightReport, PreflightSettings, missing_sources, preflight

__all__ = [
    "DEVICES",
    "CellResult",
    "Device",
    "PreflightReport",
    "PreflightSettings",
    "device",
    "missing_sources",
    "preflight",
]
