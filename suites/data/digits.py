"""Handwritten digits, 8×8: the UCI set's test part, shipped by scikit-learn.

The packaged file is read with numpy, since importing scikit-learn costs most of a second a trial.

Two sources are numbers of digits side by side; the class is the number. On ten single digits distillation has no
effect: a teacher that knows them puts half a thousandth of its probability on other classes; on 100 numbers with ten
pictures each it is never so sure, and numbers that share a digit are similar (``digit-pairs``, all classes in
training). Nor does training raise Recall@1 on five unseen digits above an untrained network's 59 %; on 100 classes it
rises from 12 % to above 60 % (``digits-by-class``, the classes of the test never seen in training). Each split draws
from its own third of the pictures. Rotated digits would not do: a rotated 6 is a 9, a rotated 0, 1 or 8 is itself.
"""

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
from harness.trial.seeds import Streams
from suites.data.types import Images, ImageSplit, Labels

FILE = "sklearn/datasets/data/digits.csv.gz"
SIDE = 8
LEVELS = 16
CLASSES = 10
SPLITS = ("train", "validation", "test")
PAIRS = CLASSES**2

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


def divided(source: str, order: Labels, train: int, validation: int) -> dict[str, Labels]:
    """Split a permutation: ``train`` and ``validation`` items first, the rest is ``test``."""
    if train + validation >= len(order):
        raise HarnessError(
            f"{source}: train {train} + validation {validation} leave nothing of {len(order)} items for test; "
            f"lower them"
        )
    parts = np.split(order.astype(np.int64), [train, train + validation])
    return dict(zip(SPLITS, parts, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitsOptions:
    """Options of the data source ``digits``."""

    train: int = option(400, "training images", low=10)
    validation: int = option(300, "validation images", low=1)
    noise: float = option(0.0, "deviation of the noise added to pixels in 0–1", low=0)
    size: int = option(8, "side in pixels, bilinear enlargement", low=8, high=256)


def load_digits(request: DataRequest[DigitsOptions]) -> Images:
    """Read digits (N, 1, size, size) in 0–1, split by the stream ``split``, with noise of the stream ``data``."""
    options = request.options
    images, labels = read_digits()
    order = request.streams.numpy("split", "digits").permutation(len(labels))
    large = enlarge(images, options.size)
    if options.noise > 0:
        noise = request.streams.numpy("data", "digits").standard_normal(large.shape, dtype=np.float32)
        large = large + np.float32(options.noise) * noise
    parts = divided("digits", order, options.train, options.validation)
    splits = {name: ImageSplit(large[chosen][:, None], labels[chosen], chosen) for name, chosen in parts.items()}
    return Images(splits, tuple(str(digit) for digit in range(CLASSES)))


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
    """Generate numbers (N, 1, 8, 8·length) plus noise (stream ``data``), with disjoint classes (stream ``split``)."""
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
