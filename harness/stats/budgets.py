"""Tuning budgets: the expected best of B random configurations and its uncertainty.

Values are scores with up = better (negate losses), one a configuration. NaN is a configuration that was not run:
dropped and counted. A configuration that diverged is a result: give it the worst score the metric has, or -inf.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.stats.records import BudgetBand, Floats, as_values, check_alpha


def _check_budget(budget: int) -> None:
    if budget != int(budget) or budget < 1:
        raise ValueError(f"budget: {budget!r}; valid: whole numbers from 1")


def _weights(n: int, budget: int) -> Floats:
    """Probability of each rank i to be best of a random B-subset: C(i-1, B-1) / C(n, B)."""
    from scipy import special

    ranks = np.arange(budget, n + 1, dtype=np.float64)
    log_subsets = special.gammaln(ranks) - special.gammaln(budget) - special.gammaln(ranks - budget + 1)
    log_all = special.gammaln(n + 1.0) - special.gammaln(budget + 1.0) - special.gammaln(n - budget + 1.0)
    weights = np.zeros(n)
    weights[budget - 1 :] = np.exp(log_subsets - log_all)
    return weights / weights.sum()


def expected_best(values: ArrayLike, budget: int, report: ArrayLike | None = None) -> float:
    """Unbiased estimate of the expected best of `budget` random configurations.

    The U-statistic Σ C(i-1, B-1)/C(N, B) · v_(i), the mean over all B-subsets of their best; the plug-in with
    replacement (Dodge 2019) is biased low. With `report` (test scores, same order) the configuration that is best
    by `values` (validation) is scored there; equal validation scores share their mean test score.

    NaN when budget > N: no unbiased estimate exists. -inf values that a subset may have as its best make it -inf.
    Raises ValueError for a budget below 1. Source: Hoeffding (1948); Tang et al. (2020, arXiv 2004.13705).
    """
    _check_budget(budget)
    scores = as_values(values, "values")
    reported = scores if report is None else as_values(report, "report")
    if reported.shape != scores.shape:
        raise ValueError(f"report: {len(reported)} given for {len(scores)} values")
    kept = ~(np.isnan(scores) | np.isnan(reported))
    scores, reported = scores[kept], reported[kept]
    if budget > len(scores):
        return math.nan
    order = np.argsort(scores, kind="stable")
    ranked = reported[order]
    if report is not None:
        _, group = np.unique(scores[order], return_inverse=True)
        ranked = (np.bincount(group, ranked) / np.bincount(group))[group]
    weights = _weights(len(ranked), int(budget))
    used = weights > 0
    with np.errstate(invalid="ignore"):
        return float(np.sum(weights[used] * ranked[used]))


def _cdf_margin(n: int, alpha: float) -> float:
    """Half-width of a simultaneous 1 - alpha band for a CDF: exact Smirnov bounds at alpha/2."""
    from scipy import special

    return min(1.0, float(special.smirnovi(n, alpha / 2))) if n else 1.0


def _prepare(values: ArrayLike, budgets: Sequence[int] | None) -> tuple[Floats, int, NDArray[np.int64]]:
    scores = as_values(values, "values")
    kept = np.sort(scores[~np.isnan(scores)])
    chosen = list(range(1, len(kept) + 1)) if budgets is None else list(budgets)
    for budget in chosen:
        _check_budget(budget)
    return kept, len(scores) - len(kept), np.asarray(chosen, dtype=np.int64)


def expected_best_band(
    values: ArrayLike,
    alpha: float = 0.05,
    budgets: Sequence[int] | None = None,
    support: tuple[float, float] = (-math.inf, math.inf),
) -> BudgetBand:
    """`expected_best` over budgets with a simultaneous band of the curve.

    Budgets default to 1..N. A Dvoretzky-Kiefer-Wolfowitz band for the distribution of scores (its exact finite-sample
    constant) carried through E[best of B] = ∫ x dF^B. The mass that the band leaves beyond the data sits at the ends of
    `support`, the metric's range (0 to 100 for an accuracy): with an end infinite that side of the band is infinite, as
    a mean without a known range has no bound; `median_best_band` needs none. Estimate NaN where B > N.

    Assumes independent random configurations; not for TPE. Raises ValueError when values leave `support`.
    Source: Massart (1990); Lourie, Cho & He (2023, arXiv 2311.09480).
    """
    check_alpha(alpha)
    ranked, dropped, sizes = _prepare(values, budgets)
    floor, ceiling = support
    if not floor < ceiling:
        raise ValueError(f"support: {support!r}; valid: (lowest, highest) score the metric can take")
    if len(ranked) and (ranked[0] < floor or ranked[-1] > ceiling):
        raise ValueError(f"support: values from {ranked[0]} to {ranked[-1]} leave {support!r}")
    n = len(ranked)
    margin = _cdf_margin(n, alpha)
    steps = np.arange(n + 1) / n if n else np.zeros(1)
    pessimist = np.concatenate([np.minimum(steps + margin, 1.0), [1.0]])
    optimist = np.concatenate([np.maximum(steps - margin, 0.0), [1.0]])
    points = np.concatenate([[floor], ranked, [ceiling]])
    estimate = np.array([expected_best(ranked, int(b)) for b in sizes])
    low = np.array([_mean_of_best(points, pessimist, int(b)) for b in sizes])
    high = np.array([_mean_of_best(points, optimist, int(b)) for b in sizes])
    # near B = N the U-statistic can leave a band built on draws with replacement; a wider band still covers
    return BudgetBand(sizes, estimate, np.fmin(low, estimate), np.fmax(high, estimate), n, dropped)


def _mean_of_best(points: Floats, cdf: Floats, budget: int) -> float:
    """Mean of the best of B draws: ∫ x dF^B with P(X ≤ points[i]) = cdf[i]."""
    mass = np.diff(cdf**budget, prepend=0.0)
    used = mass > 0
    with np.errstate(invalid="ignore"):
        return float(np.sum(points[used] * mass[used]))


def median_best_band(values: ArrayLike, alpha: float = 0.05, budgets: Sequence[int] | None = None) -> BudgetBand:
    """Median of the best of B configurations with a simultaneous band; any range of the metric.

    The 2^(-1/B) quantile of the scores; its band inverts that of the distribution. -inf or inf where N configurations
    cannot bound the quantile. Source: Lourie, Cho & He (2023, arXiv 2311.09480).
    """
    check_alpha(alpha)
    ranked, dropped, sizes = _prepare(values, budgets)
    n = len(ranked)
    margin = _cdf_margin(n, alpha)
    levels = 0.5 ** (1.0 / sizes)
    points = np.concatenate([[-math.inf], ranked, [math.inf]])

    def quantile(shift: float) -> Floats:
        ranks = np.ceil((levels + shift) * n - 1e-9).astype(np.int64)
        return points[np.clip(ranks, 0, n + 1)]

    estimate = quantile(0.0) if n else np.full(len(sizes), math.nan)
    return BudgetBand(sizes, estimate, quantile(-margin), quantile(margin), n, dropped)
