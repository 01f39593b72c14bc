"""Tuning of arms: spaces, sampler and seeds, with an identity made of content, and the tried points."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.data.checksums import sha256_of
from harness.errors import HarnessError, choices
from harness.plan.planning import Selection, make_plan, must_exist
from harness.suite import Suite
from harness.suite.cells import content, setting
from harness.suite.models import Arm
from harness.suite.search_models import Sweep
from harness.suite.spaces import Space, own_value, resolved, spaces_of
from harness.trial.options import Scalar, Values

SAMPLERS = ("random", "tpe", "grid")
PRUNERS = ("none", "median")
TUNING_SEED = 10_000  # tuning seeds begin here, so that no seed that is judged was tuned on
SEEDS_OF_A_SEARCH = 100  # at most; so no two searches share a seed


@dataclass(frozen=True, slots=True)
class TuningRequest:
    """Arguments of a tuning; None takes the section's own."""

    benchmark: str
    budget: int
    arms: tuple[str, ...] = ()
    scale: str = "mini"
    sampler: str | None = None
    pruner: str | None = None
    seeds: int | None = None
    fresh: int | None = None
    overrides: Values = field(default_factory=Values)


@dataclass(frozen=True, slots=True)
class Tuning:
    """Everything that decides which configurations are tried, whatever the budget.

    ``metric`` is compared on test; ``selection_metric`` chooses on validation, ``better`` in its direction. ``first``
    is tried first: the arm's own configuration, in a grid and in the tuned protocol. ``sweep_id`` is made of content
    and code without the budget, so that a larger one continues; ``study_id`` of the search alone: changed code gets the
    same random draws. ``number`` counts the repetitions of a search.
    """

    suite: Suite
    benchmark: str
    scale: str
    arms: Mapping[str, Arm]
    spaces: Mapping[str, Space]
    fill: Values
    sampler: str
    pruner: str
    seeds: int
    batch: int
    metric: str
    selection_metric: str
    better: str
    overrides: Values
    fresh: int
    first: Mapping[str, Values]
    study_id: str
    sweep_id: str
    number: int = 0

    def seed_groups(self) -> list[tuple[int, ...]]:
        """Groups of a point's seeds; the pruner decides after each group."""
        first = TUNING_SEED + SEEDS_OF_A_SEARCH * self.number
        seeds = tuple(range(first, first + self.seeds))
        return [seeds] if self.pruner == "none" else [(seed,) for seed in seeds]


@dataclass(slots=True)
class Point:
    """One configuration of one arm; ``value`` is reported to the sampler."""

    number: int
    params: Mapping[str, Scalar]
    value: float | None = None
    status: str = "open"  # ``open``, ``told``, ``diverged``, ``pruned`` or ``failed``
    trial_ids: list[str] = field(default_factory=list)
    rungs: dict[int, float] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """True if it needs no further trial."""
        return self.status != "open"


def best_point(tuning: Tuning, points: Sequence[Point]) -> Values:
    """The best point on validation, of equals the first; {} without any."""
    sign = 1.0 if tuning.better == "higher" else -1.0
    scored = [p for p in points if p.status in ("told", "pruned") and p.value is not None and math.isfinite(p.value)]
    if not scored:
        return Values()
    best = max(scored, key=lambda point: (sign * float(point.value or 0.0), -point.number))
    return Values(number=best.number, params=best.params, value=best.value)


def chosen_point(tuning: Tuning, points: Sequence[Point], scores: Mapping[str, float], own: Values | None) -> Values:
    """The best point, or ``own`` within one standard error of it.

    The error is that of the mean paired difference; ``scores`` are by trial. One seed a configuration has no standard
    error: the best is chosen.
    """
    best = best_point(tuning, points)
    kept = best_point(tuning, [point for point in points if own and point.params == own])
    if not best or not kept:
        return best
    sign = 1.0 if tuning.better == "higher" else -1.0
    by_number = {point.number: [scores.get(trial, math.nan) for trial in point.trial_ids] for point in points}
    pairs = zip(by_number[best["number"]], by_number[kept["number"]], strict=False)
    gains = [sign * (upper - lower) for upper, lower in pairs]
    if len(gains) < 2:
        return best
    error = statistics.stdev(gains) / math.sqrt(len(gains))
    return kept if statistics.fmean(gains) <= error else best


