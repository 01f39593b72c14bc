"""Images with backgrounds biased towards the class: coloured digits, shared parts.

Biased-MNIST (Bahng et al., ICML 2020, section 4.2.1) gives each class a background colour; a training image has the
colour of its class with probability ρ, else another. Without bias ρ is 1/classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from harness.trial.contracts import DataRequest
from harness.trial.options import option
from suites.data.digits import CLASSES, divided, enlarge, read_digits
from suites.data.types import Images, ImageSplit, Labels

Pixels = npt.NDArray[np.float32]
# the ten colours of the released code, 0–255
COLOURS = np.array(
    [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (225, 225, 0),
        (225, 0, 225),
        (0, 255, 255),
        (255, 128, 0),
        (255, 0, 128),
        (128, 0, 255),
        (128, 128, 128),
    ],
    dtype=np.float32,
)
# three orientations at three periods (pixels) each
TEXTURES = tuple((np.pi * angle / 3, period) for period in (2.5, 4.0, 7.0) for angle in range(3))


@dataclass(frozen=True, slots=True)
class BiasedImages(Images):
    """Images with their bias.

    ``test`` and ``validation`` are unbiased, ``biased`` is like the training; ``hard`` is optional.

    Attributes:
        groups: by split (N, R), the bias of each item (colour, texture cluster) under R groupings.
    """

    groups: Mapping[str, Labels] = field(default_factory=dict)


def assign_bias(labels: Labels, rho: float, classes: int, draws: np.random.Generator) -> Labels:
    """Assign each item of classes (N,) a bias (N,).

    Of each class the share ρ, rounded down, gets its own number. The rest is spread evenly over the other numbers, in
    random order, as in the released code with nine confusing labels.
    """
    bias = labels.copy()
    for label in range(classes):
        places = draws.permutation((labels == label).nonzero()[0])
        free = places[int(len(places) * rho) :]
        others = draws.permutation(np.setdiff1d(np.arange(classes), [label]))
        each = max(1, -(-len(free) // len(others)))
        bias[free] = others[np.arange(len(free)) // each]
    return bias


def on_colours(strokes: Pixels, bias: Labels) -> Pixels:
    """Paint white strokes (N, H, W) on each item's background colour: (N, 3, H, W)."""
    background = COLOURS[bias][:, :, None, None] / 255
    return (strokes[:, None] + (1 - strokes[:, None]) * background).astype(np.float32)


def on_textures(strokes: Pixels, bias: Labels, draws: np.random.Generator) -> Pixels:
    """Paint white strokes (N, H, W) on gratings by bias: (N, 1, H, W)."""
    side = strokes.shape[-1]
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    angles, periods = np.array(TEXTURES)[bias].T[:, :, None, None]
    along = columns * np.cos(angles) + rows * np.sin(angles)
    phase = draws.uniform(0, 2 * np.pi, len(bias))[:, None, None]
    waves = 0.35 + 0.35 * np.sin(2 * np.pi * along / periods + phase)
    return (strokes + (1 - strokes) * waves).astype(np.float32)[:, None]


Painter = Callable[[Pixels, Labels, np.random.Generator], Pixels]


def biased_splits(
    strokes: Mapping[str, tuple[Pixels, Labels, Labels]],
    rho: float,
    classes: int,
    paint: Painter,
    draws: np.random.Generator,
) -> tuple[dict[str, ImageSplit], dict[str, Labels]]:
    """Paint splits; return them and their groups.

    ``biased`` and ``hard`` are the test items, always with the bias of their own class or of another.

    Args:
        strokes: by split (N, H, W) in 0–1, labels, item numbers.
        rho: share of a class with its own bias, in training.
        classes: number of classes, and of biases.
        paint: paints strokes on their backgrounds.
        draws: source of biases and backgrounds.
    """
    plans = [(name, name, rho if name == "train" else 1 / classes) for name in strokes]
    plans += [("biased", "test", 1.0), ("hard", "test", 0.0)]
    splits, groups = {}, {}
    for name, source, share in plans:
        images, labels, items = strokes[source]
        bias = assign_bias(labels, share, classes, draws)
        splits[name] = ImageSplit(paint(images, bias, draws), labels, items)
        groups[name] = bias[:, None]
    return splits, groups


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasedDigitsOptions:
    """Options of the data source ``biased-digits``."""

    bias: str = option("colour", "bias of the background", choices=("colour", "texture"))
    rho: float = option(0.95, "share of a class on its own background, in training", low=0, high=1)
    train: int = option(1000, "training images", low=10)
    validation: int = option(200, "validation images, without bias", low=0)
    noise: float = option(0.1, "deviation of the noise added to pixels in 0–1", low=0)
    size: int = option(8, "side in pixels, bilinear enlargement", low=8, high=256)


def load_digits(request: DataRequest[BiasedDigitsOptions]) -> BiasedImages:
    """Read digits on a background biased by colour or texture.

    Colour has 3 channels and 10 classes, texture 1 channel and the digits 0–8.

    Splits by the stream ``split``, biases, phases and noise by the stream ``data``.
    """
    options = request.options
    texture = options.bias == "texture"
    classes = len(TEXTURES) if texture else CLASSES
    images, labels = read_digits()
    kept = (labels < classes).nonzero()[0]
    order = kept[request.streams.numpy("split", "biased-digits").permutation(len(kept))]
    large = enlarge(images, options.size)
    parts = divided("biased-digits", order, options.train, options.validation)
    strokes = {name: (large[chosen], labels[chosen], chosen) for name, chosen in parts.items()}
    draws = request.streams.numpy("data", "biased-digits")

    def paint(images: Pixels, bias: Labels, draws: np.random.Generator) -> Pixels:
        painted = on_textures(images, bias, draws) if texture else on_colours(images, bias)
        noise = draws.standard_normal(painted.shape, dtype=np.float32)
        return painted + np.float32(options.noise) * noise

    splits, groups = biased_splits(strokes, options.rho, classes, paint, draws)
    return BiasedImages(splits, tuple(str(digit) for digit in range(classes)), groups=groups)
