"""The engine: suites become trials, trials become stored numbers, numbers become verdicts."""

__version__ = "0.1.0"
