"""Generated coloured gratings and plaids with wide holes.

The area around a hole determines a picture's phase, orientation and colours, so a network can gain much over
a mean, and holes of a fifth to a half of the picture affect every pixel's neighbourhood.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from harness.trial.options import option
from suites.data.imagepairs import ImagePairs, PairSplit
from suites.data.types import Array

WAVES = 8
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class GratingsOptions:
    """Options of the data source ``gratings``."""

    size: int = option(32, "side in pixels", low=16, high=256)
    train: int = option(512, "training pictures", low=1, high=100000)
    validation: int = option(64, "validation pictures", low=1, high=100000)
    test: int = option(192, "test pictures", low=1, high=100000)
    masks: int = option(512, "hole masks for training; other pictures have one each", low=1, high=100000)
    frequency: float = option(2.0, "most cycles across a picture", low=1, high=64)
    least_hole: float = option(0.2, "smallest hole as a share of the picture", low=0.001, high=0.999)
    most_hole: float = option(0.5, "largest hole as a share of the picture", low=0.001, high=0.999)


def load(request: DataRequest[GratingsOptions]) -> ImagePairs:
    """Generate pictures (N, 3, size, size) and masks from the stream ``data``."""
    options = request.options
    size, low, high = options.size, options.least_hole, options.most_hole
    if low > high:
        raise HarnessError(f"gratings: least_hole {low} is above most_hole {high}")
    splits, first = {}, 0
    counts = {"train": options.train, "validation": options.validation, "test": options.test}
    for name, count in counts.items():
        draws = request.streams.numpy("data", "gratings", name)
        images = gratings(draws, count, size, options.frequency)
        drawn = options.masks if name == "train" else count
        masks = blobs(request.streams.numpy("data", "holes", name), drawn, size, low, high)
        splits[name] = PairSplit(images, masks, np.arange(first, first + count, dtype=np.int64))
        first += count
    return ImagePairs(splits)


def gratings(draws: np.random.Generator, count: int, size: int, frequency: float) -> Array:
    """Draw pictures (count, 3, size, size): a mean colour and one or two gratings.

    Args:
        draws: source of the draws.
        count, size: number and side in pixels.
        frequency: largest number of cycles across a picture; the smallest is 1.
    """
    waves = np.zeros((count, 3, size, size))
    for number in range(2):
        colour = draws.uniform(-1, 1, (count, 3, 1, 1))
        colour /= np.abs(colour).max(axis=1, keepdims=True)
        wave = np.sin(_phases(draws, count, size, draws.uniform(1, frequency, count)))[:, None]
        present = (number == 0) | (draws.random((count, 1, 1, 1)) < 0.5)
        waves += present * colour * wave
    strength = draws.uniform(0.3, 0.4, (count, 1, 1, 1)) / np.maximum(np.abs(waves).max((1, 2, 3), keepdims=True), 1)
    image = draws.uniform(0.4, 0.6, (count, 3, 1, 1)) + strength * waves
    return (image * 255).round().clip(0, 255).astype(np.uint8)


def _phases(draws: np.random.Generator, count: int, size: int, cycles: Floats) -> Floats:
    angle, phase = draws.uniform(0, np.pi, count), draws.uniform(0, 2 * np.pi, count)
    places = np.arange(size) / size
    across = (np.cos(angle) * cycles)[:, None, None] * places[None, None, :]
    down = (np.sin(angle) * cycles)[:, None, None] * places[None, :, None]
    return 2 * np.pi * (across + down) + phase[:, None, None]


def blobs(draws: np.random.Generator, count: int, size: int, low: float, high: float) -> Array:
    """Masks (count, 1, size, size), 1 = hole of ``low``–``high`` of the picture: peaks of a smooth random field."""
    field = np.zeros((count, size, size))
    for _ in range(WAVES):
        field += draws.standard_normal((count, 1, 1)) * np.cos(
            _phases(draws, count, size, draws.uniform(0.5, 2, count))
        )
    ratio = draws.uniform(low, high, count)
    level = np.sort(field.reshape(count, -1), axis=1)
    cut = level[np.arange(count), size * size - np.maximum(1, np.round(ratio * size * size)).astype(np.int64)]
    return (field >= cut[:, None, None])[:, None].astype(np.uint8)
