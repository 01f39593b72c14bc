"""The tests that a claim's scope asks for, over one or several benchmarks, with intervals that agree with their p.

Every test answers the same questions at any level α: its p, an interval of the effect it speaks of, and whether that
interval lies above or below zero. A conjunction speaks of the k-th largest effect among m: its p is the partial
conjunction's (Benjamini & Heller 2008), its lower end the k-th largest lower end at α/(m − k + 1), its upper end the
(m − k + 1)-th smallest upper end at α/k. k = m is "everywhere" (Berger 1982): the lower end needs no correction.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np

from harness import stats


class Test(ABC):
    """What a verdict needs to know.

    Attributes:
        n: pairs; of the part that has fewest.
        sized: whether the estimate is a size (False: only signs were tested).
        estimate: the effect, up = as claimed; NaN without pairs.
        p: of the test; 1 where there is none.
        e: evidence after the last seed.
    """

    n: int
    sized: bool
    estimate: float
    p: float
    e: float

    @abstractmethod
    def interval(self, alpha: float) -> tuple[float, float]:
        """1 − α interval of the effect."""

    def above(self, alpha: float) -> bool:
        """Whether the interval lies above zero."""
        return self.interval(alpha)[0] > 0

    def below(self, alpha: float) -> bool:
        """Whether the interval lies below zero."""
        return self.interval(alpha)[1] < 0

    @abstractmethod
    def fragile(self, alpha: float) -> bool:
        """Whether that rests on a shape of the differences that the sign-flip test does not support."""


class Paired(Test):
    """One benchmark's paired differences, in order of seeds.

    Fixed number of seeds: paired t. ``sequential``: evidence and interval valid at any time, the interval running, so
    that what it excluded stays excluded. With an infinite difference (a diverged arm lost its pair) only signs count:
    the exact sign-flip test, or at any time the Beta(1, 1) mixture for signs. The estimate is the mean difference, or
    the median where a pair was lost by divergence.
    """

    def __init__(self, values: tuple[float, ...], sequential: bool = False, g: float = 2.0) -> None:
        self.values, self.sequential, self.g = values, sequential, g
        self.n, self.sized = len(values), all(map(math.isfinite, values))
        if self.sized:
            self.estimate = float(np.mean(values)) if values else math.nan
            self.p, self.e = inference(values, sequential, g).p, stats.e_value(values, g)
        else:
            with np.errstate(invalid="ignore"):
                middle = float(np.median(values))
            self.estimate = 0.0 if math.isnan(middle) else middle
            self.p = sign_p(values) if sequential else stats.sign_flip_p(values)
            self.e = math.exp(sign_log_e(values)[-1])

    def interval(self, alpha: float) -> tuple[float, float]:
        """1 − α interval of the mean difference; the whole line where only signs were tested."""
        if not self.sized:
            return -math.inf, math.inf
        tested = inference(self.values, self.sequential, self.g, alpha)
        return tested.low, tested.high

    def above(self, alpha: float) -> bool:
        """Whether the interval, or what only signs can say, lies above zero."""
        return super().above(alpha) if self.sized else self.p <= alpha and self._leaning > 0

    def below(self, alpha: float) -> bool:
        """Whether the interval, or what only signs can say, lies below zero."""
        return super().below(alpha) if self.sized else self.p <= alpha and self._leaning < 0

    @property
    def _leaning(self) -> float:
        lost = sum(math.copysign(1, value) for value in self.values if math.isinf(value))
        return lost if lost else sum(value for value in self.values if math.isfinite(value))

    def fragile(self, alpha: float) -> bool:
        """Whether the test rejects on a shape of the differences that the sign-flip test does not support."""
        if not self.sized:
            return False
        if not self.sequential:
            return stats.distribution_sensitive(self.values, alpha)
        if self.p > alpha:
            return False
        one_sided = all(value > 0 for value in self.values) or all(value < 0 for value in self.values)
        attainable = max(alpha, 2.0 ** (1 - self.n)) * (1 + 1e-12)
        return (self.n <= 5 and not one_sided) or stats.sign_flip_p(self.values) > attainable


@lru_cache(maxsize=4096)
def inference(values: tuple[float, ...], sequential: bool, g: float, alpha: float = 0.05) -> stats.Inference:
    """The test of paired differences; cached, since the policy asks again although one comparison has changed."""
    return stats.anytime_interval(values, g, alpha, running=True) if sequential else stats.paired_t(values, alpha)


def sign_log_e(values: Sequence[float]) -> list[float]:
    """log E after each pair for "as often up as down": ∫ θ^k (1−θ)^(n−k) dθ · 2^n; ties are left out.

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
    """Not worse than ``margin``: H0 mean ≤ −margin, one-sided; estimate and interval are of the mean difference.

    p is 1 where a pair was lost by divergence; e is 0 where the mean is not above "worse by the margin".
    """

    def __init__(
        self, values: tuple[float, ...], sequential: bool = False, g: float = 2.0, margin: float = 0.0
    ) -> None:
        super().__init__(values, sequential, g)
        self.margin, self._shifted = margin, tuple(value + margin for value in values)
        self.p, self.e = self._one_sided_p(), 0.0
        if self.sized and self.estimate > -margin:
            self.e = stats.e_value(self._shifted, g)

    def _one_sided_p(self) -> float:
        if not self.sized or self.n < 2:
            return 1.0
        if not self.sequential:
            return stats.non_inferiority(self.values, self.margin).p
        shifted = np.asarray(self._shifted)
        means = np.cumsum(shifted) / np.arange(1, len(shifted) + 1)
        evidence = np.where(means > 0, stats.log_e_process(shifted, self.g), -np.inf)
        return min(1.0, 0.5 * math.exp(-max(0.0, float(np.max(evidence)))))

    def above(self, alpha: float) -> bool:
        """Whether "worse by the margin" is excluded."""
        return self.p <= alpha

    def below(self, alpha: float) -> bool:
        """Whether it is worse by more than the margin."""
        return self.interval(alpha)[1] < -self.margin

    def fragile(self, alpha: float) -> bool:
        """Whether excluding the margin rests on the shape of the differences."""
        return Paired(self._shifted, self.sequential, self.g).fragile(alpha)


