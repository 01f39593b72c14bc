"""Draws of a sweep: which configuration is point k, as a function of the study and of the rounds before.

Points come in rounds; all of a round see exactly the points of the rounds before, and the sampler of point k is seeded
by hash(study, k). So a sweep that was killed, or runs wider, draws what an undisturbed one draws. Optuna's studies live
in memory: they are made once of the stored points, and then told of new ones alone (``History``). Random draws are
seeded by hash(study, k, hyper-parameter): the arms share the draws of what they share, and one that has more to tune
does not shift the rest.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from harness.errors import HarnessError
from harness.plan.tuning import Point, Tuning
from harness.suite.search_models import SpaceRange
from harness.suite.spaces import Space
from harness.trial.seeds import derive

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution


def distributions(space: Mapping[str, SpaceRange]) -> dict[str, BaseDistribution]:
    """A space as Optuna's distributions."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    def distribution(given: SpaceRange) -> BaseDistribution:
        low, high = given.low or 0, given.high or 0
        if given.choices is not None:
            return CategoricalDistribution(given.choices)
        if given.integer:
            return IntDistribution(round(low), round(high), log=given.log)
        return FloatDistribution(float(low), float(high), log=given.log)

    return {key: distribution(given) for key, given in space.items()}


@dataclass(frozen=True, slots=True)
class Drawing:
    """How the points of an arm are drawn; ``study_id`` is made of the search alone (``Tuning``).

    ``first`` is the point of a grid that is tried before all others.
    """

    study_id: str
    arm: str
    space: Space
    sampler: str
    maximise: bool
    first: Mapping[str, Any] = field(default_factory=dict)
    _drawn: History = field(default_factory=lambda: History(), init=False, repr=False, compare=False)
    _judged: History = field(default_factory=lambda: History(), init=False, repr=False, compare=False)

    @classmethod
    def of(cls, tuning: Tuning, arm: str) -> Self:
        """How a tuning draws the points of one of its arms."""
        higher, first = tuning.better == "higher", tuning.first.get(arm, {})
        return cls(tuning.study_id, arm, tuning.spaces[arm], tuning.sampler, higher, first)

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
            return [Point(number, self._random(number)) for number in numbers]
        from optuna import samplers

        study, spread, drawn = self._drawn.told(self, before), distributions(self.space), []
        for number in numbers:
            make = samplers.TPESampler if self.sampler == "tpe" else samplers.GPSampler
            study.sampler = make(seed=self.seed(number))
            drawn.append(Point(number, self._drawn.ask(spread)))
        return drawn

    def _random(self, number: int) -> dict[str, Any]:
        """An independent draw, with replacement; a study's history or other hyper-parameters change nothing."""
        from optuna.samplers import RandomSampler

        seeds = {key: derive(f"sweep/{self.study_id}", number, key) % 2**32 for key in self.space}
        return {
            key: RandomSampler(seed=seeds[key]).sample_independent(None, None, key, spread)
            for key, spread in distributions(self.space).items()
        }

    def grid(self) -> list[dict[str, Any]]:
        """Every combination: the first one, then the others in an order shuffled by the study."""
        for key, one in self.space.items():
            if one.choices is None:
                raise HarnessError(f"a grid needs 'choices' for '{key}' of '{self.arm}', not a range")
        values = [one.choices or [] for one in self.space.values()]
        cells = [dict(zip(self.space, chosen, strict=True)) for chosen in itertools.product(*values)]
        random.Random(self.seed(0)).shuffle(cells)
        return sorted(cells, key=lambda cell: cell != self.first)

    def study(self, points: Sequence[Point]) -> optuna.Study:
        """A new study of an arm that holds finished points; a diverged one is told as the worst finite value."""
        import optuna

        optuna.logging.set_verbosity(logging.ERROR)
        study = optuna.create_study(direction=self.direction, study_name=f"{self.study_id}/{self.arm}")
        study.add_trials(self.frozen(points))
        return study

    def judged(self, points: Sequence[Point]) -> optuna.Study:
        """As :meth:`study`, kept from call to call: for looking at, not for asking."""
        return self._judged.told(self, points)

    def frozen(self, points: Sequence[Point]) -> list[optuna.trial.FrozenTrial]:
        """Finished points as Optuna keeps them."""
        spread = distributions(self.space)
        values = as_told(points, self.maximise)
        return [_frozen(point, value, spread) for point, value in zip(points, values, strict=True)]


