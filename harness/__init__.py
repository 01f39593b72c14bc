"""The engine: suites become trials, trials become stored numbers, numbers become verdicts.

The public names are imported when they are first used: ``import harness`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.execute.run import Request, run_suite
    from harness.plan.planning import Selection, make_plan
    from harness.results.claims import judge_suite
    from harness.results.reporting import ReportRequest, write_report
    from harness.store import open_reader
    from harness.suite import load_suite

__version__ = "0.1.0"
__all__ = [
    "ReportRequest",
    "Request",
    "Selection",
    "judge_suite",
    "load_suite",
    "make_plan",
    "open_reader",
    "run_suite",
    "write_report",
]

_HOMES = {
    "ReportRequest": "harness.results.reporting",
    "Request": "harness.execute.run",
    "Selection": "harness.plan.planning",
    "judge_suite": "harness.results.claims",
    "load_suite": "harness.suite",
    "make_plan": "harness.plan.planning",
    "open_reader": "harness.store",
    "run_suite": "harness.execute.run",
    "write_report": "harness.results.reporting",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'harness' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
