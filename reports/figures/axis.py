"""Positions on drawings of plain elements: axes in percent, marks, intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports import formatting

FAR = 2.0
"""An axis reaches at most so many times as far as nine tenths of the interval ends; what lies beyond gets an arrow."""
TICKS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values and its ticks; places are percent of the width."""

    low: float
    high: float

    def place(self, value: float | None) -> float | None:
        """Position of a value, clipped to the edges."""
        if value is None:
            return None
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def beyond(self, value: float | None) -> int:
        """−1 left of the axis, 1 right of it, else 0."""
        return 0 if value is None else -1 if value < self.low else 1 if value > self.high else 0

    @property
    def zero(self) -> float:
        """Position of zero."""
        return self.place(0.0) or 0.0

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """About five round values with their positions, zero among them."""
        span = self.high - self.low
        step = 10 ** math.floor(math.log10(span / 5))
        step *= next(factor for factor in TICKS if span / (step * factor) <= 6)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [(self.place(k * step) or 0.0, formatting.setting(round(k * step, 10))) for k in range(first, last + 1)]


def axis_of(marks: Sequence[Sequence[float | None]]) -> Axis:
    """The axis on which marks (estimate, low, high, …) are drawn: around zero, and not for the sake of one outlier."""
    ends = [abs(value) for mark in marks for value in mark if value is not None and math.isfinite(value)]
    existing = sorted(ends)
    limit = FAR * existing[int(0.9 * (len(existing) - 1))] if existing else 1.0
    values = [min(limit, max(-limit, v)) for mark in marks for v in mark if v is not None and math.isfinite(v)]
    low, high = min([0.0, *values]), max([0.0, *values])
    room = 0.04 * (high - low) or 1.0
    return Axis(low - room, high + room)


@dataclass(frozen=True, slots=True)
class Mark:
    """An estimate with its interval on an axis; ``left`` and ``right`` say that the interval goes on beyond an edge."""

    middle: float | None
    low: float
    high: float
    left: bool
    right: bool

    @classmethod
    def of(cls, axis: Axis, middle: float | None, low: float | None, high: float | None) -> Mark:
        """On an axis; an end that is not known reaches the edge."""
        at = axis.place(middle)
        ends = (axis.place(low) if low is not None else 0.0, axis.place(high) if high is not None else 100.0)
        outside = axis.beyond(middle)
        return cls(
            at if not outside else None,
            ends[0] or 0.0,
            ends[1] or 0.0,
            low is None or axis.beyond(low) < 0 or outside < 0,
            high is None or axis.beyond(high) > 0 or outside > 0,
        )
