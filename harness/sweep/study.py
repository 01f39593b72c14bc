"""Draws of a sweep: point k as a function of the study and of the rounds before.

Points come in rounds; all of a round see exactly the points of the rounds before, and the sampler of point k is seeded
by hash(study, k). So a sweep that was killed, or runs wider, draws what an undisturbed one draws. Optuna's studies live
in memory, made of the stored points. Random draws are seeded by hash(study, k, hyper-parameter): arms share the draws
of the hyper-parameters that they share, and an arm with more of them does not shift the others.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from harness.errors import HarnessError
from harness.plan.estimate import StoredCosts
from harness.plan.planning import Plan, Selection, make_plan
from harness.plan.protocols import EqualSearch, rate_plans, searches, tuned_section
from harness.plan.tuning import Point, Tuning
from harness.suite import Suite
from harness.suite.search_models import SpaceRange
from harness.suite.spaces import Space, with_point
from harness.trial.options import Scalar
from harness.trial.seeds import derive

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution


def distributions(space: Mapping[str, SpaceRange]) -> dict[str, BaseDistribution]:
    """A space as Optuna's distributions."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    def distribution(limits: SpaceRange) -> BaseDistribution:
        low, high = limits.low or 0, limits.high or 0
        if limits.choices is not None:
            return CategoricalDistribution(limits.choices)
        if limits.integer:
            return IntDistribution(round(low), round(high), log=limits.log)
        return FloatDistribution(float(low), float(high), log=limits.log)

    return {key: distribution(limits) for key, limits in space.items()}


@dataclass(frozen=True, slots=True)
class Drawing:
    """The drawing of an arm's points; ``study_id`` identifies the search alone (``Tuning``).

    ``first`` is the point that is tried before all others.
    """

    study_id: str
    arm: str
    space: Space
    sampler: str
    maximise: bool
    first: Mapping[str, Scalar] = field(default_factory=dict)

    @classmethod
    def of(cls, tuning: Tuning, arm: str) -> Self:
        higher = tuning.better == "higher"
        return cls(tuning.study_id, arm, tuning.spaces[arm], tuning.sampler, higher, tuning.first.get(arm) or {})

    @property
    def direction(self) -> str:
        """Optuna's word for it."""
        return "maximize" if self.maximise else "minimize"

    def seed(self, number: int) -> int:
        """The sampler's seed of a point: the same for every arm."""
        return derive(f"sweep/{self.study_id}", number) % 2**32

    def draw(self, numbers: Sequence[int], before: Sequence[Point]) -> list[Point]:
        """The points of one round, given those of the rounds before.

        Raises:
            HarnessError: a grid over a continuous range, or a budget beyond the grid.
        """
        if self.sampler == "grid":
            grid = self.grid()
            if numbers and numbers[-1] >= len(grid):
                raise HarnessError(f"the grid of '{self.arm}' has {len(grid)} configurations; --budget at most that")
            return [Point(number, dict(grid[number])) for number in numbers]
        if self.sampler == "random":
            return [
                Point(number, dict(self.first) if self.first and number == 0 else self._random(number))
                for number in numbers
            ]
        from optuna.samplers import TPESampler

        study, spread, drawn = self.study(before), distributions(self.space), []
        for number in numbers:
            study.sampler = TPESampler(seed=self.seed(number))
            drawn.append(Point(number, dict(study.ask(spread).params)))
        return drawn

    def _random(self, number: int) -> dict[str, Scalar]:
        """An independent draw, with replacement; a study's history or other hyper-parameters change nothing."""
        from optuna.samplers import RandomSampler

        seeds = {key: derive(f"sweep/{self.study_id}", number, key) % 2**32 for key in self.space}
        return {
            key: RandomSampler(seed=seeds[key]).sample_independent(None, None, key, spread)
            for key, spread in distributions(self.space).items()
        }

    def grid(self) -> list[dict[str, Scalar]]:
        """Every combination: the first one, then the others in an order shuffled by the study."""
        for key, item in self.space.items():
            if item.choices is None:
                raise HarnessError(f"a grid needs 'choices' for '{key}' of '{self.arm}', not a range")
        values = [item.choices or [] for item in self.space.values()]
        cells = [dict(zip(self.space, chosen, strict=True)) for chosen in itertools.product(*values)]
        random.Random(self.seed(0)).shuffle(cells)
        return sorted(cells, key=lambda cell: cell != self.first)

    def study(self, points: Sequence[Point]) -> optuna.Study:
        """Return a new study with finished points; diverged ones have the worst value."""
        import optuna

        optuna.logging.set_verbosity(logging.ERROR)
        study = optuna.create_study(direction=self.direction, study_name=f"{self.study_id}/{self.arm}")
        spread = distributions(self.space)
        values = as_told(points, self.maximise)
        study.add_trials([_frozen(point, value, spread) for point, value in zip(points, values, strict=True)])
        return study


