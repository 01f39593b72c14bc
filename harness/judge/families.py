"""Corrections for several tests: Holm among primary contrasts, Benjamini–Hochberg or e-BH among the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness import stats


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
    names = list(p)
    values = [math.nan if value is None else value for value in p.values()]
    adjusted: Sequence[float]
    if family == "primary":
        adjusted = list(stats.holm(values))
    elif sequential:
        adjusted = list(stats.e_bh(stats.e_from_p(values))) if values else []
    else:
        adjusted = list(stats.benjamini_hochberg(values))
    return {name: 1.0 if math.isnan(one) else float(one) for name, one in zip(names, adjusted, strict=True)}
