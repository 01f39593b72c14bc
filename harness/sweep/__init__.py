"""Sweeps: every arm tuned with the same number of configurations, the same sampler, the same compute."""

from harness.sweep.engine import SweepResult as SweepResult
from harness.sweep.engine import run_sweep as run_sweep
from harness.sweep.request import SweepRequest as SweepRequest
