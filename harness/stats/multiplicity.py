"""Corrections for families of tests, and tests over several benchmarks.

p values go in and adjusted p values come out in the same order, to be compared with alpha directly. A NaN is
a member of the family without a test yet: it counts as a member with no evidence (p = 1) and is
returned as NaN, so a family committed before the results cannot shrink because trials failed. An empty family gives
an empty array. p outside [0, 1] raises ValueError.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.stats.paired import t_quantile, t_tail
from harness.stats.records import Floats, TwoWayInference, as_probabilities, check_alpha


def holm(p: ArrayLike) -> Floats:
    """Holm's (1979) step-down adjusted p values: max over j ≤ i of (m - j + 1)·p_(j), at most 1.

    Controls the family-wise error under any dependence.
    """
    ranked, order, values = _ranked(p)
    factors = np.arange(len(values), 0, -1)
    return _in_input_order(np.maximum.accumulate(np.minimum(ranked * factors, 1.0)), order, values)


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """Benjamini-Hochberg adjusted p values; controls the false discovery rate.

    min over j ≥ i of m·p_(j)/j, at most 1. Assumes independent tests or positive regression dependence (comparisons
    that share a baseline are of this kind one-sidedly). Source: Benjamini & Hochberg (1995); Benjamini &
    Yekutieli (2001).
    """
    ranked, order, values = _ranked(p)
    steps = ranked * len(values) / np.arange(1, len(values) + 1)
    adjusted = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1.0)
    return _in_input_order(adjusted, order, values)


def _ranked(p: ArrayLike) -> tuple[Floats, NDArray[np.intp], Floats]:
    """Ascending p values (no test: 1), their order, and the input values."""
    values = as_probabilities(p)
    order = np.argsort(values, kind="stable")
    return np.where(np.isnan(values), 1.0, values)[order], order, values


def _in_input_order(adjusted: Floats, order: NDArray[np.intp], values: Floats) -> Floats:
    answer = np.empty_like(values)
    answer[order] = adjusted
    answer[np.isnan(values)] = np.nan
    return answer


def partial_conjunction(p: ArrayLike, k: int) -> float:
    """p of "at least k of the m benchmarks show the effect".

    (m - k + 1)·p_(k), at most 1. Valid under any dependence. k = m is the largest p (Berger 1982), k = 1 Bonferroni.
    NaN (no test) counts as 1; fewer than k tests cannot show it: 1. Raises ValueError for k < 1. Source: Benjamini &
    Heller (2008).
    """
    if k < 1:
        raise ValueError(f"k: {k!r}; valid: 1 to the number of benchmarks")
    probabilities = as_probabilities(p)
    values = np.sort(np.where(np.isnan(probabilities), 1.0, probabilities))
    if k > len(values):
        return 1.0
    return min(1.0, float((len(values) - k + 1) * values[k - 1]))


def two_way_interval(matrix: ArrayLike, alpha: float = 0.05) -> TwoWayInference:
    """Mean and interval of differences where seeds and items are samples.

    `matrix` is seeds × items, with crossed random effects d_si = μ + a_s + b_i + e_si. The variance of the mean is
    (MS_seed + MS_item - MS_e)/(S·I), at least the larger of MS_seed and MS_item over S·I; Satterthwaite degrees of
    freedom from all three mean squares, at least those of the shorter side. Measured coverage of the nominal 95 %: .92
    or more at three seeds, .94 at five. Items that are NaN under every seed are left out, then seeds with any NaN are
    dropped and counted.

    Fewer than two seeds or items, or an infinite value: whole line, p = 1. A constant matrix: that single value
    with p = 1 when it is zero, else the whole line, since neither source shows any noise.
    Source: Searle, Casella & McCulloch (1992), ch. 4; Satterthwaite (1946). ValueError unless two-dimensional.
    """
    check_alpha(alpha)
    values = np.asarray(matrix, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"matrix: expected seeds × items, got shape {values.shape}")
    values = values[:, ~np.isnan(values).all(axis=0)] if len(values) else values
    kept = values[~np.isnan(values).any(axis=1)]
    dropped = len(values) - len(kept)
    seeds, items = kept.shape
    grand = float(kept.mean()) if kept.size else math.nan
    if seeds < 2 or items < 2 or not np.isfinite(kept).all() or float(np.ptp(kept)) == 0.0:
        return TwoWayInference(grand, -math.inf, math.inf, 1.0, seeds, items, math.nan, math.nan, dropped)
    by_seed, by_item = kept.mean(axis=1), kept.mean(axis=0)
    ms_seed = items * float(np.var(by_seed, ddof=1))
    ms_item = seeds * float(np.var(by_item, ddof=1))
    residual = kept - by_seed[:, None] - by_item[None, :] + grand
    ms_error = float(np.sum(residual**2)) / ((seeds - 1) * (items - 1))
    total = max(ms_seed + ms_item - ms_error, ms_seed, ms_item)
    if total <= 1e-18 * float(np.max(np.abs(kept))) ** 2:
        return TwoWayInference(grand, -math.inf, math.inf, 1.0, seeds, items, 0.0, 0.0, dropped)
    spread = ms_seed**2 / (seeds - 1) + ms_item**2 / (items - 1) + ms_error**2 / ((seeds - 1) * (items - 1))
    df = max(total**2 / spread, min(seeds, items) - 1.0)
    error = math.sqrt(total / (seeds * items))
    half = t_quantile(df, 1 - alpha / 2) * error
    p = min(1.0, 2 * t_tail(df, abs(grand / error)))
    seed_sd = math.sqrt(max(ms_seed - ms_error, 0.0) / items)
    item_sd = math.sqrt(max(ms_item - ms_error, 0.0) / seeds)
    return TwoWayInference(grand, grand - half, grand + half, p, seeds, items, seed_sd, item_sd, dropped)


def overlapping_two_way(matrix: ArrayLike, alpha: float = 0.05) -> TwoWayInference:
    """Mean over seeds of each seed's item mean, with a two-way interval.

    An entry is NaN where an item is not in a seed's test set.

    Crossed random effects d_si = μ + a_s + b_i + e_si, unbalanced. The three variances solve the moment equations of
    the sums of squares within seeds, within items and in all; the variance of the mean is σ_a²/S + σ_b² Σ_i w_i² +
    σ_e² Σ_si w_si² with w_si = 1/(S·n_s), at least that of the seeds' means. Satterthwaite degrees of freedom, at
    least S − 1. Equal to :func:`two_way_interval` where every seed has every item.

    Fewer than two seeds or items, no item under two seeds, no spread, or an infinite value: whole line, p = 1.
    Source: Gao & Owen, EJS 11 (2017), section 3. ValueError unless two-dimensional.
    """
    check_alpha(alpha)
    values = np.asarray(matrix, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"matrix: expected seeds × items, got shape {values.shape}")
    there = ~np.isnan(values)
    values, there = values[:, there.any(axis=0)], there[:, there.any(axis=0)]
    kept = np.asarray(there.any(axis=1))
    values, there, dropped = values[kept], there[kept], int(np.count_nonzero(~kept))
    seeds, items = values.shape
    by_seed = np.nanmean(values, axis=1) if values.size else np.zeros(0)
    mean = float(by_seed.mean()) if seeds else math.nan
    nothing = TwoWayInference(mean, -math.inf, math.inf, 1.0, seeds, items, math.nan, math.nan, dropped)
    if seeds < 2 or items < 2 or np.isinf(values).any() or there.sum() == items:
        return nothing
    seed, item, error = _variances(values, there, by_seed)
    weights = there / (seeds * there.sum(axis=1, keepdims=True))
    of_seeds = float(np.var(by_seed, ddof=1)) / seeds
    of_items = item * float(np.sum(weights.sum(axis=0) ** 2))
    variance = max(seed / seeds + of_items + error * float(np.sum(weights**2)), of_seeds)
    if variance <= 1e-18 * float(np.nanmax(np.abs(values))) ** 2:
        return nothing
    beyond = max(variance - of_seeds, 0.0)
    df = max(variance**2 / (of_seeds**2 / (seeds - 1) + beyond**2 / (items - 1)), seeds - 1.0)
    half = t_quantile(df, 1 - alpha / 2) * math.sqrt(variance)
    p = min(1.0, 2 * t_tail(df, abs(mean) / math.sqrt(variance)))
    return TwoWayInference(mean, mean - half, mean + half, p, seeds, items, math.sqrt(seed), math.sqrt(item), dropped)


def _variances(values: Floats, there: NDArray[np.bool_], by_seed: Floats) -> tuple[float, float, float]:
    """σ² of seeds, items and errors by moments, none below 0."""
    a_seed, an_item, all_of = there.sum(axis=1), there.sum(axis=0), float(there.sum())
    filled = np.where(there, values, 0.0)
    by_item = filled.sum(axis=0) / an_item
    within_seeds = float(np.sum(np.where(there, values - by_seed[:, None], 0.0) ** 2))
    within_items = float(np.sum(np.where(there, values - by_item[None, :], 0.0) ** 2))
    in_all = all_of * float(np.sum(np.where(there, values - filled.sum() / all_of, 0.0) ** 2))
    equations = np.array(
        [
            [0.0, all_of - len(a_seed), all_of - len(a_seed)],
            [all_of - len(an_item), 0.0, all_of - len(an_item)],
            [all_of**2 - float(np.sum(a_seed**2)), all_of**2 - float(np.sum(an_item**2)), all_of**2 - all_of],
        ]
    )
    seed, item, error = np.linalg.solve(equations, np.array([within_seeds, within_items, in_all]))
    return max(float(seed), 0.0), max(float(item), 0.0), max(float(error), 0.0)
