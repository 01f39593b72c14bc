"""What people would rather look at than read: which class is taken for which, and translations line by line.

Both come from what trials left beside their numbers (``artifacts``): per-item outputs and samples.
"""

from __future__ import annotations

import json
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reports import words
from reports.addresses import slug
from reports.figure import Figure, escape, spec_of
from reports.reading import Row

MOST_CLASSES = 120
"""Beyond that a matrix is a texture."""
WRITTEN_CLASSES = 12
"""Up to so many classes every cell shows its number."""
SHOWN_SAMPLES = 6
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Confusion:
    """Items of true class (row) by predicted class (column), summed over the seeds of an arm."""

    arm: str
    classes: tuple[str, ...]
    counts: Counts
    seeds: int

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Percent of each true class; a class without items has zeros."""
        whole = self.counts.sum(axis=1, keepdims=True)
        found: npt.NDArray[np.float64] = 100 * self.counts / np.maximum(whole, 1)
        return found

    @property
    def worst(self) -> list[tuple[str, str, float]]:
        """The most frequent mistakes: true class, what it is taken for, percent of the true class."""
        wrong = self.shares.copy()
        np.fill_diagonal(wrong, 0.0)
        order = np.argsort(wrong, axis=None)[::-1][:3]
        places = [divmod(int(one), len(self.classes)) for one in order]
        return [(self.classes[t], self.classes[p], float(wrong[t, p])) for t, p in places if wrong[t, p] > 0]


def _items(path: Path) -> Mapping[str, npt.NDArray[Any]] | None:
    """Arrays of a trial's per-item outputs; None where they are lost or damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in ("label", "predicted", "predictions", "classes") if name in stored}
    except (OSError, ValueError, zipfile.BadZipFile, KeyError):
        return None


def confusions_of(rows: Sequence[Row], arms: Sequence[str]) -> list[Confusion]:
    """A matrix for each of the arms whose trials kept classes and predictions."""
    found = []
    for arm in arms:
        total: Counts | None = None
        names: tuple[str, ...] = ()
        seeds = 0
        for row in rows:
            items = _items(Path(str(row["path"]))) if row["name"] == "items" and row["arm"] == arm else None
            one = None if items is None else _counted(items)
            if one is None or (total is not None and one[1] != names):
                continue
            total, names, seeds = one[0] if total is None else total + one[0], one[1], seeds + 1
        if total is not None:
            found.append(Confusion(arm, names, total, seeds))
    return found


def _counted(items: Mapping[str, npt.NDArray[Any]]) -> tuple[Counts, tuple[str, ...]] | None:
    true, said = items.get("label"), items.get("predicted", items.get("predictions"))
    if true is None or said is None or true.shape != said.shape or true.ndim != 1 or not len(true):
        return None
    size = int(max(true.max(), said.max())) + 1
    given = items.get("classes")
    names = [str(name) for name in given] if given is not None else []
    size = max(size, len(names))
    if size > MOST_CLASSES or min(true.min(), said.min()) < 0:
        return None
    counts = np.zeros((size, size), dtype=np.int64)
    np.add.at(counts, (true.astype(np.int64), said.astype(np.int64)), 1)
    return counts, tuple(names + [str(number) for number in range(len(names), size)])


def confusion_figures(rows: Sequence[Row], arms: Sequence[str], sql: str, hatched: bool) -> list[Figure]:
    """One heat map an arm: rows are true classes, in percent of each."""
    figures = []
    for one in confusions_of(rows, arms):
        shares, few = one.shares, len(one.classes) <= WRITTEN_CLASSES
        names = [escape(words.short(name, 18)) for name in one.classes]
        trace: dict[str, Any] = {
            "type": "heatmap", "z": shares.tolist(), "x": names, "y": names, "colorscale": "Cividis", "zmin": 0,
            "zmax": 100, "xgap": 1 if few else 0, "ygap": 1 if few else 0,
            "colorbar": {"thickness": 8, "outlinewidth": 0, "title": {"text": "%"}},
            "hovertemplate": "%{y} taken for %{x}: %{z:.3g} %<extra></extra>",
        }  # fmt: skip
        if few:
            trace |= {"text": [[f"{cell:.0f}" if cell >= 0.5 else "" for cell in row] for row in shares],
                      "texttemplate": "%{text}"}  # fmt: skip
        layout = {
            "xaxis": {"title": {"text": "predicted"}, "automargin": True, "showgrid": False, "type": "category"},
            "yaxis": {"title": {"text": "true"}, "automargin": True, "autorange": "reversed", "type": "category"},
        }
        told = [f"{true} is taken for {said} in {share:.0f} %" for true, said, share in one.worst]
        right = 100 * float(np.trace(one.counts)) / max(1, int(one.counts.sum()))
        pairs = [
            [one.arm, one.classes[t], one.classes[p], int(one.counts[t, p]), float(shares[t, p])]
            for t, p in zip(*np.nonzero(one.counts), strict=True)
        ]
        figures.append(Figure(
            f"confusion-{slug(one.arm)}",
            f"{one.arm}: which class is taken for which",
            f"Confusion matrix of {one.arm} over {words.count(one.seeds, 'seed')}, percent of each true class; "
            f"{right:.1f} % of the items are right. {'; '.join(told) or 'No mistake'}.",
            spec_of([trace], **layout), ["arm", "true", "predicted", "items", "percent"], pairs, sql,
            400 if few else 460, hatched, f"Most frequent mistakes: {'; '.join(told)}." if told else "",
        ))  # fmt: skip
    return figures


@dataclass(frozen=True)
class Translated:
    """A sentence with its reference and what each arm made of it: (arm, text, chrF)."""

    source: str
    reference: str
    made: Sequence[tuple[str, str, float | None]]


def translations_of(rows: Sequence[Row], arms: Sequence[str]) -> list[Translated]:
    """The kept translations of the first seed that every shown arm has, the same sentences side by side."""
    by_seed: dict[int, dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    for row in rows:
        if row["name"] == "translations" and row["arm"] in arms:
            samples = _samples(Path(str(row["path"])))
            if samples:
                by_seed[int(row["seed"])][row["arm"]] = samples
    if not by_seed:
        return []
    seed = min(by_seed, key=lambda one: (-len(by_seed[one]), one))
    sides = by_seed[seed]
    shown = [arm for arm in arms if arm in sides]
    found = []
    for first in sides[shown[0]][:SHOWN_SAMPLES]:
        made = [
            (arm, str(one.get("translation", "")), words.finite(one.get("chrf")))
            for arm in shown
            for one in sides[arm]
            if one.get("source") == first.get("source")
        ]
        found.append(Translated(str(first.get("source", "")), str(first.get("reference", "")), made))
    return found


def _samples(path: Path) -> list[dict[str, Any]]:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
