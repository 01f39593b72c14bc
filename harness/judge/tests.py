"""Tests of a claim's scope, over one or several benchmarks.

Every test gives the smallest level at which it says "above zero", "below zero" or "smaller than m", and an interval
of its effect that agrees with its p. A conjunction is about the k-th largest effect among m: its p above zero is the
partial conjunction's (Benjamini & Heller 2008), its lower end the k-th largest lower end at α/(m − k + 1), its upper
end the (m − k + 1)-th smallest upper end at α/k, and its p below zero inverts that. k = m is "everywhere" (Berger
1982).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from harness import stats
from harness.judge.evidence import trials_in_words
from harness.judge.pairs import Pairs

FEWEST = 3
"""Pairs below which nothing is decided."""


class Test(ABC):
    """Base of the tests.

    Attributes:
        n: pairs; of the part that has fewest.
        sized: False if only signs were tested, so that the estimate is not a size.
        estimate: the effect, up = as claimed; NaN without pairs.
        p_above: smallest level at which the effect lies above zero, two-sided; 1 where it points down.
        p_below: the same below zero.
        e: evidence after the last seed.
    """

    n: int
    sized: bool
    estimate: float
    p_above: float
    p_below: float
    e: float

    @property
    def p(self) -> float:
        """Two-sided p; 1 without a test."""
        return min(self.p_above, self.p_below)

    @abstractmethod
    def interval(self, alpha: float) -> tuple[float, float]:
        """1 − α interval of the effect."""

    def above(self, alpha: float) -> bool:
        return self.p_above <= alpha

    def below(self, alpha: float) -> bool:
        return self.p_below <= alpha

    @abstractmethod
    def p_smaller(self, m: float) -> float:
        """One-sided p of "the effect is smaller than m"; 1 where only signs were tested."""

    def p_loss(self, alpha: float) -> float:
        """Two-sided p of "below zero" of a test of "not worse"; 1 if the signs do not support it."""
        return 1.0

    @abstractmethod
    def fragile(self, alpha: float) -> bool:
        """True if the sign-flip test does not support the rejection."""


class Paired(Test):
    """One benchmark's paired differences, in order of seeds.

    Fixed number of seeds: paired t. With a ``rule`` seeds are added: evidence and interval are valid at every interim
    analysis up to the maximum, and the interval only shrinks. With an infinite difference (a diverged arm lost its
    pair) only signs count: the exact sign-flip test, or with a rule the Beta(1, 1) mixture for the signs. The
    estimate is the mean difference, or the median where a pair was lost. Below three pairs p is 1.

    With a rule, resampled pairs get the larger p and the wider interval of both. Their signs are not independent: with
    an infinite difference p is 1.
    """

    def __init__(
        self,
        values: tuple[float, ...],
        rule: stats.SequentialRule | None = None,
        noise: stats.Noise = stats.INDEPENDENT,
    ) -> None:
        self.values, self.rule, self.noise = values, rule, noise
        self.n, self.sized = len(values), all(map(math.isfinite, values))
        if self.sized:
            self.estimate = float(np.mean(values)) if values else math.nan
            self.e = stats.e_value(values, (rule or stats.SequentialRule()).g, noise=noise)
        else:
            with np.errstate(invalid="ignore"):
                middle = float(np.median(values))
            self.estimate = 0.0 if math.isnan(middle) else middle
            self.e = math.exp(sign_log_e(values)[-1])
        if noise.resampled:  # E assumes independent pairs
            self.e = 1.0
        self.p_above, self.p_below = self._directed() if self.n >= FEWEST else (1.0, 1.0)

    def _directed(self) -> tuple[float, float]:
        if self.sized and self.rule is not None:
            above, below = self.rule.directed_p(self.values, noise=self.noise)
            fixed = Paired(self.values, None, self.noise) if self.noise.resampled else None
            return (above, below) if fixed is None else (max(above, fixed.p_above), max(below, fixed.p_below))
        if not self.sized and self.noise.resampled:
            return 1.0, 1.0
        if self.sized:
            p, leaning = inference(self.values, None, noise=self.noise).p, self.estimate
        elif self.rule is not None:
            p, leaning = sign_p(self.values), float(sum((value > 0) - (value < 0) for value in self.values))
        else:
            p, leaning = stats.sign_flip_p(self.values), self._outweighing
        return (p if leaning > 0 else 1.0), (p if leaning < 0 else 1.0)

    @property
    def _outweighing(self) -> float:
        """Direction of the sum, where a lost pair outweighs every finite one."""
        lost = sum(math.copysign(1, value) for value in self.values if math.isinf(value))
        return lost if lost else sum(value for value in self.values if math.isfinite(value))

    def interval(self, alpha: float) -> tuple[float, float]:
        """1 − α interval of the mean; whole line for signs alone."""
        if not self.sized:
            return -math.inf, math.inf
        tested = inference(self.values, self.rule, alpha, self.noise)
        return tested.low, tested.high

    def p_smaller(self, m: float) -> float:
        """One-sided t test of "mean ≥ m"; with a rule half the p of evidence below m."""
        if not self.sized or self.n < FEWEST:
            return 1.0
        fixed = stats.non_inferiority([m - value for value in self.values], 0.0, noise=self.noise).p
        if self.rule is None:
            return fixed
        p = self.rule.directed_p([value - m for value in self.values], noise=self.noise)[1] / 2
        return max(p, fixed) if self.noise.resampled else p

    def fragile(self, alpha: float) -> bool:
        """True if the t test rejects without support of the signs."""
        return self.sized and self.p <= alpha and stats.sign_sensitive(self.values, alpha)


@lru_cache(maxsize=4096)
def inference(
    values: tuple[float, ...],
    rule: stats.SequentialRule | None,
    alpha: float = 0.05,
    noise: stats.Noise = stats.INDEPENDENT,
) -> stats.Inference:
    """The test of paired differences, cached."""
    if rule is None:
        return stats.paired_t(values, alpha, noise=noise)
    tested = rule.inference(values, alpha, noise=noise)
    if not noise.resampled:
        return tested
    fixed = stats.paired_t(values, alpha, noise=noise)
    low, high = min(tested.low, fixed.low), max(tested.high, fixed.high)
    return replace(tested, low=low, high=high, p=max(tested.p, fixed.p))


def sign_log_e(values: Sequence[float]) -> list[float]:
    """log E after each pair for "as often up as down": ∫ θ^k (1−θ)^(n−k) dθ · 2^n without ties.

    A martingale under the null whatever the stopping rule (Ville 1939). One entry at least.
    """
    logs, up, n = [0.0], 0, 0
    for value in values:
        if value != 0:
            n, up = n + 1, up + (value > 0)
        beta = math.lgamma(up + 1) + math.lgamma(n - up + 1) - math.lgamma(n + 2)
        logs.append(beta + n * math.log(2))
    return logs


def sign_p(values: Sequence[float]) -> float:
    """p of the sign test that is valid at any time."""
    return math.exp(-max(0.0, *sign_log_e(values), 0.0))


class NoWorse(Paired):
    """Not worse than ``margin``: H0 mean ≤ −margin, one-sided; ``p_below`` (two-sided) of "worse by more".

    Both are 1 where a diverged arm lost a pair; e is 0 where the mean is not above −margin.
    """

    def __init__(
        self,
        values: tuple[float, ...],
        rule: stats.SequentialRule | None = None,
        noise: stats.Noise = stats.INDEPENDENT,
        margin: float = 0.0,
    ) -> None:
        super().__init__(values, rule, noise)
        self.margin, self._shifted = margin, Paired(tuple(value + margin for value in values), rule, noise)
        self.p_above = self.p_below = 1.0
        if self.sized and self.n >= FEWEST:
            self.p_below = self._shifted.p_below
            # the exact one-sided test of a fixed number of seeds; of a path half the two-sided p
            exact = None if rule is not None else stats.non_inferiority(values, margin, noise=noise).p
            self.p_above = self._shifted.p_above / 2 if exact is None else exact
        self.e = self._shifted.e if self.sized and self.estimate > -margin else 0.0

    def p_loss(self, alpha: float) -> float:
        ordinary = Paired(self.values, self.rule, self.noise)
        return 1.0 if not self.sized or ordinary.fragile(alpha) else ordinary.p_below

    def fragile(self, alpha: float) -> bool:
        """True if excluding the margin rests on the shape of the differences."""
        return self.sized and self.p <= alpha and stats.sign_sensitive(self._shifted.values, alpha)


class SignedRanks(Paired):
    """Differences of data sets: Wilcoxon's exact test, which needs no common scale; estimate of Hodges and Lehmann."""

    def __init__(self, values: tuple[float, ...]) -> None:
        self.values, self.rule, self.noise = values, None, stats.INDEPENDENT
        self.n, self.sized, self.e = len(values), all(map(math.isfinite, values)), 1.0
        tested = stats.signed_rank(values)
        self.estimate = tested.estimate
        self.p_above = tested.p if self.estimate > 0 else 1.0
        self.p_below = tested.p if self.estimate < 0 else 1.0

    def interval(self, alpha: float) -> tuple[float, float]:
        tested = stats.signed_rank(self.values, alpha)
        return tested.low, tested.high

    def p_smaller(self, m: float) -> float:
        """One-sided test that the differences lie below m."""
        tested = stats.signed_rank([m - value for value in self.values])
        return tested.p / 2 if self.sized and tested.estimate > 0 else 1.0

    def fragile(self, alpha: float) -> bool:
        return False