class History:
    """A study that is told of new points alone, where making it again would cost more with each round.

    It answers as a study does that is made anew of the points given (``Drawing.study``), whatever was asked before.
    """

    def __init__(self) -> None:
        self._study: optuna.Study | None = None
        self._held: list[tuple[dict[str, Any], float | None]] = []
        self._asked: list[optuna.Trial] = []  # behind those that are held, in order; their values are not known yet

    def told(self, drawing: Drawing, points: Sequence[Point]) -> optuna.Study:
        """The study that holds exactly these points."""
        values = as_told(points, drawing.maximise)
        wanted = [(point.params, value) for point, value in zip(points, values, strict=True)]
        held, asked = len(self._held), [trial.params for trial in self._asked]
        same = self._held == wanted[:held] and asked == [params for params, _ in wanted[held : held + len(asked)]]
        if self._study is None or not same:  # a diverged point is told anew where a worse value has come
            self._study = drawing.study(points)
        else:
            from optuna.trial import TrialState

            for trial, value in zip(self._asked, values[held:], strict=False):
                self._study.tell(trial, value, TrialState.FAIL if value is None else TrialState.COMPLETE)
            spread = distributions(drawing.space)
            more = range(held + len(asked), len(points))
            self._study.add_trials([_frozen(points[place], values[place], spread) for place in more])
        self._held, self._asked = wanted, []
        return self._study

    def ask(self, spread: Mapping[str, BaseDistribution]) -> dict[str, Any]:
        """The hyper-parameters of one more point, by the study's sampler; after :meth:`told`."""
        assert self._study is not None
        trial = self._study.ask(dict(spread))
        self._asked.append(trial)
        return dict(trial.params)


def _frozen(point: Point, value: float | None, spread: Mapping[str, BaseDistribution]) -> optuna.trial.FrozenTrial:
    """A point as Optuna keeps it: failed where there is no value."""
    from optuna.trial import TrialState, create_trial

    told: dict[str, Any] = {"state": TrialState.FAIL}
    if value is not None:
        noted = {"status": point.status, "trials": point.trial_ids}
        told = {"value": value, "intermediate_values": dict(point.rungs), "user_attrs": noted}
    return create_trial(params=point.params, distributions=dict(spread), **told)


def as_told(points: Sequence[Point], maximise: bool) -> list[float | None]:
    """What each point is told as: its value, the worst finite one where it diverged, None where it has none."""
    worst = worst_value(points, maximise)
    values = [worst if point.status == "diverged" else point.value for point in points]
    return [value if value is not None and math.isfinite(value) else None for value in values]


def worst_value(points: Sequence[Point], maximise: bool) -> float | None:
    """The worst finite value so far, which a diverged point is told as; None where there is none."""
    finite = [p.value for p in points if p.status != "diverged" and p.value is not None and math.isfinite(p.value)]
    return (min if maximise else max)(finite, default=None)


def should_prune(kind: str, drawing: Drawing, before: Sequence[Point], point: Point) -> bool:
    """Whether a point's rungs so far are bad enough to stop it, given the finished points of the rounds before."""
    if kind in ("none", "curve") or not point.rungs:
        return False
    from optuna import exceptions, pruners
    from optuna.trial import TrialState, create_trial

    made: Mapping[str, Any] = {
        "median": lambda: pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=0),
        "wilcoxon": lambda: pruners.WilcoxonPruner(p_threshold=0.1, n_startup_steps=2),
        "hyperband": lambda: pruners.HyperbandPruner(min_resource=1, max_resource=3, reduction_factor=3),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.ExperimentalWarning)  # Wilcoxon's interface may change
        pruner = made[kind]()
    spread = distributions(drawing.space)
    if kind != "hyperband":  # these two look at the points before and at this one alone
        running = create_trial(
            state=TrialState.RUNNING, params=point.params, distributions=spread, intermediate_values=dict(point.rungs)
        )
        return bool(pruner.prune(drawing.judged(before), running))
    study = drawing.study(before)
    study.pruner = pruner
    study.enqueue_trial(point.params)
    trial: optuna.Trial = study.ask(spread)
    for rung, value in sorted(point.rungs.items()):
        trial.report(value, rung)
    return bool(trial.should_prune())
