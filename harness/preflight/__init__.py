"""Trial builds of every configuration of a suite on tiny data."""

from harness.preflight.devices import DEVICES as DEVICES
from harness.preflight.devices import device as device
from harness.preflight.rows import ConfigurationResult as ConfigurationResult
from harness.preflight.rows import PreflightReport as PreflightReport
from harness.preflight.rows import PreflightSettings as PreflightSettings
from harness.preflight.rows import preflight as preflight
