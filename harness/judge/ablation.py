"""Ablations: the effect of changing a part of a method, arm by arm; exploratory.

In a factorial the effect of a level is the mean over the other factors' levels of "with it minus without it", and the
interaction of two levels the mean of their joint effect beyond the sum of both: weighted sums of the arms' scores
within each seed, tested by a paired t (Montgomery, Design and Analysis of Experiments).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

from harness import stats
from harness.errors import HarnessError, choices
from harness.judge import fairness
from harness.judge.design import DesignBlock, Pairing
from harness.judge.detail import finite
from harness.judge.evidence import Evidence, failures, read_evidence
from harness.judge.pairs import Pairs, pair
from harness.plan.planning import Plan
from harness.store.queries import Queries
from harness.suite import Suite
from harness.suite.ablate import Combination, Design, designs_of
from harness.suite.models import Arm, Metric
from harness.suite.values import fillings
from harness.vocabulary import SLOTS, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationRow:
    """The effect of one change on a benchmark's first metric, exploratory.

    Attributes:
        shares: other benchmarks that the same stand-in serves.
        effect: ``change``, ``main effect`` or ``interaction``.
        arm: the ablation, or the name of the effect.
        difference: ablation minus parent, or the comparison of the effect; up = better.
        differences: the values behind it by seed; ``noise``: what their sd does not show.
        adjusted_p: Benjamini–Hochberg over all rows; ``adjusted_low`` and ``adjusted_high`` at its level.
        changes: differences of the two trials, or the levels of an effect.
    """

    benchmark: str
    shares: tuple[str, ...] = ()
    effect: str
    arm: str
    parent: str
    metric: str
    unit: str
    better: str
    n: int
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    p: float
    d_z: float | None
    d_z_low: float | None
    d_z_high: float | None
    differences: tuple[float, ...]
    adjusted_p: float = 1.0
    adjusted_low: float | None = None
    adjusted_high: float | None = None
    label: str = "exploratory"
    correction: str = "Benjamini–Hochberg"
    stand_in: tuple[str, ...]
    stand_in_name: str
    changes: tuple[str, ...]
    missing: int
    failed: int
    diverged: int
    noise: stats.Noise = stats.INDEPENDENT


Measured = tuple[Any, AblationRow]
"""A row with what it was measured on: benchmarks that one stand-in serves have it in common."""


def parent_of(name: str, arms: Mapping[str, Arm]) -> str | None:
    """The arm that an ablation changes: the named parent, else the most similar arm.

    Methods come before baselines. Similar: the most equal slots and overrides, then the most slots filled by the same
    method; the first declared of several. None where no arm shares a method.

    Raises:
        HarnessError: ``parent`` names an unknown arm.
    """
    arm = arms[name]
    if arm.parent is not None:
        if arm.parent not in arms:
            raise HarnessError(f"the arm '{name}' has the parent '{arm.parent}'; {choices(arms, arm.parent)}")
        return arm.parent
    for role in (Role.METHOD, Role.BASELINE):
        scored = {other: _likeness(arm, item) for other, item in arms.items() if item.role == role}
        best = max(scored.values(), default=(0, 0))
        if best[1]:
            return next(other for other, score in scored.items() if score == best)
    return None


def _likeness(arm: Arm, other: Arm) -> tuple[int, int]:
    """(equal slots and overrides, slots filled by one method)."""
    slots = [(getattr(arm, slot), getattr(other, slot)) for slot in SLOTS]
    equal = sum(own == theirs and own is not None for own, theirs in slots)
    equal += sum(other.set.get(key) == value for key, value in arm.set.items())
    return equal, sum(bool(_names(own) & _names(theirs)) for own, theirs in slots)


def _names(slot: Any) -> set[str]:
    methods = [] if slot is None else [method for _, method in fillings(slot)]
    return {method if isinstance(method, str) else str(method.get("name")) for method in methods}


def ablations(suite: Suite, plan: Plan, reader: Queries) -> list[AblationRow]:
    """Each ablation on each benchmark's first metric, then the effects of factorials."""
    arms = {**suite.model.arms, **plan.arms}
    designs = designs_of(suite.model)
    pairs = {(name, parent_of(name, arms)) for name, arm in arms.items() if arm.role == Role.ABLATION}
    # a design may use an arm that is there for itself
    pairs |= {(design.cells[cell], parent) for design in designs for cell, parent in design.parents.items()}
    order = list(arms)
    compared = sorted((order.index(name), parent, name) for name, parent in pairs if parent is not None)
    evidence = read_evidence(reader, [link.trial_id for link in plan.links] if compared else [])
    ablated = [_AblatedBenchmark(suite, plan, evidence, name) for name in plan.settings]
    measured = [row for each in ablated for _, parent, name in compared for row in each.change(name, parent)]
    measured += [row for each in ablated for design in designs for row in each.effects(design)]
    return _corrected(_distinct(measured), suite.model.judge.alpha)