class Conjunction(Test):
    """The effect exists in at least ``k`` of the parts.

    The estimate is the k-th largest, NaN where a part has none; n that of the part with fewest pairs, of those that
    have any. p: a part that does not point as claimed has p = 1. e: the mean of the smallest m − k + 1 e-values is
    one, since at least so many nulls hold where the claim does not.
    """

    def __init__(self, parts: tuple[Test, ...], k: int) -> None:
        self.parts, self.k, self._others = parts, k, len(parts) - k + 1
        self.n = min((part.n for part in parts if part.n), default=0)
        self.sized = all(part.sized for part in parts)
        estimates = [part.estimate for part in parts]
        self.estimate = math.nan if any(map(math.isnan, estimates)) else sorted(estimates, reverse=True)[k - 1]
        excesses = [part.estimate + (part.margin if isinstance(part, NoWorse) else 0.0) for part in parts]
        self.p = stats.partial_conjunction([part.p for part in parts], k, excesses)
        evidence = sorted(part.e if part.estimate > 0 or isinstance(part, NoWorse) else 0.0 for part in parts)
        self.e = float(np.mean(evidence[: self._others]))

    def interval(self, alpha: float) -> tuple[float, float]:
        """Interval of the k-th largest effect."""
        lows = sorted((part.interval(alpha / self._others)[0] for part in self.parts), reverse=True)
        highs = sorted(part.interval(alpha / self.k)[1] for part in self.parts)
        return lows[self.k - 1], highs[self._others - 1]

    def above(self, alpha: float) -> bool:
        """Whether k parts lie above zero."""
        return sum(part.above(alpha / self._others) for part in self.parts) >= self.k

    def below(self, alpha: float) -> bool:
        """Whether so many parts lie below zero that k cannot lie above."""
        return sum(part.below(alpha / self.k) for part in self.parts) >= self._others

    def fragile(self, alpha: float) -> bool:
        """Whether the verdict would not stand without the parts that rest on the shape of their differences."""
        firm = [part for part in self.parts if not part.fragile(alpha)]
        if self.above(alpha):
            return sum(part.above(alpha / self._others) for part in firm) < self.k
        return self.below(alpha) and sum(part.below(alpha / self.k) for part in firm) < self._others


class Mean(Test):
    """The mean over benchmarks, each weighing the same, of differences divided by ``units`` fixed before results.

    Fixed: Welch–Satterthwaite. Sequential: per seed, the mean over benchmarks, valid at any time. p is 1 where a
    benchmark has fewer than three pairs or one was lost by divergence.
    """

    def __init__(
        self, parts: tuple[Paired, ...], seeds: tuple[tuple[int, ...], ...], units: tuple[float, ...]
    ) -> None:  # fmt: skip
        self._seeds, self._sequential, self._g = seeds, parts[0].sequential, parts[0].g
        self._strata = [[value / unit for value in part.values] for part, unit in zip(parts, units, strict=True)]
        whole = self._joint if self._sequential else stats.stratified_mean(self._strata)
        self.n = self._joint.n if self._sequential else min(part.n for part in parts)
        self.sized, self.estimate = all(part.sized for part in parts), whole.estimate
        self._tested = self.sized and self.n >= 3
        self.p = whole.p if self._tested else 1.0
        self.e = self._joint.e if self._tested else 1.0

    @cached_property
    def _joint(self) -> Paired:
        """Seeds that every benchmark has, averaged over benchmarks."""
        strata = [
            dict(zip(seeds, values, strict=True)) for seeds, values in zip(self._seeds, self._strata, strict=True)
        ]
        common = sorted(set.intersection(*map(set, strata)))
        return Paired(tuple(float(np.mean([stratum[seed] for stratum in strata])) for seed in common), True, self._g)

    def interval(self, alpha: float) -> tuple[float, float]:
        """1 − α interval of the mean."""
        if not self._tested:
            return -math.inf, math.inf
        if self._sequential:
            return self._joint.interval(alpha)
        tested = stats.stratified_mean(self._strata, alpha)
        return tested.low, tested.high

    def fragile(self, alpha: float) -> bool:
        """Whether the joint series' test rests on its shape."""
        return self.sized and self.n >= 2 and self._joint.fragile(alpha)
