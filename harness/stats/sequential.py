"""Anytime-valid evidence: the right-Haar t-test e-process and its interval.

Model: differences d_i ~ N(σδ, σ²), H0: δ = 0. Under H1 δ ~ N(0, g); σ has the right-Haar prior 1/σ, so E_n depends
on the differences only through the t statistic. E_n is a likelihood ratio of t statistics, a martingale under
H0, and Ville's inequality gives P(E_n ≥ 1/α for any n) ≤ α whatever the stopping rule.

Sources: Lindon, Ham, Tingley & Bojinov (2022, arXiv 2210.08589); Pérez-Ortiz, Lardy, de Heide & Grünwald (2024);
Wang & Ramdas (2025), anytime-valid t-tests.

Limits. It assumes normal differences: on exponential ones 12 % of null paths cross 1/.05 in 30 looks, and the
sign-flip check filters almost none of these, since nearly always all differences so far have one sign. The
martingale property holds for stopping rules that see the data through t only; a rule that also looks at the raw
scale can push the mean of E at its stopping time slightly above 1 (1.035 by the second seed). `anytime_p` is valid
under every rule; `e_from_p` of it is an e-value under every rule.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from harness.stats.records import Floats, Inference, as_probabilities, as_values, check_alpha

DEFAULT_G = 0.5
"""The prior variance for which there is a table (`harness.stats.capped`)."""


def _check_g(g: float) -> None:
    if not 0.0 < g < math.inf:
        raise ValueError(f"g: {g!r} is not a positive finite number (prior variance of the standardised effect)")


def _running(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Running count, mean and squared deviations along the last axis (Welford)."""
    counts = np.arange(1, values.shape[-1] + 1, dtype=np.float64)
    means, squares = np.empty_like(values), np.empty_like(values)
    mean, square = np.zeros(values.shape[:-1]), np.zeros(values.shape[:-1])
    with np.errstate(invalid="ignore"):
        for i in range(values.shape[-1]):
            step = values[..., i] - mean
            mean = mean + step / (i + 1)
            square = square + step * (values[..., i] - mean)
            means[..., i], squares[..., i] = mean, square
    return counts, means, squares


def log_e_of_moments(n: ArrayLike, mean: ArrayLike, squares: ArrayLike, g: float) -> Floats:
    """log E of n differences from their mean and squared deviations.

    Arrays broadcast. log E_n = -½ log(1+ng) + (n/2) [log(1 + t²/ν) - log(1 + t²/(ν(1+ng)))], ν = n - 1, written with
    the sum of squares S = νs² and n·mean², which stays finite for equal differences: E_n is at most (1+ng)^((n-1)/2).
    """
    n, mean, squares = np.asarray(n, dtype=np.float64), np.asarray(mean), np.asarray(squares)
    with np.errstate(divide="ignore", invalid="ignore"):
        signal = n * mean * mean
        # every value zero: the ratio is 0/0 and t is 0 by rule
        ratio = np.log(squares + signal) - np.log(squares + signal / (1 + n * g))
        ratio = np.where(squares + signal == 0.0, 0.0, ratio)
        return -0.5 * np.log1p(n * g) + n / 2 * ratio


def half_width_of_moments(n: ArrayLike, squares: ArrayLike, g: float, log_threshold: float) -> Floats:
    """Half-width of the confidence sequence from n and squared deviations.

    s/√n · √(ν(c-1) / (1 - c/(1+ng))), c = (threshold·√(1+ng))^(2/n), where the threshold is the E that rejects: 1/α
    for unlimited interim analyses. Infinite while c ≥ 1+ng (at 1/.05 and g = 2: the first three seeds).
    """
    n, squares = np.asarray(n, dtype=np.float64), np.asarray(squares)
    log_c = (2 / n) * (0.5 * np.log1p(n * g) + log_threshold)
    room = -np.expm1(log_c - np.log1p(n * g))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(room > 0, np.expm1(log_c) / room, np.inf)
        return np.where(np.isinf(ratio), np.inf, np.sqrt(squares / n) * np.sqrt(ratio))


def log_e_process(differences: ArrayLike, g: float = DEFAULT_G) -> Floats:
    """log E_k after each k = 1..n seeds, along the last axis; leading axes are independent paths.

    E_1 = 1. All differences zero: t = 0. From an infinite or NaN difference on: -inf, no further evidence (drop
    missing pairs first, as the other functions here do).
    """
    _check_g(g)
    values = np.asarray(differences, dtype=np.float64)
    if values.shape[-1] == 0:
        return values.copy()
    with np.errstate(invalid="ignore"):
        magnitude = np.max(np.where(np.isfinite(values), np.abs(values), 0.0), axis=-1, keepdims=True)
    # a power of two scales without rounding, so a longer path repeats the moments of its prefixes
    values = np.ldexp(values, -np.frexp(magnitude)[1])
    n, mean, square = _running(values)
    log_e = log_e_of_moments(n, mean, square, g)
    log_e[..., 0] = np.where(np.isfinite(values[..., 0]), 0.0, -np.inf)
    return np.where(np.isfinite(mean) & np.isfinite(square), log_e, -np.inf)