def _corrected(rows: Sequence[AblationRow], alpha: float) -> list[AblationRow]:
    """Rows with the p of Benjamini–Hochberg and the matching intervals.

    With R of m effects left they have level αR/m, which keeps the rate of false coverage among the reported effects
    (Benjamini and Yekutieli, 2005).
    """
    adjusted = [float(value) for value in stats.benjamini_hochberg([row.p for row in rows])]
    level = alpha * max(1, sum(p <= alpha for p in adjusted)) / max(1, len(rows))
    bounds = [stats.paired_t(row.differences, level, noise=row.noise) for row in rows]
    return [
        replace(row, adjusted_p=p, adjusted_low=finite(bound.low), adjusted_high=finite(bound.high))
        for row, p, bound in zip(rows, adjusted, bounds, strict=True)
    ]


def _distinct(measured: Iterable[Measured]) -> list[AblationRow]:
    seen: dict[Any, AblationRow] = {}
    for trials, row in measured:
        first = seen.get(trials)
        seen[trials] = row if first is None else replace(first, shares=(*first.shares, row.benchmark))
    return list(seen.values())


@dataclass(frozen=True, slots=True)
class _AblatedBenchmark:
    """A benchmark of a plan, measured by the first of its metrics."""

    suite: Suite
    plan: Plan
    evidence: Evidence
    benchmark: str

    @property
    def metric(self) -> tuple[str, Metric]:
        served = self.plan.settings[self.benchmark].served_by
        return next(iter(self.suite.benchmarks[served].model.metrics.items()))

    def change(self, name: str, parent: str) -> Iterator[Measured]:
        """An arm against its parent, where both have different trials."""
        cells = {arm: self.plan.trial_ids(self.benchmark, arm) for arm in (name, parent)}
        if not all(cells.values()) or cells[name] == cells[parent]:
            return
        metric, described = self.metric
        block = DesignBlock(
            self.benchmark,
            (),
            metric,
            described.split,
            described.better,
            described.unit,
            1 if described.better == "higher" else -1,
            (name, parent),
            False,
            cells,
            resampled=self.plan.resampled(self.benchmark, cells),
        )
        # the plainest question: a difference whose diverged trials are left out and counted
        pairs = pair(Pairing(), block, name, parent, self.evidence)
        specs = {trial.trial_id: trial.spec for trial in self.plan.trials}
        changed = fairness.changes(*(specs[cell[min(cell)]] for cell in cells.values()))
        trials = tuple(tuple(sorted(cell.items())) for cell in cells.values())
        yield ("change", trials), self._row("change", name, parent, pairs, changed)

    def effects(self, design: Design) -> Iterator[Measured]:
        """Main effects and interactions of a factorial whose arms all have trials."""
        cells = {cell: self.plan.trial_ids(self.benchmark, arm) for cell, arm in design.cells.items()}
        for effect in effects_of(design) if all(cells.values()) else ():
            measured = measure(
                effect, cells, self.evidence, *self.metric, self.plan.resampled(self.benchmark, design.cells.values())
            )
            levels = [f"{factor}: {level}" for factor, level in effect.levels]
            trials = sorted((tuple(sorted(cells[cell].items())), weight) for cell, weight in effect.weights.items())
            row = self._row(effect.kind, effect.name, design.arm, measured, levels)
            yield (effect.kind, tuple(trials)), row

    def _row(
        self, effect: str, arm: str, parent: str, measured: Pairs | MeasuredEffect, changes: Sequence[str]
    ) -> AblationRow:
        metric, described = self.metric
        setting, alpha = self.plan.settings[self.benchmark], self.suite.model.judge.alpha
        values, noise = measured.values, measured.noise
        tested = stats.paired_t(values, alpha, noise=noise)
        size = stats.effect_size_interval(values, alpha, noise=noise)
        return AblationRow(
            benchmark=self.benchmark,
            effect=effect,
            arm=arm,
            parent=parent,
            metric=metric,
            unit=described.unit,
            better=described.better,
            n=tested.n,
            difference=finite(tested.estimate),
            ci_low=finite(tested.low),
            ci_high=finite(tested.high),
            p=tested.p,
            d_z=finite(size.estimate),
            d_z_low=finite(size.low),
            d_z_high=finite(size.high),
            differences=tuple(values),
            noise=noise,
            stand_in=tuple(setting.stand_in),
            stand_in_name=setting.stand_in_name,
            changes=tuple(changes),
            missing=measured.missing,
            failed=measured.failed,
            diverged=measured.diverged,
        )