def make_tuning(suite: Suite, request: TuningRequest, section: Sweep | None = None, number: int = 0) -> Tuning:
    """Make and check a tuning; ``section`` replaces the suite's own ``sweep:``, ``number`` counts repetitions.

    Raises:
        HarnessError: an unknown benchmark, arm, sampler or pruner, a scale that the benchmark lacks, no space.
    """
    own = section or suite.model.sweep or Sweep()
    must_exist("benchmark", [request.benchmark], suite.benchmarks)
    must_exist("arm", request.arms, suite.model.arms)
    base = setting(suite, request.benchmark, request.scale)
    if base is None:
        raise HarnessError(f"benchmark '{request.benchmark}' has no scale '{request.scale}'")
    listed = base.arms if base.arms is not None else tuple(suite.model.arms)
    names = request.arms or tuple(name for name in own.arms if name in listed)
    names = names if len(names) > 1 else request.arms or _compared(suite, request.benchmark)
    if len(set(names)) < (2 if section is None else 1):
        raise HarnessError("a sweep compares at least two arms; name them with --arm, or under 'sweep: arms:'")
    sampler, pruner = request.sampler or own.sampler, request.pruner or own.pruner
    for what, name, valid in (("sampler", sampler, SAMPLERS), ("pruner", pruner, PRUNERS)):
        if name not in valid:
            raise HarnessError(f"unknown {what} '{name}'; {choices(valid, name)}")
    if sampler in ("random", "grid") and pruner != "none":
        raise HarnessError(f"--pruner {pruner}: budget curves need independent draws that all end; use --sampler tpe")
    if request.budget < 1:
        raise HarnessError(f"--budget {request.budget}: at least 1 configuration is expected")
    arms = {name: suite.model.arms[name] for name in names}
    fill = Values(base.recipe.get("slots") or {})
    metrics = suite.benchmarks[request.benchmark].model.metrics
    metric = own.metric if own.metric in metrics else next(iter(metrics))
    selected = own.selection_metric or metric
    better = own.selection_better if own.selection_metric else metrics[metric].better
    seeds, overrides = request.seeds or own.seeds, Values({**own.set, **request.overrides})
    trials = _trials_of(suite, request, arms, overrides)
    cells = {name: content(base, arm, overrides) for name, arm in arms.items()}
    spaces = {name: resolved(space, cells[name]) for name, space in spaces_of(arms, fill, own.spaces).items()}
    begins = sampler == "grid" or section is not None
    owned = {name: {key: own_value(cells[name], key) for key in space} for name, space in spaces.items()}
    first = {name: Values(own) for name, own in owned.items() if begins and None not in own.values()}
    search = {
        "suite": suite.name,
        "benchmark": request.benchmark,
        "scale": request.scale,
        "sampler": sampler,
        "pruner": pruner,
        "seeds": seeds,
        "batch": own.batch,
        "metric": selected,
        "spaces": {n: {k: r.model_dump(exclude={"factors"}) for k, r in s.items()} for n, s in spaces.items()},
        **({"number": number} if number else {}),
    }
    return Tuning(
        suite,
        request.benchmark,
        request.scale,
        arms,
        spaces,
        fill,
        sampler,
        pruner,
        seeds,
        own.batch,
        metric,
        selected,
        better,
        overrides,
        request.fresh or own.fresh,
        first,
        sha256_of(search)[:16],
        sha256_of({**search, "arms": trials})[:16],
        number,
    )


def _compared(suite: Suite, benchmark: str) -> tuple[str, ...]:
    """The arms of the first claim that is bound to the benchmark."""
    for binding in suite.model.claims:
        if benchmark in binding.benchmarks and binding.arm is not None and binding.against:
            return (binding.against[0], binding.arm)
    return ()


def _trials_of(suite: Suite, request: TuningRequest, arms: Mapping[str, Arm], overrides: Values) -> dict[str, str]:
    chosen = Selection(
        scale=request.scale,
        benchmarks=(request.benchmark,),
        arms=(),
        seeds=(TUNING_SEED,),
        overrides=overrides,
        added_arms=arms,
    )
    return {link.arm: link.trial_id for link in make_plan(suite, chosen).links}