def _frozen(point: Point, value: float | None, spread: Mapping[str, BaseDistribution]) -> optuna.trial.FrozenTrial:
    """A point as Optuna keeps it: failed where there is no value."""
    from optuna.trial import TrialState, create_trial

    if value is None:
        return create_trial(params=point.params, distributions=dict(spread), state=TrialState.FAIL)
    rungs = dict(point.rungs)
    return create_trial(params=point.params, distributions=dict(spread), value=value, intermediate_values=rungs)


def as_told(points: Sequence[Point], maximise: bool) -> list[float | None]:
    """Return the points' values: the worst finite one if diverged, or None."""
    worst = worst_value(points, maximise)
    values = [worst if point.status == "diverged" else point.value for point in points]
    return [value if value is not None and math.isfinite(value) else None for value in values]


def worst_value(points: Sequence[Point], maximise: bool) -> float | None:
    """Return the worst finite value so far, or None."""
    finite = [p.value for p in points if p.status != "diverged" and p.value is not None and math.isfinite(p.value)]
    return (min if maximise else max)(finite, default=None)


def should_prune(drawing: Drawing, before: Sequence[Point], point: Point) -> bool:
    """Return True if the median pruner stops a point.

    Args:
        before: finished points of earlier rounds; fewer than four prune nothing.
    """
    if not point.rungs:
        return False
    from optuna.pruners import MedianPruner
    from optuna.trial import TrialState, create_trial

    running = create_trial(
        state=TrialState.RUNNING,
        params=point.params,
        distributions=distributions(drawing.space),
        intermediate_values=dict(point.rungs),
    )
    return bool(MedianPruner(n_startup_trials=4, n_warmup_steps=0).prune(drawing.study(before), running))


@dataclass(frozen=True, slots=True)
class TunedCost:
    """Numbers of an arm's tuned trials, and their maximum cost."""

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
    tuned = tuned_section(suite, plan.scale)
    configurations: Counter[tuple[str, str]] = Counter()
    tried: dict[tuple[str, str], set[str]] = {}
    for search in searches(suite, plan):
        for arm, trials in _tuning_trials(search).items():
            configurations[search.benchmark, arm] += search.budget
            tried.setdefault((search.benchmark, arm), set()).update(trials)
    cells = []
    for (benchmark, arm), trials in tried.items():
        curve = rates.get((benchmark, arm), set())
        decides = tuned is not None and tuned.decides
        judged = tuned.searches * tuned.judged if tuned and decides else len(plan.trial_ids(benchmark, arm))
        numbers = (configurations[benchmark, arm], len(trials), judged, len(curve))
        cells.append(TunedConfiguration(benchmark, arm, *numbers, frozenset(trials | curve)))
    return cells


def configurations_plan(
    tuning: Tuning, tried: Mapping[str, tuple[str, Mapping[str, Scalar]]], seeds: Sequence[int]
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
