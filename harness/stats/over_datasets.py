"""Tests and descriptions whose unit is the data set.

A method's mean on a data set is one value; pairs of methods are compared by signed ranks, which need no common scale
of the data sets (Demšar 2006). Holm corrects the pairs (`harness.stats.multiplicity`), not Nemenyi, whose answer for
two methods depends on the others (Benavoli 2016).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.stats.records import Floats, Inference, Interval, as_values, check_alpha

EXACT = 200
"""Most values whose exact null distribution is computed; above it the normal limit has the same p to 1e-3."""
FEWEST_RANKED = 6
"""Fewest data sets whose exact two-sided p can reach .05: 2 / 2^6."""


def signed_rank(differences: ArrayLike, alpha: float = 0.05) -> Inference:
    """Exact Wilcoxon signed-rank test with the Hodges–Lehmann estimate and its interval.

    The two-sided p is exact given the ranks, with ties too: each sign is equally likely. Zeros are ranked and then
    dropped (Pratt 1959), so that data sets without a difference count against one. The interval is of Walsh averages
    and inverts the test without ties; an infinite difference has a rank and no size. Sources: Wilcoxon (1945), Hodges
    and Lehmann (1963).
    """
    check_alpha(alpha)
    values = as_values(differences)
    kept = values[~np.isnan(values)]
    n, dropped = len(kept), len(values) - len(kept)
    if n == 0:
        return Inference(math.nan, -math.inf, math.inf, 1.0, 0, dropped)
    p = _exact_p(_doubled_ranks(kept), kept)
    if not np.isfinite(kept).all():
        middle = float(np.median(kept))
        return Inference(0.0 if math.isnan(middle) else middle, -math.inf, math.inf, p, n, dropped)
    walsh = np.sort((kept[:, None] + kept[None, :])[np.triu_indices(n)] / 2)
    beyond = _quantile(n, alpha)
    low, high = (-math.inf, math.inf) if beyond is None else (float(walsh[beyond]), float(walsh[-1 - beyond]))
    return Inference(float(np.median(walsh)), low, high, p, n, dropped)


def _doubled_ranks(values: Floats) -> NDArray[np.int64]:
    """Twice the mid-ranks of the magnitudes, which are whole numbers."""
    magnitudes = np.abs(values)
    ordered = np.sort(magnitudes)
    below, to = np.searchsorted(ordered, magnitudes, "left"), np.searchsorted(ordered, magnitudes, "right")
    return np.asarray(below + to + 1, dtype=np.int64)


def _exact_p(doubled: NDArray[np.int64], values: Floats) -> float:
    ranks = doubled[values != 0]
    if not len(ranks):
        return 1.0
    up = int(ranks[values[values != 0] > 0].sum())
    least = min(up, int(ranks.sum()) - up)
    if len(ranks) > EXACT:
        sd = math.sqrt(float((ranks.astype(np.float64) ** 2).sum())) / 2
        return math.erfc(max(0.0, (ranks.sum() / 2 - least - 1) / sd) / math.sqrt(2))
    return min(1.0, 2 * float(_null(tuple(sorted(ranks.tolist())))[: least + 1].sum()))


@lru_cache(maxsize=256)
def _null(ranks: tuple[int, ...]) -> Floats:
    """Probability of each sum of ranks with a positive sign."""
    chance = np.zeros(sum(ranks) + 1)
    chance[0] = 1.0
    for rank in ranks:
        chance[rank:] += chance[:-rank].copy()
        chance /= 2
    return chance


def _quantile(n: int, alpha: float) -> int | None:
    """Walsh averages beyond each end of the interval; None where no interval has this level."""
    if n > EXACT:
        from scipy import special

        spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return max(0, int(n * (n + 1) / 4 + special.ndtri(alpha / 2) * spread))
    fitting = int(np.searchsorted(np.cumsum(_null(tuple(range(1, n + 1)))), alpha / 2, "right"))
    return fitting - 1 if fitting else None


def share_better(differences: ArrayLike, alpha: float = 0.05) -> Interval:
    """P(A > B) over pairs, with its 1 - alpha interval; ties count half.

    Clopper and Pearson (1934) by the beta distribution, which takes half wins too: at least the nominal coverage.
    Bouthillier (2021, 2103.03098) calls a gain meaningful where the interval lies above .5 and reaches .75.
    """
    from scipy import special

    check_alpha(alpha)
    values = as_values(differences)
    kept = values[~np.isnan(values)]
    n = len(kept)
    if not n:
        return Interval(math.nan, 0.0, 1.0, 0, len(values))
    won = float(np.count_nonzero(kept > 0) + np.count_nonzero(kept == 0) / 2)
    low = float(special.betaincinv(won, n - won + 1, alpha / 2)) if won > 0 else 0.0
    high = float(special.betaincinv(won + 1, n - won, 1 - alpha / 2)) if won < n else 1.0
    return Interval(won / n, low, high, n, len(values) - n)


def practical_shares(
    differences: ArrayLike, smallest: float, *, draws: int = 4_000, seed: int = 0
) -> tuple[float, float, float]:
    """Posterior probabilities of a practical loss, neither, or gain.

    The Bayesian signed-rank test with a region of practical equivalence of ± `smallest`: Dirichlet weights of the
    differences and of one prior observation at 0 with weight ½ (Benavoli 2017, 4.2). Raises ValueError for an infinite
    difference or a `smallest` that is not positive.
    """
    values = as_values(differences)
    values = np.append(0.0, values[~np.isnan(values)])
    if not np.isfinite(values).all() or not smallest > 0:
        raise ValueError("finite differences and a positive smallest difference are needed")
    weights = np.random.default_rng(seed).dirichlet([0.5, *np.ones(len(values) - 1)], draws)
    sums = values[:, None] + values[None, :]
    left, right = ((weights @ mask * weights).sum(axis=1) for mask in (sums < -2 * smallest, sums > 2 * smallest))
    largest = np.argmax([left, 1 - left - right, right], axis=0)
    loss, neither, gain = (float(np.mean(largest == place)) for place in range(3))
    return loss, neither, gain


@dataclass(frozen=True, slots=True, eq=False)
class AverageRanks:
    """Average ranks of methods (1 = best) and Friedman's p of "all are alike"."""

    ranks: Floats
    p: float
    n: int


