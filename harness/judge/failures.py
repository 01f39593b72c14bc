"""Failed trials: the tolerated share, and a verdict as if they had lost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.judge.evidence import trials_in_words
from harness.judge.pairs import Pairs
from harness.judge.tests import Test, sign_p


def too_many_failures(pairs: Sequence[Pairs], tolerated: float) -> str | None:
    """The reason that failures forbid a verdict, or None."""
    arms = {each.arm: each for compared in pairs for each in compared.arms}
    message = [
        f"{arm.failed} of {trials_in_words(arm.planned)} of {arm.arm} failed"
        + "".join(f"; {text}" for text in arm.unscored[:3])
        for arm in arms.values()
        if arm.failed > tolerated * arm.planned
    ]
    return f"{'; '.join(message)}; {tolerated:.0%} of an arm's are tolerated" if message else None


class WorstCase(Test):
    """A test under the worst outcome of failed trials.

    It holds even if every failed trial of the favoured arm had lost its pair. Estimate and interval are those of the
    observed pairs; p is the larger of both, by the signs of all pairs.
    """

    def __init__(self, observed: Test, signs: tuple[float, ...], sequential: bool) -> None:
        self.observed = observed
        self.n, self.sized, self.estimate, self.e = observed.n, observed.sized, observed.estimate, observed.e
        leaning = sum(math.copysign(1, sign) for sign in signs if sign)
        worst = sign_p(signs) if sequential else sign_test_p(signs)
        self.p_above = max(observed.p_above, worst) if leaning > 0 else 1.0
        self.p_below = max(observed.p_below, worst) if leaning < 0 else 1.0

    def interval(self, alpha: float) -> tuple[float, float]:
        """1 − α interval of the effect in the observed pairs."""
        return self.observed.interval(alpha)

    def p_smaller(self, m: float) -> float:
        """One-sided p of an effect below m in the observed pairs."""
        return self.observed.p_smaller(m)

    def fragile(self, alpha: float) -> bool:
        """True if the test of the observed pairs is fragile."""
        return self.observed.fragile(alpha)


def sign_test_p(values: Sequence[float]) -> float:
    """Exact two-sided p of "as often up as down"; ties are left out. Source: Arbuthnot (1710); Conover (1999), 3.4."""
    n = sum(value != 0 for value in values)
    up = sum(value > 0 for value in values)
    tail = sum(math.comb(n, k) for k in range(max(up, n - up), n + 1)) / 2**n
    return min(1.0, 2 * tail)


def guarded(test: Test, pairs: Sequence[Pairs], units: Sequence[float], margin: float, sequential: bool) -> Test:
    """A test against the worst that failed trials could have been.

    Args:
        units: divisors of the differences.
        margin: of "not worse": a pair is lost below −margin.
    """
    worst = [each.against(test.estimate + margin) for each in pairs]
    if all(len(after) == len(each.differences) for after, each in zip(worst, pairs, strict=True)):
        return test
    signs = []
    for seed in sorted({seed for after in worst for seed in after}):
        values = [after[seed] / unit + margin for after, unit in zip(worst, units, strict=True) if seed in after]
        lost = [value for value in values if math.isinf(value)]
        signs.append(lost[0] if lost else sum(values) / len(values))
    return WorstCase(test, tuple(signs), sequential)
