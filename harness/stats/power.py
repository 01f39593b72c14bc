"""Power of the rule in use: detectable effects, seeds needed, repeats."""

import math
from bisect import bisect_left
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from harness.stats.capped import SequentialRule
from harness.stats.paired import LARGE_T, t_quantile
from harness.stats.records import INDEPENDENT, Noise, check_alpha, moments
from harness.stats.sequential import DEFAULT_G, half_width_of_moments

FEWEST_FOR_AGAIN = 6
"""Fewest pairs whose predictive says something: at three it is 16 %, whatever was measured."""


def minimum_detectable_effect(
    differences: ArrayLike,
    alpha: float = 0.05,
    power: float = 0.8,
    *,
    noise: Noise = INDEPENDENT,
    rule: SequentialRule | None = None,
) -> float:
    """The true mean difference that this rule detects with this power.

    In the unit of the differences: the non-centrality with this power at the rule's critical t, times the standard
    error. With a sequential rule it is that of the last interim analysis alone; earlier ones only add power. Fewer than
    two or infinite values, or a rule that cannot reject yet: inf. Equal differences: 0. Source: Owen (1965).
    """
    check_alpha(alpha)
    check_alpha(power, "power")
    sample = moments(differences, noise=noise)
    if not sample.usable:
        return math.inf
    critical = critical_t(sample.n, alpha, rule)
    return math.inf if math.isinf(critical) else _shift(sample.n - 1, critical, power) * sample.standard_error


def critical_t(n: int, alpha: float, rule: SequentialRule | None = None) -> float:
    """Smallest absolute t of n differences that rejects; inf where none does."""
    if rule is None:
        return t_quantile(n - 1, 1 - alpha / 2)
    threshold = rule.after(n).log_threshold(alpha)
    # a sample sd of 1
    return float(half_width_of_moments(n, float(n - 1), rule.g, threshold)) * math.sqrt(n)


def _shift(nu: int, critical: float, power: float) -> float:
    """Non-centrality with P(T ≥ critical) = power."""
    from scipy import special

    if critical < LARGE_T:
        return float(special.nctdtrinc(nu, 1 - power, critical))
    return critical * math.sqrt(float(special.chdtri(nu, 1 - power)) / nu)


def paired_t_power(effect: float, sd: float, n: int, alpha: float = 0.05) -> float:
    """Power of the two-sided paired t test with n seeds.

    `effect` is the true mean of the differences, `sd` their sd. Exact for normal differences: both tails of the
    non-central t. n < 2: 0. sd = 0: 1 for an effect other than zero, alpha for none. Source: Owen (1965).
    """
    from scipy import special

    check_alpha(alpha)
    if n < 2 or math.isnan(effect) or math.isnan(sd) or sd == math.inf:
        return 0.0
    if sd < 0:
        raise ValueError(f"sd: {sd!r} is negative")
    if effect == 0.0:
        return alpha
    shift = abs(effect) / sd * math.sqrt(n) if sd > 0 else math.inf
    critical = t_quantile(n - 1, 1 - alpha / 2)
    if shift > critical + 40.0:  # beyond every digit of a double, where the series would lose them
        return 1.0
    power = 1.0 - float(special.nctdtr(n - 1, shift, critical))
    # the wrong tail: from a shift of 6 on below 1e-9 at any alpha to be met, while its series turns to NaN
    wrong_tail = float(special.nctdtr(n - 1, shift, -critical)) if shift < 6.0 else 0.0
    return min(1.0, power + (0.0 if math.isnan(wrong_tail) else wrong_tail))


def seeds_for_power(
    effect: float, sd: float = 1.0, alpha: float = 0.05, power: float = 0.8, *, maximum: int = 1_000_000
) -> int | None:
    """Fewest paired seeds that detect a mean `effect` with this power.

    `sd` is the sd of the paired differences, in the unit of `effect`. None when `maximum` seeds are too few, as
    for no effect, NaN or an infinite sd. Source: non-central t, as in `paired_t_power`.
    """
    check_alpha(power, "power")
    if paired_t_power(effect, sd, maximum, alpha) < power:
        return None
    low, high = 1, 2
    while paired_t_power(effect, sd, high, alpha) < power:
        low, high = high, min(2 * high, maximum)
    between = range(low + 1, high + 1)
    return between[bisect_left(between, power, key=lambda n: paired_t_power(effect, sd, n, alpha))]


def same_verdict_again(
    differences: ArrayLike, alpha: float = 0.05, g: float = DEFAULT_G, *, noise: Noise = INDEPENDENT
) -> float:
    """Probability that this fixed design rejects again on the same side.

    A predictive under the design's prior: effect / sd ~ N(0, g), right-Haar on the sd, both integrated out given the
    measured t. The measured effect itself would promise too much: 86 % at three seeds where 17 % is true. NaN below
    ``FEWEST_FOR_AGAIN`` pairs, for resampled pairs, and without a t. Source: Spiegelhalter (1986).
    """
    check_alpha(alpha)
    sample = moments(differences, noise=noise)
    if not sample.usable or sample.n < FEWEST_FOR_AGAIN or noise.resampled or sample.sd == 0.0:
        return math.nan
    return _predictive(sample.n, abs(sample.mean) / sample.standard_error, alpha, g)


@lru_cache(maxsize=4096)
def _predictive(n: int, t: float, alpha: float, g: float) -> float:
    from scipy import special

    nu, spread = n - 1, math.sqrt(n * g)
    shifts = np.linspace(-7 * spread, 7 * spread, 241)
    # density of t at each non-centrality, up to a factor: the integral over the sd by a grid
    at = shifts * t / math.sqrt(nu + t * t)
    y = np.linspace(0.0, math.sqrt(nu) + 10.0 + max(0.0, float(at.max())), 300)[1:]
    kernel = nu * np.log(y)[None, :] - 0.5 * (y[None, :] - at[:, None]) ** 2
    peak = kernel.max(axis=1)
    log_density = peak + np.log(np.exp(kernel - peak[:, None]).sum(axis=1)) - 0.5 * shifts**2 * nu / (nu + t * t)
    log_weight = log_density - 0.5 * (shifts / spread) ** 2
    weight = np.exp(log_weight - log_weight.max())
    critical = t_quantile(nu, 1 - alpha / 2)
    near = np.clip(shifts, -6.0, critical + 40.0)  # beyond them the power is 0 or 1 to every digit
    power = 1.0 - special.nctdtr(nu, near, critical)
    return float((weight * power).sum() / weight.sum())
