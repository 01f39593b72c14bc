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
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from harness import stats


class Test(ABC):
    """What a verdict needs to know."""

    @property
    @abstractmethod
    def n(self) -> int:
        """Pairs; of the part that has fewest."""

    @property
    @abstractmethod
    def estimate(self) -> float:
        """The effect, up = as claimed; NaN without pairs."""

    @property
    @abstractmethod
    def p(self) -> float:
        """p of the test; 1 where there is none."""

    @property
    @abstractmethod
    def e(self) -> float:
        """Evidence after the last seed."""

    @property
    @abstractmethod
    def sized(self) -> bool:
        """Whether the estimate is a size (False: only signs were tested)."""

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


@dataclass(frozen=True)
class Paired(Test):
    """One benchmark's paired differences, in order of seeds.

    Fixed number of seeds: paired t. ``sequential``: evidence and interval valid at any time, the interval running, so
    that what it excluded stays excluded. With an infinite difference (a diverged arm lost its pair) only signs count:
    the exact sign-flip test, or at any time the Beta(1, 1) mixture for signs.
    """

    values: tuple[float, ...]
    sequential: bool = False
    g: float = 2.0

    @property
    def n(self) -> int:
        """Pairs."""
        return len(self.values)

    @property
    def sized(self) -> bool:
        """Whether the estimate is a size (False: only signs were tested)."""
        return all(math.isfinite(value) for value in self.values)

    @cached_property
    def estimate(self) -> float:
        """Mean difference; the median where a pair was lost by divergence; NaN without pairs."""
        if not self.values:
            return math.nan
        if self.sized:
            return float(np.mean(self.values))
        with np.errstate(invalid="ignore"):
            middle = float(np.median(self.values))
        return 0.0 if math.isnan(middle) else middle

    @cached_property
    def p(self) -> float:
        """Two-sided p; 1 where there is no test."""
        if not self.sized:
            return sign_p(self.values) if self.sequential else stats.sign_flip_p(self.values)
        return _p(self.values, self.sequential, self.g)

    @cached_property
    def e(self) -> float:
        """Evidence against no effect after the last seed."""
        return stats.e_value(self.values, self.g) if self.sized else math.exp(sign_log_e(self.values)[-1])

    def interval(self, alpha: float) -> tuple[float, float]:
        """1 − α interval of the mean difference; the whole line where only signs were tested."""
        if not self.sized:
            return -math.inf, math.inf
        return _interval(self.values, self.sequential, self.g, alpha)

    def above(self, alpha: float) -> bool:
        """Whether the interval lies above zero."""
        return super().above(alpha) if self.sized else self.p <= alpha and self._leaning > 0

    def below(self, alpha: float) -> bool:
        """Whether the interval lies below zero."""
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
def _interval(values: tuple[float, ...], sequential: bool, g: float, alpha: float) -> tuple[float, float]:
    """The policy asks again each round, although one comparison has changed."""
    tested = stats.anytime_interval(values, g, alpha, running=True) if sequential else stats.paired_t(values, alpha)
    return tested.low, tested.high


@lru_cache(maxsize=4096)
def _p(values: tuple[float, ...], sequential: bool, g: float) -> float:
    return stats.anytime_p(values, g) if sequential else stats.paired_t(values).p


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


@dataclass(frozen=True)
class NoWorse(Paired):
    """Not worse than ``margin``: H0 mean ≤ −margin, one-sided. Estimate and interval are of the mean difference."""

    margin: float = 0.0

    @property
    def _shifted(self) -> tuple[float, ...]:
        return tuple(value + self.margin for value in self.values)

    @cached_property
    def p(self) -> float:
        """One-sided p; 1 where there is no test or a pair was lost by divergence."""
        if not self.sized or self.n < 2:
            return 1.0
        if not self.sequential:
            return stats.non_inferiority(self.values, self.margin).p
        shifted = np.asarray(self._shifted)
        means = np.cumsum(shifted) / np.arange(1, len(shifted) + 1)
        evidence = np.where(means > 0, stats.log_e_process(shifted, self.g), -np.inf)
        return min(1.0, 0.5 * math.exp(-max(0.0, float(np.max(evidence)))))

    @cached_property
    def e(self) -> float:
        """Evidence against "worse by the margin": none where the mean is not above it."""
        if not self.sized or not self.estimate > -self.margin:
            return 0.0
        return stats.e_value(self._shifted, self.g)

    def above(self, alpha: float) -> bool:
        """Whether "worse by the margin" is excluded."""
        return self.p <= alpha

    def below(self, alpha: float) -> bool:
        """Whether it is worse by more than the margin."""
        return self.interval(alpha)[1] < -self.margin

    def fragile(self, alpha: float) -> bool:
        """Whether excluding the margin rests on the shape of the differences."""
        return Paired(self._shifted, self.sequential, self.g).fragile(alpha)


