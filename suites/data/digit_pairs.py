"""Pairs of handwritten digits: two side by side, 100 classes, all of them in training.

Single digits leave distillation nothing to do: a teacher that knows them puts half a thousandth of its probability on
other classes. Of 100 numbers with ten pictures each it is never so sure, and numbers that share a digit are alike.
Pictures do not cross: each split draws from its own third of them.
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
from harness.trial.seeds import Streams
from suites.data.digits import CLASSES, FILE, SHA256, read_digits
from suites.data.types import Images, ImageSplit

if TYPE_CHECKING:
    from harness.trial.contracts import DataRequest

PAIRS = CLASSES**2


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitPairsOptions:
    """Options of the data source ``digit-pairs``."""

    train: int = option(1000, "training images", low=100, high=100000)
    validation: int = option(500, "validation images", low=100, high=100000)
    test: int = option(1000, "test images", low=100, high=100000)
    sample: int = option(0, "number of the sample: another one is another set", low=0)
    noise: float = option(0.3, "deviation of the noise that is added to pixels in 0–1", low=0)


def load(request: DataRequest[DigitPairsOptions]) -> Images:
    """Numbers 00–99 as (N, 1, 8, 16) images in 0–1 plus noise, as many of each class as N allows.

    As with a published set the images are the same for every seed of a trial, so that a teacher shared by several
    seeds has seen no image of a student's test. Pictures are shared out by the stream ``split`` of the seed
    ``sample``; pairs and noise are drawn from its stream ``data``.

    Raises:
        HarnessError: a split holds fewer images than there are classes.
    """
    options = request.options
    streams = Streams(options.sample)
    thirds = np.array_split(streams.numpy("split", "digit-pairs").permutation(len(read_digits()[1])), 3)
    splits: dict[str, ImageSplit] = {}
    first = 0
    counts = {"train": options.train, "validation": options.validation, "test": options.test}
    for (name, count), pool in zip(counts.items(), thirds, strict=True):
        if count < PAIRS:
            raise HarnessError(f"digit-pairs: {name} {count} is less than one image of each of the {PAIRS} classes")
        draws = streams.numpy("data", "digit-pairs", name)
        splits[name] = _pairs(count, pool, options.noise, draws, first)
        first += count
    return Images(splits, tuple(f"{number:02d}" for number in range(PAIRS)))


def _pairs(count: int, pool: npt.NDArray[np.int64], noise: float, draws: np.random.Generator, first: int) -> ImageSplit:
    images, digits = read_digits()
    labels = draws.permutation(np.arange(count, dtype=np.int64) % PAIRS)
    halves = []
    for wanted in (labels // CLASSES, labels % CLASSES):
        picked = np.empty(count, dtype=np.int64)
        for digit in range(CLASSES):
            where = wanted == digit
            picked[where] = draws.choice(pool[digits[pool] == digit], int(where.sum()))
        halves.append(images[picked])
    joined = np.concatenate(halves, axis=2)[:, None]
    noisy = joined + np.float32(noise) * draws.standard_normal(joined.shape, dtype=np.float32)
    return ImageSplit(noisy.astype(np.float32), labels, np.arange(first, first + count, dtype=np.int64))


CARD = DataCard(
    name="digit-pairs",
    target="load",
    summary="numbers of two handwritten digits, 100 classes, all of them in training",
    origin="real",
    content="images",
    layout="csv",
    home="https://archive.ics.uci.edu/dataset/80",
    licence="CC BY 4.0",
    version="1",
    size="57 kB",
    files=(f"package:{FILE}",),
    sha256=MappingProxyType({f"package:{FILE}": SHA256}),
    options=DigitPairsOptions,
)
