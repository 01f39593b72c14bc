"""Numbers of handwritten digits side by side; the class is the number.

Ten classes are too few. On single digits distillation has no effect: a teacher that knows them puts half a
thousandth of its probability on other classes. On 100 numbers with ten pictures each it is never so sure, and numbers
that share a digit are similar (``digit-pairs``, all classes in training). With five of ten classes in training an
untrained network's Recall@1 on the other five is 59 % at noise 0.3 and training does not raise it; on 100 classes it
rises from 12 % untrained to above 60 % (``digits-by-class``, the classes of the test never seen in training).
Pictures do not cross: each split draws from its own third of them. Rotated digits would not work, since a
rotated 6 is a 9 and a rotated 0, 1 or 8 is itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from harness.trial.options import option
from harness.trial.seeds import Streams
from suites.data.digits import CLASSES, read_digits
from suites.data.types import Images, ImageSplit, Labels

PAIRS = CLASSES**2
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitPairsOptions:
    """Options of the data source ``digit-pairs``."""

    train: int = option(1000, "training images", low=100, high=100000)
    validation: int = option(500, "validation images", low=100, high=100000)
    test: int = option(1000, "test images", low=100, high=100000)
    sample: int = option(0, "number of the sample; each number gives another set", low=0)
    noise: float = option(0.3, "deviation of the noise added to pixels in 0–1", low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitsByClassOptions:
    """Options of the data source ``digits-by-class``."""

    length: int = option(2, "digits of an image; 10^length classes", low=1, high=3)
    train_classes: int = option(50, "classes to train on", low=2)
    validation_classes: int = option(20, "classes to validate on", low=0)
    images_per_class: int = option(20, "images of each class", low=2, high=1000)
    noise: float = option(0.3, "deviation of the noise added to pixels in 0–1", low=0)


def load_pairs(request: DataRequest[DigitPairsOptions]) -> Images:
    """Generate numbers 00–99 as (N, 1, 8, 16) images plus noise, evenly by class.

    As with a published set the images are the same for every seed of a trial, so that a teacher shared by several
    seeds has seen no image of a student's test. The stream ``split`` of the seed ``sample`` divides the pictures; its
    stream ``data`` draws pairs and noise.

    Raises:
        HarnessError: a split has fewer images than there are classes.
    """
    options = request.options
    streams = Streams(options.sample)
    thirds = _thirds(streams.numpy("split", "digit-pairs"))
    splits: dict[str, ImageSplit] = {}
    first = 0
    counts = (options.train, options.validation, options.test)
    for name, count, pool in zip(SPLITS, counts, thirds, strict=True):
        if count < PAIRS:
            raise HarnessError(f"digit-pairs: {name} {count} is less than one image of each of the {PAIRS} classes")
        draws = streams.numpy("data", "digit-pairs", name)
        labels = draws.permutation(np.arange(count, dtype=np.int64) % PAIRS)
        splits[name] = _numbers(labels, 2, pool, options.noise, draws, first)
        first += count
    return Images(splits, tuple(f"{number:02d}" for number in range(PAIRS)))


def load_by_class(request: DataRequest[DigitsByClassOptions]) -> Images:
    """Generate numbers as (N, 1, 8, 8·length) images plus noise, with disjoint classes.

    The stream ``split`` divides classes and pictures; the stream ``data`` draws pairs and noise.

    Raises:
        HarnessError: no class remains for the test.
    """
    options = request.options
    length, total = options.length, CLASSES**options.length
    counts = [options.train_classes, options.validation_classes]
    if sum(counts) > total - 2:
        raise HarnessError(
            f"digits-by-class: train_classes {counts[0]} + validation_classes {counts[1]} leave fewer than two of the "
            f"{total} classes for the test; lower them"
        )
    split = request.streams.numpy("split", "digits-by-class")
    classes = np.split(split.permutation(total), np.cumsum(counts))
    splits = {}
    first = 0
    for name, chosen, pool in zip(SPLITS, classes, _thirds(split), strict=True):
        if len(chosen):
            draws = request.streams.numpy("data", "digits-by-class", name)
            labels = np.repeat(np.sort(chosen), options.images_per_class).astype(np.int64)
            splits[name] = _numbers(labels, length, pool, options.noise, draws, first)
            first += len(labels)
    return Images(splits, tuple(f"{number:0{length}d}" for number in range(total)))


def _thirds(draws: np.random.Generator) -> list[Labels]:
    return np.array_split(draws.permutation(len(read_digits()[1])), 3)


def _numbers(
    labels: Labels, length: int, pool: Labels, noise: float, draws: np.random.Generator, first: int
) -> ImageSplit:
    """Draw images of the numbers (N,), each digit from the pictures of ``pool``."""
    images, digits = read_digits()
    by_digit = [pool[digits[pool] == digit] for digit in range(CLASSES)]
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
