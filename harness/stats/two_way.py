"""Two-way intervals for seeds with overlapping test sets from one pool."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.stats.paired import t_quantile, t_tail
from harness.stats.records import Floats, TwoWayInference, check_alpha


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
