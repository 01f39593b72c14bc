"""What a suite's page says beyond single claims: wins and losses over benchmarks, and what removing a part does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports import words
from reports.ablations import Ablation
from reports.addresses import bench_path
from reports.reading import Claim, Gathered

INTERVENTIONS = 6


def wins(found: Gathered) -> dict[str, Any] | None:
    """A table of benchmarks by contrasts: where the interval of the claim lies; None for a single benchmark."""
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for claim in found.judged:
        for entry in claim.design.get("per_benchmark") or ():
            if isinstance(entry, Mapping) and words.finite(entry.get("difference")) is not None:
                key = (str(entry.get("benchmark")), claim.contrast)
                cells.setdefault(key, {"claim": claim, **entry, "side": _side(entry)})
    places = [name for name in found.benches if any(where == name for where, _ in cells)]
    contrasts = list(dict.fromkeys(contrast for _, contrast in cells))
    if len(places) < 2:
        return None
    rows = [
        {"title": found.benches[name].title, "path": bench_path(found.name, found.scale, name),
         "cells": [cells.get((name, contrast)) for contrast in contrasts]}
        for name in places
    ]  # fmt: skip
    tally = {side: sum(cell["side"][1] == side for cell in cells.values()) for side in ("ahead", "behind", "not clear")}
    return {"contrasts": contrasts, "rows": rows, "tally": tally}


def _side(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Tone and word: on which side of zero the interval lies, the claim's direction being ahead."""
    low, high = words.finite(entry.get("low")), words.finite(entry.get("high"))
    if low is not None and low > 0:
        return "holds", "ahead"
    return ("against", "behind") if high is not None and high < 0 else ("open", "not clear")


def interventions(claim: Claim, rows: Sequence[Ablation]) -> list[Ablation]:
    """Ablations of the claim's arm on its benchmarks: what happens when a part, or the cause, is removed."""
    own = [row for row in rows if row.parent == claim.arm and row.benchmark in claim.benchmarks]
    return sorted(own, key=lambda row: -abs(row.difference))[:INTERVENTIONS]