def average_ranks(scores: ArrayLike) -> AverageRanks:
    """Friedman's test of data sets × methods, larger = better; rows with a NaN are left out.

    Chi-squared with the correction for ties. Below three methods or two data sets p is 1. Source: Friedman (1937).
    """
    from scipy import stats as scipy_stats

    table = np.asarray(scores, dtype=np.float64)
    table = table[~np.isnan(table).any(axis=1)]
    n, methods = table.shape
    if n == 0:
        return AverageRanks(np.full(methods, math.nan), 1.0, 0)
    ranks = scipy_stats.rankdata(-table, axis=1).mean(axis=0)
    apart = methods >= 3 and n >= 2 and bool((table != table[:, :1]).any())
    p = float(scipy_stats.friedmanchisquare(*table.T).pvalue) if apart else 1.0
    return AverageRanks(np.asarray(ranks), p, n)


def interquartile_mean(strata: list[Floats], alpha: float = 0.05, *, draws: int = 2_000, seed: int = 0) -> Interval:
    """Mean of the middle half of all runs, with its bootstrap interval.

    Percentiles; runs are drawn within each data set, so it is of these data sets (Agarwal 2021, 2108.13264): a
    description, not a test. With one run in every stratum the interval is the whole line.
    """
    from scipy import stats as scipy_stats

    check_alpha(alpha)
    runs = np.concatenate(strata)
    estimate = float(scipy_stats.trim_mean(runs, 0.25))
    if max(map(len, strata)) < 2:
        return Interval(estimate, -math.inf, math.inf, len(runs), 0)
    rng = np.random.default_rng(seed)
    drawn = [stratum[rng.integers(0, len(stratum), (draws, len(stratum)))] for stratum in strata]
    means = scipy_stats.trim_mean(np.concatenate(drawn, axis=1), 0.25, axis=1)
    low, high = np.quantile(means, [alpha / 2, 1 - alpha / 2])
    return Interval(estimate, float(low), float(high), len(runs), 0)


def performance_profile(scores: ArrayLike, levels: ArrayLike) -> Floats:
    """Share of data sets on which a method reaches a level (levels × methods).

    Scores (data sets × methods, larger = better) are scaled within a data set from its worst (0) to its best method
    (1). Source: Agarwal (2021, 2108.13264), after Dolan and Moré (2002).
    """
    table = np.asarray(scores, dtype=np.float64)
    least, most = table.min(axis=1, keepdims=True), table.max(axis=1, keepdims=True)
    scaled = np.where(most > least, (table - least) / np.where(most > least, most - least, 1.0), 1.0)
    return np.mean(scaled[None] >= np.asarray(levels)[:, None, None] - 1e-12, axis=1)
