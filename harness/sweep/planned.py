"""What the tuned protocol of a plan will run: known before anything has run, but for the values that arms choose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.plan.estimate import StoredCosts
from harness.plan.planning import Plan, Selection, make_plan
from harness.plan.protocols import EqualSearch, rate_plans, searches
from harness.suite import Suite
from harness.suite.spaces import with_point
from harness.sweep.study import Drawing


@dataclass(frozen=True, slots=True)
class TunedCell:
    """An arm of a benchmark under the tuned protocol.

    Attributes:
        configurations: tried on validation, in ``tuning_trials`` trials.
        judged_trials: of the configuration that it will have chosen; those of its own one may be stored already.
        rate_trials: of the rate curve.
        known: the trials whose content is known before: of tuning, and of the rate curve.
    """

    benchmark: str
    arm: str
    configurations: int
    tuning_trials: int
    judged_trials: int
    rate_trials: int
    known: frozenset[str]

    def to_run(self, stored: Iterable[str]) -> int:
        """How many trials are still to run at most."""
        return len(self.known - set(stored)) + self.judged_trials

    def core_seconds(self, costs: StoredCosts, scale: str) -> float:
        """Of the trials that are still to run."""
        return costs.price(self.benchmark, self.arm, scale)[0] * self.to_run(costs.stored)


def tuned_cells(suite: Suite, plan: Plan, overrides: Mapping[str, Any]) -> list[TunedCell]:
    """The arms that the tuned protocol of a plan tunes; none where the suite has no ``tuned:`` for the scale.

    Raises:
        HarnessError: a search that cannot be made.
    """
    rates: dict[tuple[str, str], set[str]] = {}
    own = {link.trial_id for link in plan.links}
    for each in rate_plans(suite, plan, overrides):
        for link in each.plan.judged.links:
            if link.arm in each.rates.get(link.benchmark, {}) and link.trial_id not in own:
                rates.setdefault((link.benchmark, link.arm), set()).add(link.trial_id)
    cells = []
    for search in searches(suite, plan, overrides):
        for arm, trials in _tuning_trials(suite, search).items():
            curve = rates.get((search.benchmark, arm), set())
            judged = len(plan.trial_ids(search.benchmark, arm))
            known = frozenset(trials | curve)
            cells.append(TunedCell(search.benchmark, arm, search.budget, len(trials), judged, len(curve), known))
    return cells


def search_plan(suite: Suite, search: EqualSearch) -> Plan:
    """The trials of all configurations of a search; grids and random draws do not hang on results.

    An arm's configuration k runs under the name ``arm#k``, as it does when the search itself asks for it.
    """
    tuning = search.tuning
    seeds = tuple(seed for group, _ in tuning.rungs() for seed in group)
    added = {
        f"{name}#{point.number}": with_point(arm, tuning.fill, point.params)
        for name, arm in tuning.arms.items()
        for point in Drawing.of(tuning, name).draw(range(search.budget), [])
    }
    wanted = Selection(
        scale=tuning.scale,
        benchmarks=(tuning.benchmark,),
        arms=(),
        seeds=seeds,
        overrides=tuning.overrides,
        added_arms=added,
    )
    return make_plan(suite, wanted)


def _tuning_trials(suite: Suite, search: EqualSearch) -> dict[str, set[str]]:
    """The trials of a search's configurations by arm."""
    trials: dict[str, set[str]] = {}
    for link in search_plan(suite, search).links:
        trials.setdefault(link.arm.rpartition("#")[0], set()).add(link.trial_id)
    return trials