class Conjunction(Test):
    """The effect exists in at least ``k`` of the parts.

    The estimate is the k-th largest, NaN where a part has none. e is the mean of the smallest m − k + 1 e-values.
    """

    def __init__(self, parts: tuple[Test, ...], k: int) -> None:
        self.parts, self.k, self._others = parts, k, len(parts) - k + 1
        self.n = min((part.n for part in parts if part.n), default=0)
        self.sized = all(part.sized for part in parts)
        estimates = [part.estimate for part in parts]
        self.estimate = math.nan if any(map(math.isnan, estimates)) else sorted(estimates, reverse=True)[k - 1]
        self.p_above = stats.partial_conjunction([part.p_above for part in parts], k)
        self.p_below = stats.partial_conjunction([part.p_below for part in parts], self._others)
        evidence = sorted(part.e if part.estimate > 0 or isinstance(part, NoWorse) else 0.0 for part in parts)
        self.e = float(np.mean(evidence[: self._others]))

    def interval(self, alpha: float) -> tuple[float, float]:
        """Interval of the k-th largest effect."""
        lows = sorted((part.interval(alpha / self._others)[0] for part in self.parts), reverse=True)
        highs = sorted(part.interval(alpha / self.k)[1] for part in self.parts)
        return lows[self.k - 1], highs[self._others - 1]

    def p_smaller(self, m: float) -> float:
        """p of too many parts below m for k to reach it."""
        return stats.partial_conjunction([part.p_smaller(m) for part in self.parts], self._others)

    def p_loss(self, alpha: float) -> float:
        return stats.partial_conjunction([part.p_loss(alpha) for part in self.parts], self._others)

    def fragile(self, alpha: float) -> bool:
        """True if the verdict does not stand without its fragile parts."""
        firm = [part for part in self.parts if not part.fragile(alpha)]
        if self.above(alpha):
            return sum(part.above(alpha / self._others) for part in firm) < self.k
        return self.below(alpha) and sum(part.below(alpha / self.k) for part in firm) < self._others


