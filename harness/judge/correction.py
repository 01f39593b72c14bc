"""Corrections for several tests: Holm among primary contrasts, Benjamini–Hochberg or e-BH among the others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness import stats


@dataclass(frozen=True, slots=True)
class CorrectedFamily:
    """p and adjusted p of a family's tests; its size is fixed by the design, whatever has run."""

    p: Mapping[str, float | None] = field(default_factory=dict)
    adjusted: Mapping[str, float] = field(default_factory=dict)


def correction_name(family: str, sequential: bool) -> str:
    """What is applied, as reports call it."""
    if family == "primary":
        return "Holm"
    return "e-BH" if sequential else "Benjamini–Hochberg"


def adjust(family: str, p: Mapping[str, float | None], *, sequential: bool) -> dict[str, float]:
    """Adjusted p by test; a member without a test counts as one without evidence and gets 1.

    In a sequential run the secondary family uses e-BH on e-values calibrated from the anytime p values, which stay
    e-values under stopping rules that look at more than t (Vovk & Wang 2021).
    """
    values = [math.nan if value is None else value for value in p.values()]
    if family == "primary":
        adjusted = stats.holm(values)
    elif sequential:
        adjusted = stats.e_bh(stats.e_from_p(values))
    else:
        adjusted = stats.benjamini_hochberg(values)
    return {name: 1.0 if math.isnan(value) else float(value) for name, value in zip(p, adjusted, strict=True)}
