"""Handwritten digits, 8×8: the UCI set's test part, shipped by scikit-learn.

The packaged file is read with numpy, since importing scikit-learn costs most of a second a trial.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError, MissingDataError
from harness.trial.contracts import DataRequest
from harness.trial.options import option
from suites.data.types import Images, ImageSplit, Labels

FILE = "sklearn/datasets/data/digits.csv.gz"
SIDE = 8
LEVELS = 16
CLASSES = 10

Pixels = npt.NDArray[np.float32]


@lru_cache(maxsize=1)
def read_digits(path: Path | None = None) -> tuple[Pixels, Labels]:
    """Read all 1,797 digits: images (N, 8, 8) in 0–1 and labels (N,).

    Raises:
        MissingDataError: scikit-learn is not installed or its file is missing.
        HarnessError: the file is not a table of 64 pixel levels and a label.
    """
    file = path or _packaged_file()
    try:
        with gzip.open(file, "rt", encoding="ascii") as lines:
            table = np.loadtxt(lines, delimiter=",", dtype=np.int64)
    except (OSError, EOFError, ValueError) as error:
        raise HarnessError(f"digits: {file} cannot be read as a gzipped table of numbers: {error}") from error
    if table.ndim != 2 or table.shape[1] != SIDE * SIDE + 1:
        raise HarnessError(f"digits: {file} has shape {table.shape}; expected (N, {SIDE * SIDE + 1})")
    pixels, labels = table[:, :-1], table[:, -1]
    if pixels.min() < 0 or pixels.max() > LEVELS or labels.min() < 0 or labels.max() >= CLASSES:
        raise HarnessError(f"digits: {file} holds levels outside 0–{LEVELS} or labels outside 0–{CLASSES - 1}")
    images = (pixels / LEVELS).astype(np.float32).reshape(-1, SIDE, SIDE)
    images.setflags(write=False)
    return images, labels


def _packaged_file() -> Path:
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise MissingDataError("digits: scikit-learn, which ships them, is not installed: pip install scikit-learn")
    file = Path(package.origin).parent.parent / FILE
    if not file.is_file():
        raise MissingDataError(
            f"digits: expected {file}, shipped by scikit-learn: pip install --force-reinstall scikit-learn"
        )
    return file


def enlarge(images: Pixels, size: int) -> Pixels:
    """Enlarge (N, 8, 8) bilinearly to (N, size, size), aligned at the borders."""
    if size == SIDE:
        return images
    place = np.clip((np.arange(size) + 0.5) * SIDE / size - 0.5, 0, SIDE - 1)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, SIDE - 1)
    weight = np.zeros((size, SIDE), dtype=np.float32)
    rows = np.arange(size)
    weight[rows, low] += (1 - (place - low)).astype(np.float32)
    weight[rows, high] += (place - low).astype(np.float32)
    return np.einsum("ij,njk,lk->nil", weight, images, weight, optimize=True).astype(np.float32)


def split_counts(name: str, total: int, wanted: dict[str, int]) -> dict[str, slice]:
    """Slices of a permutation for ``train`` and ``validation``; ``test`` gets the rest."""
    train, validation = wanted["train"], wanted["validation"]
    if train + validation >= total:
        raise HarnessError(
            f"{name}: train {train} + validation {validation} leave nothing of {total} items for test; lower them"
        )
    return {
        "train": slice(0, train),
        "validation": slice(train, train + validation),
        "test": slice(train + validation, total),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitsOptions:
    """Options of the data source ``digits``."""

    train: int = option(400, "training images", low=10)
    validation: int = option(300, "validation images", low=1)
    noise: float = option(0.0, "deviation of the noise added to pixels in 0–1", low=0)
    size: int = option(8, "side in pixels, bilinear enlargement", low=8, high=256)


def load(request: DataRequest[DigitsOptions]) -> Images:
    """Read digits (N, 1, size, size) in 0–1, split at random by the stream ``split``.

    ``noise`` adds normal noise of that deviation to every image, drawn from the stream ``data``.
    """
    options = request.options
    images, labels = read_digits()
    order = request.streams.numpy("split", "digits").permutation(len(labels))
    large = enlarge(images, options.size)
    if options.noise > 0:
        noise = request.streams.numpy("data", "digits").standard_normal(large.shape, dtype=np.float32)
        large = large + np.float32(options.noise) * noise
    places = split_counts("digits", len(labels), {"train": options.train, "validation": options.validation})
    splits = {
        name: ImageSplit(large[chosen][:, None], labels[chosen], chosen.astype(np.int64))
        for name, chosen in ((name, order[place]) for name, place in places.items())
    }
    return Images(splits, tuple(str(digit) for digit in range(CLASSES)))
