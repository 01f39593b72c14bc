"""Preflight: every cell of a suite built and stepped for real on tiny data, before days of training are paid for."""

from harness.preflight.devices import DEVICES, Device, device
from harness.preflight.rows import Preflight, Row, preflight

__all__ = ["DEVICES", "Device", "Preflight", "Row", "device", "preflight"]