@dataclass(frozen=True)
class Conjunction(Test):
    """The effect exists in at least ``k`` of the parts."""

    parts: tuple[Test, ...]
    k: int

    @property
    def _others(self) -> int:
        return len(self.parts) - self.k + 1

    @property
    def n(self) -> int:
        """Pairs of the part that has fewest, of those that have any."""
        return min((part.n for part in self.parts if part.n), default=0)

    @property
    def sized(self) -> bool:
        """Whether every part's estimate is a size."""
        return all(part.sized for part in self.parts)

    @property
    def estimate(self) -> float:
        """The k-th largest estimate; NaN where a part has none."""
        estimates = [part.estimate for part in self.parts]
        return math.nan if any(map(math.isnan, estimates)) else sorted(estimates, reverse=True)[self.k - 1]

    @cached_property
    def p(self) -> float:
        """Partial conjunction; a part that does not point as claimed has p = 1."""
        estimates = [part.estimate + (part.margin if isinstance(part, NoWorse) else 0.0) for part in self.parts]
        return stats.partial_conjunction([part.p for part in self.parts], self.k, estimates)

    @property
    def e(self) -> float:
        """Mean of the smallest m − k + 1: an e-value, since at least so many nulls hold where the claim does not."""
        evidence = sorted(part.e if part.estimate > 0 or isinstance(part, NoWorse) else 0.0 for part in self.parts)
        return float(np.mean(evidence[: self._others]))

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
        firm = [not part.fragile(alpha) for part in self.parts]
        if self.above(alpha):
            kept = sum(ok and part.above(alpha / self._others) for part, ok in zip(self.parts, firm, strict=True))
            return kept < self.k
        kept = sum(ok and part.below(alpha / self.k) for part, ok in zip(self.parts, firm, strict=True))
        return self.below(alpha) and kept < self._others


@dataclass(frozen=True)
class Mean(Test):
    """The mean over benchmarks, each weighing the same, of differences divided by ``units`` fixed before results.

    Fixed: Welch–Satterthwaite. Sequential: per seed, the mean over benchmarks, valid at any time.
    """

    parts: tuple[Paired, ...]
    seeds: tuple[tuple[int, ...], ...]
    units: tuple[float, ...]

    def _strata(self) -> list[list[float]]:
        return [[value / unit for value in part.values] for part, unit in zip(self.parts, self.units, strict=True)]

    @cached_property
    def _joint(self) -> Paired:
        """Seeds that every benchmark has, averaged over benchmarks."""
        common = sorted(set.intersection(*(set(one) for one in self.seeds)))
        strata = [
            dict(zip(seeds, values, strict=True)) for seeds, values in zip(self.seeds, self._strata(), strict=True)
        ]
        joint = tuple(float(np.mean([stratum[seed] for stratum in strata])) for seed in common)
        return Paired(joint, True, self.parts[0].g)

    @property
    def _sequential(self) -> bool:
        return self.parts[0].sequential

    @property
    def n(self) -> int:
        """Pairs of the benchmark that has fewest."""
        return self._joint.n if self._sequential else min(part.n for part in self.parts)

    @property
    def sized(self) -> bool:
        """Whether no pair was lost by divergence."""
        return all(part.sized for part in self.parts)

    @cached_property
    def estimate(self) -> float:
        """Mean of the benchmarks' means."""
        return self._joint.estimate if self._sequential else stats.stratified_mean(self._strata()).estimate

    @cached_property
    def p(self) -> float:
        """Two-sided p; 1 where a benchmark has fewer than three pairs or one was lost by divergence."""
        if not self.sized or self.n < 3:
            return 1.0
        return self._joint.p if self._sequential else stats.stratified_mean(self._strata()).p

    @property
    def e(self) -> float:
        """Evidence of the joint series."""
        return self._joint.e if self.sized and self.n >= 3 else 1.0

    def interval(self, alpha: float) -> tuple[float, float]:
        """1 − α interval of the mean."""
        if not self.sized or self.n < 3:
            return -math.inf, math.inf
        if self._sequential:
            return self._joint.interval(alpha)
        tested = stats.stratified_mean(self._strata(), alpha)
        return tested.low, tested.high

    def fragile(self, alpha: float) -> bool:
        """Whether the joint series' test rests on its shape."""
        return self.sized and self.n >= 2 and self._joint.fragile(alpha)
