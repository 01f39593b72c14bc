"""Corrections for several tests: Holm in the primary family, else Benjamini–Hochberg."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from harness import stats
from harness.judge.design import Family
from harness.judge.units import Bound

K = TypeVar("K")

CORRECTED: tuple[Family, ...] = ("primary", "secondary", "absolute", "own", "mechanism", "intervention", "ablation")
"""Families that are corrected, each for itself."""


@dataclass(frozen=True, slots=True)
class CorrectedFamily:
    """p and adjusted p of a family's tests; ``bounds`` and ``smaller``: those of "smaller than the SESOI"."""

    name: str = ""
    p: Mapping[str, float | None] = field(default_factory=dict)
    adjusted: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[Bound, float | None] = field(default_factory=dict)
    smaller: Mapping[Bound, float] = field(default_factory=dict)

    def smaller_of(self, bounds: Iterable[Bound]) -> float:
        """Adjusted p of "smaller than the SESOI", 1 without a test."""
        return min((self.smaller.get(bound, 1.0) for bound in bounds), default=1.0)


Families = Mapping[str, CorrectedFamily]
"""The family of each test."""


def corrected(family: str, p: Mapping[str, float | None], bounds: Mapping[Bound, float | None]) -> CorrectedFamily:
    """A family's p after its correction; tests without a bound count there too."""
    requested = {bound[0] for bound in bounds}
    silent: dict[Bound, float | None] = {(name, None, False): None for name in p if name not in requested}
    bounds = {**bounds, **silent}
    return CorrectedFamily(family, p, adjust(family, p), bounds, adjust(family, bounds))


def correction_name(family: str) -> str:
    """The correction's name in reports."""
    return "Holm" if family == "primary" else "Benjamini–Hochberg"


def adjust(family: str, p: Mapping[K, float | None]) -> dict[K, float]:
    """Adjusted p by test; a member without a test counts as no evidence and gets 1."""
    values = [math.nan if value is None else value for value in p.values()]
    adjusted = stats.holm(values) if family == "primary" else stats.benjamini_hochberg(values)
    return {name: 1.0 if math.isnan(value) else float(value) for name, value in zip(p, adjusted, strict=True)}


def needed_p(family: str, p: Mapping[K, float | None], contrast: K, alpha: float) -> float:
    """The largest p that the family's correction accepts at α."""
    if family == "primary":
        others = sorted(1.0 if value is None else value for name, value in p.items() if name != contrast)
        size = len(others) + 1
        rejected = next((i for i, value in enumerate(others) if value * (size - i) > alpha), len(others))
        return alpha / (size - rejected)
    low, high = math.log(1e-12), math.log(alpha)
    for _ in range(30):
        middle = (low + high) / 2
        accepted = adjust(family, {**p, contrast: math.exp(middle)})[contrast] <= alpha
        low, high = (middle, high) if accepted else (low, middle)
    return math.exp(low)
