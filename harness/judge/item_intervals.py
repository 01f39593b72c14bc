"""Seeds × items: on a fixed test set the interval over seeds alone ignores which items happened to be drawn."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.judge.design import ClaimDesign
from harness.judge.evidence import Evidence
from harness.judge.rows import finite
from harness.judge.units import Unit
from harness.store.queries import Queries

Arrays = Mapping[str, NDArray[Any]]
ItemOutputs = Callable[[str], Arrays | None]
"""Of a trial; None where it kept none, or they are lost or damaged."""
IDENTITY = "item"
"""The array that names the items."""


def item_outputs(reader: Queries, trial_ids: Iterable[str]) -> ItemOutputs:
    """Per-item outputs by trial, each file read once."""
    paths = {row["trial_id"]: row["path"] for row in reader.artifacts(trial_ids) if row["name"] == "items"}

    @cache
    def read(trial_id: str) -> Arrays | None:
        if trial_id not in paths:
            return None
        try:
            with np.load(paths[trial_id], allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            return None

    return read


def two_way(
    design: ClaimDesign, units: Sequence[Unit], evidence: Evidence, items: ItemOutputs
) -> dict[str, float | int | None] | None:
    """The two-way interval of a claim's only comparison, in the claim's direction and the metric's unit.

    None where the items of the pairs are not all there and the same, where no array's mean is the judged metric, or
    where the design has no such interval (several benchmarks or comparisons, gains, ratios, sequential seeds).
    """
    if len(units) != 1 or len(units[0].blocks) != 1 or units[0].stopped is not None:
        return None
    (examined,), pairing = units[0].blocks, design.pairing
    if len(examined.pairs) != 1 or pairing.own_baselines or pairing.log_ratio or design.rules.sequential:
        return None
    block, rows = examined.block, []
    named: NDArray[Any] | None = None
    for seed in sorted(examined.pairs[0].method):
        ids = [block.cells[arm][seed] for arm in block.comparisons[0]]
        method, baseline = map(items, ids)
        if method is None or baseline is None:
            return None
        for name in (method.get(IDENTITY), baseline.get(IDENTITY)):
            if name is None or (named is not None and not np.array_equal(name, named)):
                return None
            named = name
        column = _column(method, baseline, [evidence[trial].value(block.metric, block.split) for trial in ids])
        if column is None:
            return None
        key, scale = column
        difference = np.asarray(method[key], dtype=np.float64) - np.asarray(baseline[key], dtype=np.float64)
        rows.append(block.direction * scale * difference)
    if len(rows) < 2:
        return None
    interval = stats.two_way_interval(np.stack(rows), design.rules.alpha)
    return {
        "low": finite(interval.low), "high": finite(interval.high), "p": interval.p, "n": interval.n,
        "items": interval.items, "seed_sd": finite(interval.seed_sd), "item_sd": finite(interval.item_sd),
    }  # fmt: skip


def _column(one: Arrays, other: Arrays, scores: list[float | None]) -> tuple[str, float] | None:
    """The array whose mean is the metric on both sides, and the factor to the metric's unit (1, or 100 for percent)."""
    for key, values in one.items():
        if key == IDENTITY or key not in other or values.ndim != 1 or values.shape != other[key].shape:
            continue
        for scale in (1.0, 100.0) if values.dtype.kind in "bifu" and None not in scores else ():
            means = [scale * float(np.mean(side[key])) for side in (one, other)]
            if np.allclose(means, np.array(scores, dtype=np.float64), rtol=1e-5, atol=1e-6):
                return key, scale
    return None
