"""The verdict tables of docs/verdicts.md."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.judge.tests import Test
from harness.vocabulary import Verdict

SENSITIVE = f"{Verdict.INCONCLUSIVE} (distribution-sensitive)"


@dataclass(frozen=True, slots=True)
class Reading:
    """A test at level α; ``p_smaller`` is one-sided, of "smaller than the SESOI", 1 without a SESOI.

    Of "not worse" (``margin``) it is the p of a loss of any size.
    """

    n: int
    estimate: float
    low: float
    high: float
    p_smaller: float
    p: float
    e: float
    above: bool
    below: bool
    fragile: bool
    sized: bool
    margin: bool = False


def read(test: Test, alpha: float, smallest: float | None = None, *, margin: bool = False) -> Reading:
    """Every number of a test that a verdict needs."""
    low, high = test.interval(alpha)
    p_smaller = test.p_loss(alpha) if margin else 1.0 if smallest is None else test.p_smaller(smallest)
    return Reading(
        test.n,
        test.estimate,
        low,
        high,
        p_smaller,
        test.p,
        test.e,
        test.above(alpha),
        test.below(alpha),
        test.fragile(alpha),
        test.sized,
        margin,
    )


@dataclass(frozen=True, slots=True)
class Criteria:
    """Thresholds of a verdict: ``delta`` is the published effect, ``smallest`` the SESOI."""

    alpha: float
    kappa: float
    delta: float | None
    smallest: float | None
    sizeless: bool


def decide(reading: Reading, adjusted_p: float, criteria: Criteria, adjusted_smaller: float = 1.0) -> str:
    """The verdict of a reading; corrected are p of "not zero" and of "smaller than the SESOI"."""
    certain = adjusted_p <= criteria.alpha and reading.above != reading.below
    negligible = adjusted_smaller <= criteria.alpha and reading.sized
    if reading.margin:
        return _not_worse(reading, certain, negligible, criteria)
    word = (_direction if criteria.sizeless else _paper)(reading, certain, negligible, criteria)
    return SENSITIVE if word.decisive and reading.fragile else word


def _paper(reading: Reading, certain: bool, negligible: bool, criteria: Criteria) -> Verdict:
    delta = criteria.delta
    if certain and reading.above:
        if delta is None:
            return Verdict.CONFIRMED
        large = reading.sized and reading.estimate >= criteria.kappa * delta
        return Verdict.REPRODUCED if large else Verdict.DIRECTION_ONLY
    if certain:
        return Verdict.CONTRADICTED
    return Verdict.NOT_REPRODUCED if negligible else Verdict.INCONCLUSIVE


def _not_worse(reading: Reading, certain: bool, lost: bool, criteria: Criteria) -> str:
    """The verdict of "not worse"; a loss of any size contradicts a published gain."""
    firm = certain and not reading.fragile
    if lost and criteria.delta is not None and not criteria.sizeless and not (firm and reading.below):
        return Verdict.CONTRADICTED_BY_LESS if firm and reading.above else Verdict.CONTRADICTED
    if not certain:
        return Verdict.INCONCLUSIVE
    against = Verdict.REVERSED if criteria.sizeless else Verdict.CONTRADICTED
    return (Verdict.NOT_WORSE if reading.above else against) if firm else SENSITIVE


def _direction(reading: Reading, certain: bool, negligible: bool, criteria: Criteria) -> Verdict:
    if certain:
        return Verdict.CONFIRMED if reading.above else Verdict.REVERSED
    return Verdict.NO_EFFECT if negligible else Verdict.INCONCLUSIVE


def least_favourable(words: Sequence[str]) -> int:
    """Index of the worst verdict; of two inconclusive ones that of the distribution-sensitive one."""
    return min(range(len(words)), key=lambda i: (Verdict.of(words[i]).rank, words[i] != SENSITIVE))


def decide_absolute(adjusted_p: float, adjusted_outside: float, alpha: float) -> Verdict:
    """Equivalence with a published value.

    Args:
        adjusted_p: corrected p of "within the margin"; ``adjusted_outside``: of "outside".
    """
    if adjusted_p <= alpha:
        return Verdict.REPRODUCED
    return Verdict.NOT_REPRODUCED if adjusted_outside <= alpha else Verdict.INCONCLUSIVE
