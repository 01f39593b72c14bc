"""Artifacts of trials: pictures, per-item predictions, translations."""

import hashlib
import json
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reports import formatting
from reports.data.sql import Row

MOST_CLASSES = 120
"""Beyond that a matrix is a texture."""
SHOWN_SAMPLES = 6
SHOWN_PICTURES = 12
LARGEST_PICTURE = 1_500_000  # bytes
_BEGINS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF87a": "gif", b"GIF89a": "gif"}
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with its caption: content, type, and a file name made of the content."""

    file: Path
    kind: str
    name: str
    caption: str
    arm: str
    seed: int
    trial_id: str


def kind_of(path: Path) -> str | None:
    """``png``, ``jpeg`` or ``gif`` by the file's first bytes; None for anything else, missing or too large."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_PICTURE:
            return None
        with path.open("rb") as file:
            begin = file.read(8)
    except OSError:
        return None
    return next((kind for start, kind in _BEGINS.items() if begin.startswith(start)), None)


def pictures_of(rows: Sequence[Row], arms: Sequence[str]) -> list[Picture]:
    """The pictures among artifacts: those of the given arms side by side, seed by seed, then the others."""
    place = {arm: number for number, arm in enumerate(arms)}

    def order(row: Row) -> tuple[Any, ...]:
        return row["arm"] not in place, row["seed"], row["name"], place.get(row["arm"], 0), row["arm"]

    pictures: list[Picture] = []
    for row in sorted(rows, key=order):
        path = Path(str(row["path"] or ""))
        kind = kind_of(path) if len(pictures) < SHOWN_PICTURES else None
        if kind is not None:
            name = f"{hashlib.sha256(path.read_bytes()).hexdigest()[:20]}.{kind}"
            caption = str(row["caption"] or row["name"])
            pictures.append(Picture(path, kind, name, caption, str(row["arm"]), int(row["seed"]), str(row["trial_id"])))
    return pictures


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
        shares: npt.NDArray[np.float64] = 100 * self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
        return shares

    @property
    def right(self) -> float:
        """Percent of the items that are predicted right."""
        return 100 * float(np.trace(self.counts)) / max(1, int(self.counts.sum()))

    @property
    def worst(self) -> list[tuple[str, str, float]]:
        """The most frequent mistakes: true class, what it is taken for, percent of the true class."""
        wrong = self.shares.copy()
        np.fill_diagonal(wrong, 0.0)
        order = np.argsort(wrong, axis=None)[::-1][:3]
        places = [divmod(int(place), len(self.classes)) for place in order]
        return [(self.classes[t], self.classes[p], float(wrong[t, p])) for t, p in places if wrong[t, p] > 0]


def confusions_of(rows: Sequence[Row], arms: Sequence[str]) -> list[Confusion]:
    """A confusion matrix for each arm with stored classes and predictions."""
    matrices = []
    for arm in arms:
        kept = [_items(Path(str(row["path"]))) for row in rows if row["name"] == "items" and row["arm"] == arm]
        counted = [matrix for items in kept if items is not None and (matrix := _counted(items)) is not None]
        same = [counts for counts, names in counted if names == counted[0][1]]
        if same:
            matrices.append(Confusion(arm, counted[0][1], np.sum(same, axis=0), len(same)))
    return matrices


def _items(path: Path) -> Mapping[str, npt.NDArray[Any]] | None:
    """Arrays of a trial's per-item outputs; None where they are lost or damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in ("label", "predicted", "predictions", "classes") if name in stored}
    except (OSError, ValueError, zipfile.BadZipFile, KeyError):
        return None


def _counted(items: Mapping[str, npt.NDArray[Any]]) -> tuple[Counts, tuple[str, ...]] | None:
    """Counts of a trial with the names of the classes; None without labels and predictions of single classes."""
    from scipy.stats.contingency import crosstab  # scikit-learn's takes 1.5 s to import

    true, text = items.get("label"), items.get("predicted", items.get("predictions"))
    if true is None or text is None or true.shape != text.shape or true.ndim != 1 or not len(true):
        return None
    names = [str(name) for name in items.get("classes", ())]
    size = max(int(max(true.max(), text.max())) + 1, len(names))
    if size > MOST_CLASSES or min(true.min(), text.min()) < 0:
        return None
    counts = crosstab(true.astype(np.int64), text.astype(np.int64), levels=(range(size), range(size))).count
    return counts, tuple(names + [str(number) for number in range(len(names), size)])


@dataclass(frozen=True)
class TranslatedSentence:
    """A sentence with its reference and what each arm made of it: (arm, text, chrF)."""

    source: str
    reference: str
    outputs: Sequence[tuple[str, str, float | None]]


def translations_of(rows: Sequence[Row], arms: Sequence[str]) -> list[TranslatedSentence]:
    """Translations of the seed that most shown arms have, side by side."""
    by_seed: dict[int, dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    for row in rows:
        if row["name"] == "translations" and row["arm"] in arms and (samples := _samples(Path(str(row["path"])))):
            by_seed[int(row["seed"])][row["arm"]] = samples
    if not by_seed:
        return []
    sides = by_seed[min(by_seed, key=lambda seed: (-len(by_seed[seed]), seed))]
    shown = [arm for arm in arms if arm in sides]
    sentences = []
    for first in sides[shown[0]][:SHOWN_SAMPLES]:
        created = [
            (arm, str(sample.get("translation", "")), formatting.finite(sample.get("chrf")))
            for arm in shown
            for sample in sides[arm]
            if sample.get("source") == first.get("source")
        ]
        sentences.append(TranslatedSentence(str(first.get("source", "")), str(first.get("reference", "")), created))
    return sentences


def _samples(path: Path) -> list[dict[str, Any]]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [sample for sample in value if isinstance(sample, dict)] if isinstance(value, list) else []
