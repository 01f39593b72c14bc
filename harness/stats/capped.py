"""Sequential evidence from added seeds up to a maximum fixed in advance.

E (`harness.stats.sequential`) is pivotal under the null, so the law of its maximum over a bounded number of seeds is
known: the p value is the share of null paths whose largest E, from the third difference to the maximum number of seeds,
reaches the observed value. Ville's 1/α holds for unlimited interim analyses and leaves most of α unused when their
number is bounded: at α = .05 the threshold is 5.6 for 12 and 7.3 for 20 differences instead of 20.

`capped_table.json` holds the counts of simulated null paths; `capped_table.py` computes it. Without a table (another
g, a maximum outside 3 to 20, or more differences than the maximum) Ville's 1/α decides.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.stats.records import INDEPENDENT, Floats, Inference, Noise, as_values, check_alpha
from harness.stats.sequential import DEFAULT_G, interval_half_widths, log_e_process

TABLE = Path(__file__).with_name("capped_table.json")


@dataclass(frozen=True, slots=True, eq=False)
class CappedTable:
    """log p on a grid of log E for each maximum; the first interim analysis is at ``first_look`` differences."""

    g: float
    first_look: int
    paths: int
    log_e: Floats
    log_p: Mapping[int, Floats]


@cache
def capped_table() -> CappedTable:
    """The table as stored. A p is (paths at or beyond + 1) / (paths + 1), so never zero."""
    stored = json.loads(TABLE.read_text(encoding="utf-8"))
    log_p = {
        int(cap): np.log((np.array(counts) + 1) / (stored["paths"] + 1)) for cap, counts in stored["counts"].items()
    }
    points = len(next(iter(log_p.values())))
    grid = stored["start"] + stored["step"] * np.arange(points)
    return CappedTable(stored["g"], stored["first_look"], stored["paths"], grid, log_p)


@dataclass(frozen=True, slots=True)
class SequentialRule:
    """Rejection rule for interim analyses after every difference.

    ``cap`` is the maximum number of seeds; None: unlimited (Ville). g is the prior variance of the standardised effect.
    Raises ValueError where it is not positive and finite.
    """

    g: float = DEFAULT_G
    cap: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.g < math.inf:
            raise ValueError(f"g: {self.g!r} is not a positive finite number (prior variance of the effect)")

    @property
    def capped(self) -> bool:
        """True if a table covers this rule."""
        return self.cap is not None and self.cap in capped_table().log_p and self.g == capped_table().g

    def after(self, n: int) -> SequentialRule:
        """The rule for n differences; beyond the maximum its guarantee has ended."""
        return self if self.capped and self.cap is not None and n <= self.cap else replace(self, cap=None)

    def p(self, log_e: ArrayLike) -> Floats:
        """Share of null paths whose largest log E reaches this value; beyond the table at most Ville's 1/E."""
        values = np.asarray(log_e, dtype=np.float64)
        with np.errstate(over="ignore"):
            ville = np.exp(-np.maximum(values, 0.0))
        if not self.capped or self.cap is None:
            return ville
        table = capped_table()
        read = np.exp(np.interp(values, table.log_e, table.log_p[self.cap]))
        return np.where(values > table.log_e[-1], np.minimum(read, ville), read)

    def log_threshold(self, alpha: float) -> float:
        """log E at which p is α."""
        if self.capped and self.cap is not None:
            table = capped_table()
            falling = table.log_p[self.cap]
            if math.log(alpha) >= falling[-1]:
                return float(np.interp(-math.log(alpha), -falling, table.log_e))
        return -math.log(alpha)

    def looks(self, n: int) -> NDArray[np.bool_]:
        """Mask of the n differences after which an interim analysis takes place."""
        return np.arange(1, n + 1) >= capped_table().first_look

    def evidence(self, differences: ArrayLike, *, noise: Noise = INDEPENDENT) -> tuple[float, float]:
        """Largest log E at interim analyses with positive and with negative means; -inf without any."""
        values = as_values(differences)
        if not len(values):
            return -math.inf, -math.inf
        with np.errstate(invalid="ignore"):
            log_e, sums = log_e_process(values, self.g, noise=noise), np.cumsum(values)
        looks = self.looks(len(values))
        up = float(np.max(log_e, where=looks & (sums > 0), initial=-math.inf))
        return up, float(np.max(log_e, where=looks & (sums < 0), initial=-math.inf))

    def directed_p(self, differences: ArrayLike, *, noise: Noise = INDEPENDENT) -> tuple[float, float]:
        """Two-sided p values of "above zero" and "below zero"; the smaller is that of the test."""
        rule = self.after(len(as_values(differences)))
        up, down = (float(rule.p(log_e)) for log_e in self.evidence(differences, noise=noise))
        return up, down

    def inference(self, differences: ArrayLike, alpha: float = 0.05, *, noise: Noise = INDEPENDENT) -> Inference:
        """Mean, interval and p, valid under every stopping rule up to ``cap``.

        The interval inverts E at every interim analysis and is the intersection over all of them so far, so that an
        excluded value stays excluded; it excludes zero exactly when p ≤ α. An empty set (low > high) is evidence
        against the model. With n below the first interim analysis: whole line, p = 1. NaN is dropped.
        """
        check_alpha(alpha)
        values = as_values(differences)
        kept = values[~np.isnan(values)]
        n, dropped = len(kept), len(values) - len(kept)
        if n == 0:
            return Inference(math.nan, -math.inf, math.inf, 1.0, 0, dropped)
        threshold = self.after(n).log_threshold(alpha)
        mean, half = interval_half_widths(kept, self.g, log_threshold=threshold, noise=noise)
        half = np.where(self.looks(n), half, np.inf)
        with np.errstate(invalid="ignore"):
            low = float(np.max(np.where(np.isinf(half), -np.inf, mean - half)))
            high = float(np.min(np.where(np.isinf(half), np.inf, mean + half)))
            estimate = float(np.sum(kept) if np.isinf(kept).any() else mean[-1])
        return Inference(estimate, low, high, min(self.directed_p(kept, noise=noise)), n, dropped)
