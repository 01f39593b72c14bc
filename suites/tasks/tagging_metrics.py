"""Scores of tags and classes: areas under ROC and precision–recall curves, F1."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.floating]
Truth = npt.NDArray[np.integer] | npt.NDArray[np.bool_]


def _curve(scores: Scores, truth: Truth) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """True and false positives above each distinct score, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append((np.diff(scores[order]) != 0).nonzero()[0], len(scores) - 1)
    hits = np.cumsum(truth[order].astype(np.int64))[ends]
    return hits, 1 + ends - hits


def roc_auc(scores: Scores, truth: Truth) -> float:
    """Area under the ROC curve in 0–1 by the trapezoid rule; NaN where one side is empty."""
    hits, misses = _curve(scores, truth)
    if hits[-1] == 0 or misses[-1] == 0:
        return float("nan")
    return float(np.trapezoid(np.append(0, hits / hits[-1]), np.append(0, misses / misses[-1])))


def average_precision(scores: Scores, truth: Truth) -> float:
    """Σ (R_n − R_{n−1})·P_n over distinct scores, in 0–1; NaN where nothing is true."""
    hits, misses = _curve(scores, truth)
    if hits[-1] == 0:
        return float("nan")
    steps = np.diff(np.append(0, hits)) / hits[-1]
    return float((steps * hits / (hits + misses)).sum())


def macro(values: list[float]) -> float:
    """Mean over the tags that have a value."""
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def f1(predicted: Truth, truth: Truth, average: str) -> float:
    """F1 in 0–1 of (N, C) zeros and ones: over all decisions (``micro``) or the mean over columns (``macro``).

    A column without a positive on either side counts 0, as in scikit-learn by default.
    """
    both = (predicted * truth).sum(axis=0).astype(np.float64)
    total = (predicted.sum(axis=0) + truth.sum(axis=0)).astype(np.float64)
    if average == "micro":
        both, total = both.sum(keepdims=True), total.sum(keepdims=True)
    return float(np.divide(2 * both, total, out=np.zeros_like(both), where=total > 0).mean())
