"""The plan of a suite with its cost, stored trials and warnings; nothing is run."""

from dataclasses import dataclass, replace
from pathlib import Path

from harness.app.jobs import missing_data
from harness.plan.estimate import PlanEstimate, StoredCosts, estimate
from harness.plan.planning import Plan, Selection, make_plan
from harness.results.listing import measured_costs
from harness.store import open_reader
from harness.suite import Suite
from harness.suite.warnings import untuned_arms
from harness.sweep.study import TunedCost, tuned_cells


@dataclass(frozen=True, slots=True)
class PricedPlan:
    """A plan and its cost.

    Attributes:
        estimate: trials and core-seconds by configuration.
        tuned: the arms of the tuned protocol.
        warnings: untuned arms and missing data, one sentence each.
    """

    plan: Plan
    estimate: PlanEstimate
    tuned: list[TunedCost]
    warnings: list[str]


def price(suite: Suite, selection: Selection, database: Path, *, tuned: bool = True, force: bool = False) -> PricedPlan:
    """Plan a suite and estimate its cost from stored trials.

    Args:
        tuned: also plan the tuned protocol.
        force: count the stored trials as not stored.

    Raises:
        HarnessError: the selection does not fit the suite, or a search is not valid.
    """
    plan = make_plan(suite, selection)
    cells = tuned_cells(suite, plan) if tuned else []
    costs = StoredCosts()
    if database.exists():
        with open_reader(database) as reader:
            costs = measured_costs(plan, reader, [trial for cell in cells for trial in cell.planned])
    cost = estimate(plan, replace(costs, stored=frozenset()) if force else costs)
    warnings = [arm.message for arm in untuned_arms(suite, plan.scale) if (arm.benchmark, arm.arm) in plan.cells]
    warnings += [f"nothing will run: {text}" for text in missing_data(plan)]
    return PricedPlan(plan, cost, [cell.cost(costs, plan.scale) for cell in cells], warnings)
