"""Seeds × items: on a fixed test set the interval over seeds alone ignores which items happened to be drawn."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.judge.design import ClaimDesign
from harness.judge.evidence import Evidence
from harness.judge.rows import finite
from harness.judge.units import ExaminedBlock
from harness.store.queries import Queries

Arrays = Mapping[str, NDArray[Any]]
IDENTITY = "item"
"""The array that names the items."""


class ItemOutputs:
    """Per-item outputs of trials, each file read once."""

    def __init__(self, reader: Queries, trial_ids: Iterable[str]) -> None:
        rows = reader.artifacts(trial_ids)
        self._paths = {row["trial_id"]: Path(row["path"]) for row in rows if row["name"] == "items"}
        self._read: dict[str, Arrays | None] = {}

    def __bool__(self) -> bool:
        return bool(self._paths)

    def of(self, trial_id: str) -> Arrays | None:
        """The arrays of one trial; None where it kept none, or they are lost or damaged."""
        if trial_id not in self._read:
            self._read[trial_id] = self._load(trial_id)
        return self._read[trial_id]

    def _load(self, trial_id: str) -> Arrays | None:
        path = self._paths.get(trial_id)
        if path is None:
            return None
        try:
            with np.load(path, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            return None


def two_way(
    design: ClaimDesign, examined: ExaminedBlock, evidence: Evidence, items: ItemOutputs
) -> dict[str, Any] | None:
    """The two-way interval of the only comparison of a benchmark, in the claim's direction and the metric's unit.

    None where the items of the pairs are not all there and the same, where no array's mean is the judged metric, or
    where the design has no such interval (several comparisons, gains, ratios, sequential seeds).
    """
    pairing, block = design.pairing, examined.block
    if len(examined.pairs) != 1 or pairing.own_baselines or pairing.log_ratio or design.rules.sequential:
        return None
    (upper, lower), (pairs,) = block.comparisons[0], examined.pairs
    rows = []
    named: NDArray[Any] | None = None
    for seed in sorted(pairs.method):
        ids = [block.cells[arm][seed] for arm in (upper, lower)]
        method, baseline = (items.of(trial) for trial in ids)
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
        if values.dtype.kind not in "bifu":
            continue
        for scale in (1.0, 100.0):
            means = [scale * float(np.mean(side[key])) for side in (one, other)]
            if all(
                s is not None and np.isclose(m, s, rtol=1e-5, atol=1e-6) for m, s in zip(means, scores, strict=True)
            ):
                return key, scale
    return None
