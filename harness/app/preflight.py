"""Build every configuration of suites and take one step of each."""

from collections.abc import Callable, Sequence

from harness import preflight
from harness.errors import HarnessError
from harness.plan.planning import make_plan
from harness.plan.selecting import Chosen
from harness.preflight import PreflightReport, PreflightSettings
from harness.suite import Suite


def check_suites(
    suites: Sequence[Suite],
    chosen: Chosen,
    settings: PreflightSettings,
    progress: Callable[[str, int, int], None] | None = None,
) -> PreflightReport:
    """Build every configuration and take one step of each on tiny data.

    Args:
        progress: is called with a label and the numbers of finished and of all steps.

    Raises:
        HarnessError: no benchmark has the scale.
    """
    plans = [make_plan(suite, chosen.selection) for suite in suites]
    if not any(plan.trials for plan in plans):
        raise HarnessError(f"nothing to build: no benchmark has the scale '{chosen.selection.scale}'")
    user_methods = (*chosen.methods, *(method for suite in suites for method in suite.own_methods))
    return preflight.preflight(plans, settings, user_methods, progress)
