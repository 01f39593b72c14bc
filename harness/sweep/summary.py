"""Summary of a sweep: chosen values, budget curves, importances."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness import stats
from harness.plan.tuning import Point, Tuning, best_point
from harness.suite.models import Metric
from harness.sweep.study import Drawing, worst_value

ALPHA = 0.05
RANGES = {"percent": (0.0, 100.0), "fraction": (0.0, 1.0), "BLEU": (0.0, 100.0), "chrF": (0.0, 100.0)}
"""The values that a metric of a unit can take."""


def summarise(tuning: Tuning, points: Mapping[str, Sequence[Point]], budget: int) -> dict[str, Any]:
    """Chosen values, expected best-of-B curves with simultaneous bands (random draws only), their difference,
    best so far, importances, and whether the budgets were equal.

    Budgets are equal where every arm has ``budget`` tried configurations, each with all of its rungs unless it was
    pruned or diverged.
    """
    tried = {arm: list(points[arm])[:budget] for arm in tuning.arms}
    values = {arm: told_values(tuning, tried[arm]) for arm in tuning.arms}
    message = {arm: sum(point.status != "failed" for point in tried[arm]) for arm in tuning.arms}
    whole = all(len(p.trial_ids) >= tuning.seeds for item in tried.values() for p in item if p.status == "told")
    sign = _sign(tuning)
    summary: dict[str, Any] = {
        "chosen": {arm: best_point(tuning, tried[arm]) for arm in tuning.arms},
        "told": message,
        "rungs": {arm: sum(len(point.trial_ids) for point in tried[arm]) for arm in tuning.arms},
        "equal": whole and all(count == budget for count in message.values()),
        "best_so_far": {arm: (np.fmax.accumulate(sign * v) * sign).tolist() for arm, v in values.items()},
        "importances": {arm: importances(tuning, arm, tried[arm]) for arm in tuning.arms},
    }
    if tuning.sampler == "random" and min(len(v) for v in values.values()) >= 2:
        summary |= budget_curves({arm: sign * v for arm, v in values.items()}, sign, _support(tuning, sign))
    return summary


def _sign(tuning: Tuning) -> float:
    return 1.0 if tuning.better == "higher" else -1.0


def _support(tuning: Tuning, sign: float) -> tuple[float, float]:
    """The range of the metric, up = better; an end that is not known is infinite."""
    metrics: Mapping[str, Metric] = tuning.suite.benchmarks[tuning.benchmark].model.metrics
    if tuning.selection_metric not in metrics:
        return -math.inf, math.inf
    metric = metrics[tuning.selection_metric]
    low, high = sorted(sign * end for end in RANGES.get(metric.unit, (-math.inf, math.inf)))
    return low, sign * metric.perfect if metric.perfect is not None else high


def told_values(tuning: Tuning, points: Sequence[Point]) -> np.ndarray:
    """Values in the order of the draws; a diverged one counts as the worst finite value."""
    worst = worst_value(points, tuning.better == "higher")
    message = [worst if p.status == "diverged" else p.value for p in points if p.status != "failed"]
    return np.asarray([math.nan if value is None else value for value in message], dtype=float)


def budget_curves(values: Mapping[str, np.ndarray], sign: float, support: tuple[float, float]) -> dict[str, Any]:
    """Return the arms' curves over B = 1…N and their differences.

    ``values``: up = better; the curves are in the metric's own direction again, differences positive where the arm is
    better than the first. Where the metric's range is known, ``low`` and ``high`` are the simultaneous band of the
    expected best (``band: expected``), else of the median best, which needs no range (``band: median``). The band of a
    difference holds over all B at once too: it is made of two bands at half the error each.
    """
    curves = {arm: _curve(item, sign, support) for arm, item in values.items()}
    first, *others = list(values)
    budgets = range(1, min(map(len, values.values())) + 1)
    halves = {arm: _bands(item, support, ALPHA / 2, budgets) for arm, item in values.items()}
    best = {arm: [stats.expected_best(item, b) for b in budgets] for arm, item in values.items()}
    differences, bands = {}, {}
    for arm in others:
        pair = f"{arm} − {first}"
        differences[pair] = [item - other for item, other in zip(best[arm], best[first], strict=True)]
        low, high = halves[arm].low - halves[first].high, halves[arm].high - halves[first].low
        bands[pair] = {"low": low.tolist(), "high": high.tolist()}
    return {"curves": curves, "differences": differences, "difference_bands": bands}


def _bands(values: np.ndarray, support: tuple[float, float], alpha: float, budgets: Sequence[int]) -> stats.BudgetBand:
    if np.isfinite(support).all():
        return stats.expected_best_band(values, alpha, budgets, support)
    return stats.median_best_band(values, alpha, budgets)


def _curve(signed: np.ndarray, sign: float, support: tuple[float, float]) -> dict[str, Any]:
    budgets = range(1, len(signed) + 1)
    band = _bands(signed, support, ALPHA, budgets)
    low, high = (band.low, band.high) if sign > 0 else (-band.high, -band.low)
    return {
        "budget": list(budgets),
        "expected": [sign * float(stats.expected_best(signed, b)) for b in budgets],
        "middle": (sign * band.estimate).tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
        "band": "expected" if np.isfinite(support).all() else "median",
    }


def importances(tuning: Tuning, arm: str, points: Sequence[Point]) -> dict[str, float]:
    """Shares of the variance among the better configurations by PED-ANOVA; empty where there is too little to tell.

    Source: Watanabe, Bansal & Hutter (2023), PED-ANOVA, arXiv 2304.10255.
    """
    import warnings

    from optuna import exceptions
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    finite = [p for p in points if p.value is not None and math.isfinite(p.value)]
    if len(tuning.spaces[arm]) < 2 or len(finite) < 4 or len({p.value for p in finite}) < 2:
        return {}
    study = Drawing.of(tuning, arm).study(points)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", exceptions.ExperimentalWarning)
            result = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    except (ValueError, RuntimeError):
        return {}  # a space in which every draw was the same
    return {key: float(value) for key, value in result.items()}