class Mean(Paired):
    """The mean over benchmarks of differences divided by ``units`` fixed before results.

    Benchmarks are averaged within each seed that all of them have, and tested over seeds: as independent strata they
    would reject a true null in 10 / 24 / 44 % for 2 / 4 / 10 benchmarks at correlation .6. A seed in which an arm
    diverged on some benchmark is lost; lost both ways it is dropped.
    """

    def __init__(self, parts: tuple[Paired, ...], seeds: tuple[tuple[int, ...], ...], units: tuple[float, ...]) -> None:
        strata = [
            {seed: value / unit for seed, value in zip(places, part.values, strict=True)}
            for part, places, unit in zip(parts, seeds, units, strict=True)
        ]
        common = sorted(set.intersection(*map(set, strata)))
        with np.errstate(invalid="ignore"):
            means = [float(np.mean([stratum[seed] for stratum in strata])) for seed in common]
        rounding = math.hypot(*(part.noise.least_sd / unit for part, unit in zip(parts, units, strict=True)))
        noise = stats.Noise(rounding / len(parts), max(part.noise.resampled for part in parts))
        super().__init__(tuple(value for value in means if not math.isnan(value)), parts[0].rule, noise)


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
    """A test in which every failed trial of the favoured arm lost.

    Estimate and interval are those of the observed pairs; p is at least that of the signs of all pairs.
    """

    def __init__(self, observed: Test, signs: tuple[float, ...], sequential: bool) -> None:
        self.observed = observed
        self.n, self.sized, self.estimate, self.e = observed.n, observed.sized, observed.estimate, observed.e
        leaning = sum(math.copysign(1, sign) for sign in signs if sign)
        worst = sign_p(signs) if sequential else sign_test_p(signs)
        self.p_above = max(observed.p_above, worst) if leaning > 0 else 1.0
        self.p_below = max(observed.p_below, worst) if leaning < 0 else 1.0

    def interval(self, alpha: float) -> tuple[float, float]:
        return self.observed.interval(alpha)

    def p_smaller(self, m: float) -> float:
        return self.observed.p_smaller(m)

    def fragile(self, alpha: float) -> bool:
        return self.observed.fragile(alpha)


def sign_test_p(values: Sequence[float]) -> float:
    """Exact two-sided p of "as often up as down" without ties (Conover 1999, 3.4)."""
    n = sum(value != 0 for value in values)
    up = sum(value > 0 for value in values)
    tail = sum(math.comb(n, k) for k in range(max(up, n - up), n + 1)) / 2**n
    return min(1.0, 2 * tail)


def guarded(test: Test, pairs: Sequence[Pairs], units: Sequence[float], margin: float, sequential: bool) -> Test:
    """A test against the worst that failed trials could have been; a pair is lost below −margin.

    Of several benchmarks only seeds that all of them have count, as in their mean.
    """
    worst = [each.against(test.estimate + margin) for each in pairs]
    if all(len(after) == len(each.differences) for after, each in zip(worst, pairs, strict=True)):
        return test
    signs = []
    for seed in sorted(set.intersection(*map(set, worst))):
        values = [after[seed] / unit + margin for after, unit in zip(worst, units, strict=True)]
        lost = [value for value in values if math.isinf(value)]
        signs.append(lost[0] if lost else sum(values) / len(values))
    return WorstCase(test, tuple(signs), sequential)
