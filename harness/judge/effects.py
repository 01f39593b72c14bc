"""Main effects and interactions of a factorial, exploratory.

With the unchanged arm as the reference level of every factor, the effect of a level is the mean over the levels of the
other factors of "with it minus without it"; the interaction of two levels is the mean of their joint effect beyond the
sum of both. Both are weighted sums of the arms' scores within each seed, tested over seeds by a paired t (Montgomery,
Design and Analysis of Experiments, factorial designs).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product

from harness.judge.evidence import Evidence, failures
from harness.suite.ablate import Combination, Design
from harness.suite.models import Metric


@dataclass(frozen=True, slots=True)
class Effect:
    """Weights of the arms; ``levels`` are pairs of factor and level."""

    levels: tuple[tuple[str, str], ...]
    weights: Mapping[Combination, float]

    @property
    def kind(self) -> str:
        """``main effect`` or ``interaction``."""
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
    effect: Effect, cells: Mapping[Combination, Mapping[int, str]], evidence: Evidence, metric: str, described: Metric
) -> MeasuredEffect:
    """The values of an effect over the seeds of all its arms."""
    sign = 1 if described.better == "higher" else -1
    used = {cell: cells[cell] for cell in effect.weights}
    seeds = sorted({seed for cell in used.values() for seed in cell})
    values = []
    for seed in seeds:
        stored = {cell: evidence.get(by_seed.get(seed, "")) for cell, by_seed in used.items()}
        read = {cell: trial.value(metric, described.split) for cell, trial in stored.items() if trial and trial.done}
        scores = {cell: value for cell, value in read.items() if value is not None and math.isfinite(value)}
        environments = {trial.environment for trial in stored.values() if trial is not None}
        if len(scores) == len(used) and len(environments) == 1:
            values.append(sign * sum(weight * scores[cell] for cell, weight in effect.weights.items()))
    ids = {trial for by_seed in used.values() for trial in by_seed.values()}
    return MeasuredEffect(values, len(seeds) - len(values), *failures(evidence.get(trial) for trial in ids))
