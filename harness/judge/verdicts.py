"""The verdict tables of statistics.md: from what was measured to one word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.judge.tests import Test
from harness.vocabulary import Verdict

SENSITIVE = f"{Verdict.INCONCLUSIVE} (distribution-sensitive)"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a test says at level α: estimate, 95 % interval, upper end of the 90 % one, p, e, and its side of zero."""

    n: int
    estimate: float
    low: float
    high: float
    upper90: float
    p: float
    e: float
    above: bool
    below: bool
    fragile: bool
    sized: bool
    margin: bool = False


def read(test: Test, alpha: float, margin: bool = False) -> Reading:
    """Ask a test everything that a verdict needs."""
    low, high = test.interval(alpha)
    return Reading(
        test.n, test.estimate, low, high, test.interval(2 * alpha)[1], test.p, test.e, test.above(alpha),
        test.below(alpha), test.fragile(alpha), test.sized, margin,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Criteria:
    """What a reading is held against: ``delta`` is the published effect as claimed, ``smallest`` is m."""

    alpha: float
    kappa: float
    delta: float | None
    smallest: float | None
    stand_in: bool


def decide(reading: Reading, adjusted_p: float, criteria: Criteria) -> str:
    """The verdict's word."""
    word = (_stand_in if criteria.stand_in else _paper)(reading, adjusted_p, criteria)
    return SENSITIVE if word.decisive and reading.fragile else word


def _paper(reading: Reading, adjusted_p: float, criteria: Criteria) -> Verdict:
    delta = criteria.delta
    if adjusted_p <= criteria.alpha and reading.above:
        if reading.margin:
            return Verdict.REPRODUCED
        if delta is None:
            return Verdict.CONFIRMED
        large = reading.sized and reading.estimate >= criteria.kappa * delta
        return Verdict.REPRODUCED if large else Verdict.DIRECTION_ONLY
    if reading.below:
        return Verdict.CONTRADICTED
    return Verdict.NOT_REPRODUCED if _negligible(reading, criteria.smallest) else Verdict.INCONCLUSIVE


def _stand_in(reading: Reading, adjusted_p: float, criteria: Criteria) -> Verdict:
    if adjusted_p <= criteria.alpha and reading.above:
        return Verdict.CONFIRMED
    if reading.below:
        return Verdict.REVERSED
    return Verdict.NO_EFFECT if _negligible(reading, criteria.smallest) else Verdict.UNDECIDED


def _negligible(reading: Reading, smallest: float | None) -> bool:
    """Whether an effect of the smallest size of interest is excluded; never asked of a margin."""
    return not reading.margin and smallest is not None and reading.sized and reading.upper90 < smallest


def least_favourable(words: Sequence[str]) -> int:
    """Index of the verdict that a claim over several benchmarks gets: as good as its worst one."""
    return min(range(len(words)), key=lambda i: Verdict.of(words[i]).rank)


def decide_absolute(p: float, low: float, high: float, margin: float, adjusted_p: float, alpha: float) -> Verdict:
    """Equivalence with a published value: ``low`` and ``high`` are ends of the difference to it."""
    if adjusted_p <= alpha and p <= alpha:
        return Verdict.REPRODUCED
    outside = low > margin or high < -margin
    return Verdict.NOT_REPRODUCED if outside and math.isfinite(low + high) else Verdict.INCONCLUSIVE
