"""The verdict tables of statistics.md: from what was measured to one word."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.judge.scopes import Test

DECISIVE = frozenset({"reproduced", "direction only", "contradicted", "direction confirmed", "direction reversed"})
SENSITIVE = "inconclusive (distribution-sensitive)"

RANK = (
    "invalid", "not run", "inactive", "contradicted", "direction reversed", "not reproduced",
    "no effect worth having", "inconclusive", "undecided", "not comparable", "direction only",
    "direction confirmed", "reproduced",
)  # fmt: skip
"""From the least to the most favourable: a claim bound to several benchmarks is as good as its worst one."""


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


def decide(
    reading: Reading,
    adjusted_p: float,
    *,
    alpha: float,
    kappa: float,
    delta: float | None,
    smallest: float | None,
    stand_in: bool,
) -> str:
    """The verdict's word; ``delta`` is the published effect in the claimed direction, ``smallest`` is m."""
    word = (_stand_in if stand_in else _paper)(reading, adjusted_p, alpha, kappa, delta, smallest)
    return SENSITIVE if word in DECISIVE and reading.fragile else word


def _paper(
    reading: Reading, adjusted_p: float, alpha: float, kappa: float, delta: float | None, smallest: float | None
) -> str:
    if adjusted_p <= alpha and reading.above:
        if reading.margin:
            return "reproduced"
        if delta is None:
            return "direction confirmed"
        return "reproduced" if reading.sized and reading.estimate >= kappa * delta else "direction only"
    if reading.below:
        return "contradicted"
    if _negligible(reading, smallest):
        return "not reproduced"
    return "inconclusive"


def _stand_in(
    reading: Reading, adjusted_p: float, alpha: float, kappa: float, delta: float | None, smallest: float | None
) -> str:
    if adjusted_p <= alpha and reading.above:
        return "direction confirmed"
    if reading.below:
        return "direction reversed"
    return "no effect worth having" if _negligible(reading, smallest) else "undecided"


def _negligible(reading: Reading, smallest: float | None) -> bool:
    """Whether an effect of the smallest size of interest is excluded; never asked of a margin."""
    return not reading.margin and smallest is not None and reading.sized and reading.upper90 < smallest


def least_favourable(words: list[str]) -> int:
    """Index of the verdict that a claim over several benchmarks gets."""
    return min(range(len(words)), key=lambda i: RANK.index(words[i].partition(" (")[0]))


def decide_absolute(p: float, low: float, high: float, margin: float, adjusted_p: float, alpha: float) -> str:
    """Equivalence with a published value: ``low`` and ``high`` are ends of the difference to it."""
    if adjusted_p <= alpha and p <= alpha:
        return "reproduced"
    outside = low > margin or high < -margin
    return "not reproduced" if outside and math.isfinite(low + high) else "inconclusive"
