"""Handwritten digits of random size pasted on noise, with their boxes."""

from dataclasses import dataclass

import numpy as np

from harness.trial.contracts import DataRequest
from harness.trial.options import option
from suites.data.boxes import BoxedImages, Listed, boxed
from suites.data.digits import enlarge, read_digits


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitsPastedOptions:
    """Options of the data source ``digits-pasted``."""

    size: int = option(32, "side of the canvas, pixels", low=20)
    classes: int = option(4, "number of digits that occur, from 0", low=1, high=10)
    most: int = option(3, "largest number of digits on a canvas", low=1, high=10)
    noise: float = option(0.1, "deviation of the noise added to pixels in 0–1", low=0)
    train: int = option(300, "training images", low=4)
    validation: int = option(60, "validation images", low=0)
    test: int = option(200, "test images", low=1)


def load(request: DataRequest[DigitsPastedOptions]) -> BoxedImages:
    """Paste digits of random size on noise: (N, 1, size, size), with boxes; splits share no digits."""
    options = request.options
    size, classes = options.size, options.classes
    images, digits = read_digits()
    pools = np.array_split(request.streams.numpy("split", "digits-pasted").permutation(len(digits)), 3)
    sides = np.arange(10, 1 + max(10, size // 2), 2)
    large = {int(side): enlarge(images, int(side)) for side in sides}
    splits, first = {}, 0
    counts = {"train": options.train, "validation": options.validation, "test": options.test}
    for (name, count), pool in zip(counts.items(), pools, strict=True):
        draws = request.streams.numpy("data", "digits-pasted", name)
        pool = pool[digits[pool] < classes]
        canvas = options.noise * draws.standard_normal((count, 1, size, size), dtype=np.float32)
        listed = []
        for place in range(count):
            taken: list[tuple[int, int, int]] = []
            rows = []
            for _ in range(int(draws.integers(1, options.most + 1))):
                digit, side = int(draws.choice(pool)), int(draws.choice(sides))
                left, top = (int(corner) for corner in draws.integers(0, size - side + 1, 2))
                if any(abs(left - a) < max(side, c) and abs(top - b) < max(side, c) for a, b, c in taken):
                    continue  # no overlaps
                taken.append((left, top, side))
                picture = large[side][digit]
                canvas[place, 0, top : top + side, left : left + side] += picture
                ys, xs = (picture > 0.3).any(1).nonzero()[0], (picture > 0.3).any(0).nonzero()[0]
                box = (left + xs[0], top + ys[0], left + xs[-1] + 1, top + ys[-1] + 1)
                rows.append((int(digits[digit]), *(float(edge) / size for edge in box), 0))
            listed.append(Listed("", tuple(rows)))  # type: ignore[arg-type]
        if count:
            splits[name] = boxed(canvas, listed, np.arange(first, first + count, dtype=np.int64), size)
        first += count
    return BoxedImages(splits, tuple(str(digit) for digit in range(classes)), 1, size, (0.1,), (0.35,))
