"""The engine: suites become trials, trials become stored numbers, numbers become verdicts.

The public names are imported when they are first used: ``import harness`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.app.imports import import_results as import_results
    from harness.app.preflight import check_suites as check_suites
    from harness.app.report import ReportRequest as ReportRequest
    from harness.app.report import write_report as write_report
    from harness.app.request import Request as Request
    from harness.app.run import run as run
    from harness.app.run import run_suite as run_suite
    from harness.app.running import SuiteRun as SuiteRun
    from harness.errors import HarnessError as HarnessError
    from harness.imports.table_verdicts import judge_table as judge_table
    from harness.judge.stored import judge_suite as judge_suite
    from harness.plan.planning import Selection as Selection
    from harness.plan.planning import make_plan as make_plan
    from harness.results.database import Database as Database
    from harness.results.database import open as open
    from harness.store import open_reader as open_reader
    from harness.suite import Suite as Suite
    from harness.suite import load_suite as load_suite
    from harness.suite import suite_from_dict as suite_from_dict
    from harness.suite import suite_to_yaml as suite_to_yaml

__version__ = "0.1.0"
_HOMES = {
    "Database": "harness.results.database",
    "HarnessError": "harness.errors",
    "ReportRequest": "harness.app.report",
    "Request": "harness.app.request",
    "Selection": "harness.plan.planning",
    "Suite": "harness.suite",
    "SuiteRun": "harness.app.running",
    "check_suites": "harness.app.preflight",
    "import_results": "harness.app.imports",
    "judge_suite": "harness.judge.stored",
    "judge_table": "harness.imports.table_verdicts",
    "load_suite": "harness.suite",
    "make_plan": "harness.plan.planning",
    "open": "harness.results.database",
    "open_reader": "harness.store",
    "run": "harness.app.run",
    "run_suite": "harness.app.run",
    "suite_from_dict": "harness.suite",
    "suite_to_yaml": "harness.suite",
    "write_report": "harness.app.report",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name == "judge":
        return import_module("harness.judge")  # a stage that can be called
    if name not in _HOMES:
        raise AttributeError(f"module 'harness' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "judge"})