@dataclass(frozen=True, slots=True)
class Effect:
    """Weights of the arms; ``levels`` are pairs of factor and level."""

    levels: tuple[tuple[str, str], ...]
    weights: Mapping[Combination, float]

    @property
    def kind(self) -> str:
        return "main effect" if len(self.levels) == 1 else "interaction"

    @property
    def name(self) -> str:
        """``projection: off × decay-ratio: off``."""
        return " × ".join(f"{factor}: {level}" for factor, level in self.levels)


@dataclass(frozen=True, slots=True)
class MeasuredEffect:
    """One value by seed, up = better, with counts of lost seeds."""

    values: list[float]
    missing: int
    failed: int
    diverged: int
    noise: stats.Noise = stats.INDEPENDENT


def effects_of(design: Design) -> Iterator[Effect]:
    """Main effects of every level, then interactions of two levels."""
    if design.kind != "factorial":
        return
    for order in (1, 2):
        for places in combinations(range(len(design.factors)), order):
            for chosen in product(*(design.levels[place] for place in places)):
                at = dict(zip(places, chosen, strict=True))
                levels = tuple((design.factors[place], level) for place, level in at.items())
                yield Effect(levels, _weights(design, at))


def _weights(design: Design, at: Mapping[int, str]) -> dict[Combination, float]:
    """±1 by level, multiplied over the factors, averaged over the others."""
    cells = [cell for cell in design.cells if all(cell[place] in (None, level) for place, level in at.items())]
    others = len(cells) / 2 ** len(at)
    return {cell: math.prod(-1.0 if cell[place] is None else 1.0 for place in at) / others for cell in cells}


def measure(
    effect: Effect,
    cells: Mapping[Combination, Mapping[int, str]],
    evidence: Evidence,
    metric: str,
    described: Metric,
    resampled: float,
) -> MeasuredEffect:
    """The values of an effect over the seeds of all its arms; ``resampled`` is n_test/n_train of their splits."""
    sign = 1 if described.better == "higher" else -1
    used = {cell: cells[cell] for cell in effect.weights}
    seeds = sorted({seed for cell in used.values() for seed in cell})
    values: list[float] = []
    every: list[float] = []
    for seed in seeds:
        stored = {cell: evidence.get(by_seed.get(seed, "")) for cell, by_seed in used.items()}
        read = {cell: trial.value(metric, described.split) for cell, trial in stored.items() if trial and trial.done}
        scores = {cell: value for cell, value in read.items() if value is not None and math.isfinite(value)}
        environments = {trial.environment for trial in stored.values() if trial is not None}
        if len(scores) == len(used) and len(environments) == 1:
            values.append(sign * sum(weight * scores[cell] for cell, weight in effect.weights.items()))
            every += scores.values()
    ids = {trial for by_seed in used.values() for trial in by_seed.values()}
    weights = list(map(abs, effect.weights.values()))
    # in the step of the scores, as the differences of two arms are
    whole = [value / min(weights) for value in values]
    noise = stats.Noise(stats.least_sd_of(every, whole, sum(weight**2 for weight in weights)), resampled)
    failed = failures(evidence.get(trial) for trial in ids)
    return MeasuredEffect(values, len(seeds) - len(values), *failed, noise)
