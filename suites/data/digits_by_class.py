"""Digits split by class: the classes of the test are never seen in training.

Ten classes are too few: with five of them in training, an untrained network's Recall@1 on the other five is 59 % at
noise 0.3 and training does not raise it. So an image holds ``length`` digits side by side and its class is the number
they spell. Two digits give 100 classes, on which Recall@1 rises from 12 % untrained to above 60 %. Pictures do not
cross either: each split draws from its own third of them. Pairs are used rather than rotated digits because a rotated
6 is a 9 and a rotated 0, 1 or 8 is itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.registry.cards import DataCard
from harness.trial.options import option
from suites.data.digits import CLASSES, FILE, SHA256, read_digits
from suites.data.types import Images, ImageSplit, Labels

if TYPE_CHECKING:
    from harness.trial.contracts import DataRequest

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitsByClassOptions:
    """Options of the data source ``digits-by-class``."""

    length: int = option(2, "digits side by side in an image; 10^length classes", low=1, high=3)
    train_classes: int = option(50, "classes to train on", low=2)
    validation_classes: int = option(20, "classes to validate on", low=0)
    images_per_class: int = option(20, "images of each class", low=2, high=1000)
    noise: float = option(0.3, "deviation of the noise that is added to pixels in 0–1", low=0)


def load(request: DataRequest[DigitsByClassOptions]) -> Images:
    """Numbers of ``length`` digits as (N, 1, 8, 8·length) images in 0–1 plus noise; classes disjoint between splits.

    Classes and pictures are shared out by the stream ``split``; pairs and noise are drawn from the stream ``data``.

    Raises:
        HarnessError: no class is left for the test.
    """
    options = request.options
    length, each = options.length, options.images_per_class
    total = CLASSES**length
    counts = [options.train_classes, options.validation_classes]
    if sum(counts) > total - 2:
        raise HarnessError(
            f"digits-by-class: train_classes {counts[0]} + validation_classes {counts[1]} leave fewer than two of the "
            f"{total} classes for the test; lower them"
        )
    split = request.streams.numpy("split", "digits-by-class")
    classes = np.split(split.permutation(total), np.cumsum(counts))
    pictures = np.array_split(split.permutation(len(read_digits()[1])), 3)
    splits = {}
    first = 0
    for name, chosen, pool in zip(SPLITS, classes, pictures, strict=True):
        if len(chosen):
            draws = request.streams.numpy("data", "digits-by-class", name)
            splits[name] = _numbers(np.sort(chosen), pool, length, each, options.noise, draws, first)
            first += len(splits[name])
    return Images(splits, tuple(f"{number:0{length}d}" for number in range(total)))


def _numbers(
    classes: Labels,
    pool: npt.NDArray[np.int64],
    length: int,
    each: int,
    noise: float,
    draws: np.random.Generator,
    first: int,
) -> ImageSplit:
    images, digits = read_digits()
    by_digit = [pool[digits[pool] == digit] for digit in range(CLASSES)]
    labels = np.repeat(classes, each).astype(np.int64)
    parts = []
    for place in range(length):
        wanted = labels // CLASSES ** (length - 1 - place) % CLASSES
        picked = np.empty(len(labels), dtype=np.int64)
        for digit in range(CLASSES):
            where = wanted == digit
            picked[where] = draws.choice(by_digit[digit], int(where.sum()))
        parts.append(images[picked])
    joined = np.concatenate(parts, axis=2)[:, None]
    noisy = joined + np.float32(noise) * draws.standard_normal(joined.shape, dtype=np.float32)
    return ImageSplit(noisy.astype(np.float32), labels, np.arange(first, first + len(labels), dtype=np.int64))


CARD = DataCard(
    name="digits-by-class",
    target="load",
    summary="numbers of two handwritten digits, 100 classes, those of the test unseen in training",
    origin="real",
    content="images",
    layout="csv",
    home="https://archive.ics.uci.edu/dataset/80",
    licence="CC BY 4.0",
    version="1",
    size="57 kB",
    files=(f"package:{FILE}",),
    sha256=MappingProxyType({f"package:{FILE}": SHA256}),
    options=DigitsByClassOptions,
)
