"""Trials of a plan's tuned protocol, before anything has run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.plan.estimate import StoredCosts
from harness.plan.planning import Plan, Selection, make_plan
from harness.plan.protocols import EqualSearch, rate_plans, searches
from harness.plan.tuning import Tuning
from harness.suite import Suite
from harness.suite.spaces import with_point
from harness.sweep.study import Drawing


@dataclass(frozen=True, slots=True)
class TunedCost:
    """Counts of an arm's tuned trials, with the maximum of new ones."""

    benchmark: str
    arm: str
    configurations: int
    tuning_trials: int
    judged_trials: int
    rate_trials: int
    stored: int
    core_seconds: float


@dataclass(frozen=True, slots=True)
class TunedConfiguration:
    """An arm of a benchmark under the tuned protocol.

    Attributes:
        configurations: tried on validation, in ``tuning_trials`` trials.
        judged_trials: of the configuration that it will have chosen; those of its own one may be stored already.
        rate_trials: of the learning-rate sensitivity.
        planned: identities of the trials of tuning and of the learning-rate sensitivity.
    """

    benchmark: str
    arm: str
    configurations: int
    tuning_trials: int
    judged_trials: int
    rate_trials: int
    planned: frozenset[str]

    def cost(self, costs: StoredCosts, scale: str) -> TunedCost:
        """Return its trials and the maximum cost of new ones."""
        left = len(self.planned - costs.stored) + self.judged_trials
        return TunedCost(
            self.benchmark,
            self.arm,
            self.configurations,
            self.tuning_trials,
            self.judged_trials,
            self.rate_trials,
            stored=len(self.planned & costs.stored),
            core_seconds=costs.price(self.benchmark, self.arm, scale)[0] * left,
        )


def tuned_cells(suite: Suite, plan: Plan) -> list[TunedConfiguration]:
    """The arms that the tuned protocol of a plan tunes; none where the suite has no ``tuned:`` for the scale.

    Raises:
        HarnessError: a search that cannot be made.
    """
    rates: dict[tuple[str, str], set[str]] = {}
    own = {link.trial_id for link in plan.links}
    for each in rate_plans(suite, plan):
        for link in each.plan.judged.links:
            if link.arm in each.rates.get(link.benchmark, {}) and link.trial_id not in own:
                rates.setdefault((link.benchmark, link.arm), set()).add(link.trial_id)
    cells = []
    for search in searches(suite, plan):
        for arm, trials in _tuning_trials(search).items():
            curve = rates.get((search.benchmark, arm), set())
            judged = len(plan.trial_ids(search.benchmark, arm))
            existing = frozenset(trials | curve)
            cells.append(
                TunedConfiguration(search.benchmark, arm, search.budget, len(trials), judged, len(curve), existing)
            )
    return cells


def configurations_plan(
    tuning: Tuning, tried: Mapping[str, tuple[str, Mapping[str, Any]]], seeds: Sequence[int]
) -> Plan:
    """The plan of configurations; ``tried`` has their arm and hyper-parameters by name."""
    added = {name: with_point(tuning.arms[arm], tuning.fill, params) for name, (arm, params) in tried.items()}
    selection = Selection(
        scale=tuning.scale,
        benchmarks=(tuning.benchmark,),
        arms=(),
        seeds=tuple(seeds),
        overrides=tuning.overrides,
        added_arms=added,
    )
    return make_plan(tuning.suite, selection)


def search_plan(search: EqualSearch) -> Plan:
    """The trials of all configurations of a search; grids and random draws do not depend on results.

    An arm's configuration k runs under the name ``arm#k``, as in the search itself.
    """
    tuning = search.tuning
    tried = {
        f"{arm}#{point.number}": (arm, point.params)
        for arm in tuning.arms
        for point in Drawing.of(tuning, arm).draw(range(search.budget), [])
    }
    return configurations_plan(tuning, tried, [seed for group in tuning.seed_groups() for seed in group])


def _tuning_trials(search: EqualSearch) -> dict[str, set[str]]:
    """The trials of a search's configurations by arm."""
    trials: dict[str, set[str]] = {}
    for link in search_plan(search).links:
        trials.setdefault(link.arm.rpartition("#")[0], set()).add(link.trial_id)
    return trials
