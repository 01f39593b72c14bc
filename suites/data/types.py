"""Types of data sources: images with labels, and token sequences, by split."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest

Array = npt.NDArray[np.generic]
Labels = npt.NDArray[np.int64]
UNKNOWN = "<unk>"


def held_out(request: DataRequest[Any], train: Labels, wanted: int, things: str = "images") -> dict[str, Labels]:
    """Move ``wanted`` random items from ``train`` to validation; indices ascend.

    Raises:
        HarnessError: no item would remain for training.
    """
    if wanted >= len(train):
        raise HarnessError(f"{request.name}: validation {wanted} leaves none of {len(train)} training {things}")
    chosen = request.streams.numpy("split", request.name).permutation(len(train))
    return {"train": np.sort(train[chosen[wanted:]]), "validation": np.sort(train[chosen[:wanted]])}


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Images in files, for sets larger than memory, decoded on reading.

    Attributes:
        paths: one file an item.
        size: side of the squares in a batch, pixels.
        resize: the shorter side before the centre crop of ``size``, pixels.
    """

    paths: tuple[Path, ...]
    size: int
    resize: int

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, 3, size, size), like an array's."""
        return (len(self.paths), 3, self.size, self.size)


@dataclass(frozen=True, slots=True)
class ImageSplit:
    """Images of one split.

    Attributes:
        images: (N, C, H, W), ``uint8`` in 0–255 or ``float32`` in about 0–1, or files.
        labels: (N,) class numbers.
        items: (N,) number of each item in the whole source, so that per-item scores of two seeds can be matched.
    """

    images: Array | ImageFiles
    labels: Labels
    items: Labels

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.labels) == len(self.items):
            raise ValueError(
                f"a split has {len(self.images)} images, {len(self.labels)} labels and {len(self.items)} item numbers"
            )

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Images:
    """Labelled images by split: ``train``, ``test``, perhaps ``validation``, ``gallery``.

    Attributes:
        splits: by name; ``gallery`` is compared with the queries of ``test`` (retrieval).
        classes: names; labels count from 0 in this order.
        mean, std: per channel in the units 0–1: published constants, or None: those of the training split.
    """

    splits: Mapping[str, ImageSplit]
    classes: tuple[str, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def channels(self) -> int:
        return int(self.splits["train"].images.shape[1])

    @property
    def size(self) -> int:
        """Height in pixels."""
        return int(self.splits["train"].images.shape[2])


@dataclass(frozen=True, slots=True)
class Text:
    """Running text as token numbers.

    Attributes:
        splits: (tokens,) by name: ``train``, ``validation``, ``test``.
        vocabulary: words; a token's number is its place here.
        documents: start of each document, by split.
    """

    splits: Mapping[str, Labels]
    vocabulary: tuple[str, ...]
    documents: Mapping[str, Labels] = field(default_factory=dict)


def vocabulary_of(words: Iterable[str], min_count: int) -> tuple[str, ...]:
    """``<unk>``, then words seen ``min_count`` times or more, by frequency, then alphabet."""
    counts = Counter(words)
    del counts[UNKNOWN]
    kept = [word for word, count in counts.items() if count >= min_count]
    return (UNKNOWN, *sorted(kept, key=lambda word: (-counts[word], word)))