def _observed(differences: ArrayLike) -> tuple[Floats, int]:
    values = as_values(differences)
    kept = values[~np.isnan(values)]
    return kept, len(values) - len(kept)


def log_e_value(differences: ArrayLike, g: float = DEFAULT_G) -> float:
    """log of `e_value`, which overflows beyond some 280 seeds of strong evidence."""
    kept, _ = _observed(differences)
    _check_g(g)
    return float(log_e_process(kept, g)[-1]) if len(kept) else 0.0


def e_value(differences: ArrayLike, g: float = DEFAULT_G) -> float:
    """E_n against "no mean difference" after all n seeds: 1/α or more rejects at level α.

    n = 0 or 1: 1 (no evidence). An infinite difference: 0. NaN pairs are dropped. The running maximum
    is not an e-value.
    """
    log_e = log_e_value(differences, g)
    return math.exp(log_e) if log_e < 709.0 else math.inf


def anytime_p(differences: ArrayLike, g: float = DEFAULT_G) -> float:
    """Two-sided p value valid under every stopping rule.

    min over k ≤ n of 1/E_k, at most 1. The order of the differences is the order in which the seeds came. n = 0 or 1:
    1. NaN pairs are dropped; an infinite difference adds nothing, and what was shown before it stays.
    """
    kept, _ = _observed(differences)
    _check_g(g)
    if len(kept) == 0:
        return 1.0
    return math.exp(-max(0.0, float(np.max(log_e_process(kept, g)))))


def interval_half_widths(
    differences: ArrayLike, g: float = DEFAULT_G, alpha: float = 0.05, *, log_threshold: float | None = None
) -> tuple[Floats, Floats]:
    """Running mean and half-width of the 1 - alpha confidence sequence.

    After each seed, along the last axis.
    `log_threshold` is the log E that rejects, -log α (Ville) unless given. Infinite from an infinite or NaN difference
    on. Leading axes are independent paths.
    """
    _check_g(g)
    check_alpha(alpha)
    values = np.asarray(differences, dtype=np.float64)
    n, mean, square = _running(values)
    half = half_width_of_moments(n, square, g, -math.log(alpha) if log_threshold is None else log_threshold)
    return mean, np.where(np.isfinite(mean) & np.isfinite(square), half, np.inf)


def anytime_interval(
    differences: ArrayLike, g: float = DEFAULT_G, alpha: float = 0.05, *, running: bool = False
) -> Inference:
    """The mean difference, an interval valid at every n, and `anytime_p`.

    The interval after the last seed, the inversion of E_n: it excludes 0 exactly when E_n ≥ 1/α. It may widen
    again; with `running` it is the intersection of all intervals so far, equally valid and never wider, so that
    an excluded value stays excluded (an empty set, low > high, is evidence against the model).
    """
    kept, dropped = _observed(differences)
    _check_g(g)
    check_alpha(alpha)
    if len(kept) == 0:
        return Inference(math.nan, -math.inf, math.inf, 1.0, 0, dropped)
    mean, half = interval_half_widths(kept, g, alpha)
    with np.errstate(invalid="ignore"):
        lows = np.where(np.isinf(half), -np.inf, mean - half)
        highs = np.where(np.isinf(half), np.inf, mean + half)
        estimate = float(np.sum(kept) if np.isinf(kept).any() else mean[-1])
    low = float(np.max(lows)) if running else float(lows[-1])
    high = float(np.min(highs)) if running else float(highs[-1])
    return Inference(estimate, low, high, anytime_p(kept, g), len(kept), dropped)


def e_from_p(p: ArrayLike) -> Floats:
    """An e-value for each p value by the mixture of power calibrators.

    (1 - p + p·log p) / (p·(log p)²). For a p value that is valid at any time the result may be used at any stopping
    time. p = 1 gives ½, p = 0 gives inf, NaN stays NaN. Source: Vovk & Wang (2021), eq. 2.
    """
    values = np.atleast_1d(as_probabilities(p))
    # the closed form loses its digits near p = 1, where a Taylor series holds: with u = -log p it is
    # (e^u - 1 - u) / u², the exponential series shifted by two
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        u = -np.log(values)
        series = 0.5 + u / 6 + u * u / 24 + u**3 / 120
        closed = (np.expm1(u) - u) / (u * u)
    answer = np.where(u < 1e-3, series, closed)
    return np.where(values == 0.0, np.inf, answer)
