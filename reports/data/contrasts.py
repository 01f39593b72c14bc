"""A difference of two arms with its interval: what tables and figures of all kinds show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reports import formatting


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A mean paired difference; an end of its interval that is unknown or infinite is None.

    Attributes:
        label: the comparison in short.
        seeds: the differences by seed.
        verdict_tone: that of the claim's verdict, where one was judged on it.
    """

    label: str
    unit: str
    n: int | None
    difference: float
    low: float | None
    high: float | None
    seeds: Mapping[Any, Any] = field(default_factory=dict, repr=False)
    verdict_tone: str = ""

    @property
    def tone(self) -> str:
        """The verdict's, else on which side of zero the interval lies."""
        return self.verdict_tone or formatting.side(self.low, self.high)
