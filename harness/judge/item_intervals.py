"""Intervals over seeds and items of a fixed test set."""

import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.judge.design import DesignBlock, Pairing
from harness.judge.detail import ItemInterval, MeasuredComparison, finite
from harness.judge.evidence import Evidence
from harness.judge.rows import VerdictRow
from harness.judge.units import Unit
from harness.store.queries import Queries

Arrays = Mapping[str, NDArray[Any]]
IDENTITY = "item"
"""The array that names the items."""


class ItemSource:
    """Per-item outputs of trials, each file read once."""

    def __init__(self, reader: Queries, evidence: Evidence) -> None:
        self.evidence = evidence
        artifacts = reader.artifacts(evidence).dicts()
        self._paths = {row["trial_id"]: row["path"] for row in artifacts if row["name"] == "items"}
        self.arrays = cache(self._read)

    def _read(self, trial_id: str) -> Arrays | None:
        if trial_id not in self._paths:
            return None
        try:
            with np.load(self._paths[trial_id], allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            return None


def with_item_intervals(row: VerdictRow, units: Sequence[Unit], pairing: Pairing, items: ItemSource) -> VerdictRow:
    """A row with the two-way intervals of comparisons with items."""
    compared = [
        (examined.block, arms, pairs)
        for unit in units
        for examined in unit.blocks
        for arms, pairs in zip(examined.block.comparisons, examined.pairs, strict=True)
    ]
    detail = row.detail
    if pairing.log_ratio or pairing.seeds_of_search is not None or len(compared) != len(detail.per_benchmark):
        return row
    entries = []
    for entry, (block, arms, pairs) in zip(detail.per_benchmark, compared, strict=True):
        rows = differences_by_item(block, (*arms, *pairing.own_baselines), sorted(pairs.method), items)
        entries.append(entry if rows is None else replace(entry, two_way=interval_of(rows, row, entry)))
    single = entries[0].two_way if len(entries) == 1 else None
    return replace(row, detail=replace(detail, per_benchmark=tuple(entries), two_way=single))


def interval_of(rows: NDArray[np.float64], row: VerdictRow, entry: MeasuredComparison) -> ItemInterval | None:
    """The interval of seeds × items (NaN: not in the test set); None without spread.

    In a sequential run it is as many standard errors wide as that over seeds.
    """
    if len(rows) < 2:
        return None
    there = ~np.isnan(rows)
    crossed = bool(there.all())
    alpha = row.detail.rules.alpha
    result = (stats.two_way_interval if crossed else stats.overlapping_two_way)(rows, alpha)
    low, high = result.low, result.high
    if row.sequential and entry.low is not None and entry.high is not None:
        seeds = stats.paired_t(np.nanmean(rows, axis=1), alpha)
        wider = (entry.high - entry.low) / (seeds.high - seeds.low) if seeds.high > seeds.low else math.inf
        half = (high - low) / 2 * max(1.0, wider)
        low, high = result.estimate - half, result.estimate + half
    elif row.sequential:
        low, high = -math.inf, math.inf
    if not math.isfinite(low + high):
        return None
    shared = (
        None
        if crossed
        else float(np.mean([(there & (there.sum(axis=0) > 1))[k].sum() / there[k].sum() for k in range(len(there))]))
    )
    return ItemInterval(
        low, high, result.p, result.n, result.items, finite(result.seed_sd), finite(result.item_sd), shared
    )


def differences_by_item(
    block: DesignBlock, arms: Sequence[str], seeds: Sequence[int], source: ItemSource
) -> NDArray[np.float64] | None:
    """Signed differences (seeds, items) of two arms or gains; None where a seed's arms have different items."""
    by_seed: list[dict[Any, float]] = []
    for seed in seeds:
        ids = [block.cells[arm].get(seed, "") for arm in arms]
        arrays = [source.arrays(trial) for trial in ids]
        sides = [each for each in arrays if each is not None and IDENTITY in each]
        if len(sides) != len(ids) or any(not np.array_equal(each[IDENTITY], sides[0][IDENTITY]) for each in sides):
            return None
        column = _column(sides, [source.evidence[trial].value(block.metric, block.split) for trial in ids])
        names = sides[0][IDENTITY].tolist()
        if column is None or len(set(names)) != len(names):
            return None
        key, scale = column
        signs = (1.0, -1.0, -1.0, 1.0)[: len(ids)]
        values = np.stack([np.asarray(each[key], dtype=np.float64) for each in sides])
        differences = block.direction * scale * (np.array(signs) @ values)
        by_seed.append(dict(zip(names, differences.tolist(), strict=True)))
    every = list(dict.fromkeys(item for values in by_seed for item in values))
    return np.array([[values.get(item, math.nan) for item in every] for values in by_seed], dtype=np.float64)


def _column(sides: Sequence[Arrays], scores: Sequence[float | None]) -> tuple[str, float] | None:
    """The array whose mean is the metric, and its unit factor."""
    if any(score is None for score in scores):
        return None
    for key, values in sides[0].items():
        if key == IDENTITY or any(key not in side or side[key].shape != values.shape for side in sides):
            continue
        for scale in (1.0, 100.0) if values.ndim == 1 and values.dtype.kind in "bifu" and len(values) else ():
            means = [scale * float(np.mean(side[key])) for side in sides]
            if np.allclose(means, np.array(scores, dtype=np.float64), rtol=1e-5, atol=1e-6):
                return key, scale
    return None
