"""IDX files: published MNIST, user folders of this layout, and Biased-MNIST.

Format (http://yann.lecun.com/exdb/mnist/, "The IDX file format"): two zero bytes, the type of an element (0x08:
unsigned byte), the number of dimensions, each dimension as a big-endian 32-bit number, then the elements, last
dimension fastest.
"""

import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.base.limits import content_of
from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from harness.trial.options import REQUIRED, option
from suites.data.archive import folder_of, missing
from suites.data.biased import TEXTURES, BiasedImages, Pixels, biased_splits, on_colours, on_textures
from suites.data.types import Images, ImageSplit, Labels

BYTE = 0x08
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def read_idx(path: Path, dimensions: int, source: str) -> npt.NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, plain or gzipped."""
    file = next((p for p in (path, path.with_name(path.name + ".gz")) if p.is_file()), None)
    if file is None:
        raise missing(source, path)
    try:
        content = content_of(file)
    except (OSError, EOFError, zlib.error) as error:
        raise HarnessError(f"{source}: {file} is damaged: {error}") from error
    head = 4 + 4 * dimensions
    if len(content) < head or content[:2] != b"\x00\x00":
        raise HarnessError(f"{source}: {file} is not an IDX file: it does not begin with two zero bytes and a header")
    if content[2] != BYTE or content[3] != dimensions:
        raise HarnessError(
            f"{source}: {file} has elements of type {content[2]:#04x} in {content[3]} dimensions; expected "
            f"{BYTE:#04x} (unsigned byte) in {dimensions}"
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, 4))
    if len(content) != head + math.prod(shape):
        raise HarnessError(
            f"{source}: {file} states {shape}, which is {math.prod(shape)} bytes, but has {len(content) - head}"
        )
    if 0 in shape:
        raise HarnessError(f"{source}: {file} states {shape}: it is empty")
    return np.frombuffer(content, np.uint8, -1, head).reshape(shape)


def read_folder(folder: Path, source: str) -> dict[str, tuple[npt.NDArray[np.uint8], Labels]]:
    """Read images (N, H, W) and labels (N,) of ``train`` and ``test``."""
    parts = {}
    for split, images_file, labels_file in (("train", *FILES[:2]), ("test", *FILES[2:])):
        images = read_idx(folder / images_file, 3, source)
        labels = read_idx(folder / labels_file, 1, source).astype(np.int64)
        if len(images) != len(labels):
            raise HarnessError(f"{source}: {len(images)} {split} images in {folder}, but {len(labels)} labels")
        parts[split] = images, labels
    return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class CountOptions:
    """Numbers of images by split."""

    train: int = option(0, "training images, drawn at random; 0: all others", low=0)
    validation: int = option(0, "images moved from training to validation", low=0)
    test: int = option(0, "test images, the first; 0: all", low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdxOptions(CountOptions):
    """Options of a user folder."""

    path: str = option(REQUIRED, "folder, absolute or below HARNESS_DATA")


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasedMnistOptions(CountOptions):
    """Options of Biased-MNIST."""

    bias: str = option("colour", "bias of the background", choices=("colour", "texture"))
    rho: float = option(0.999, "share of a class on its own background, in training", low=0, high=1)
    size: int = option(28, "side in pixels: 28, or a divisor by averaging", low=7, high=28)


def _chosen(request: DataRequest[CountOptions]) -> dict[str, tuple[npt.NDArray[np.uint8], Labels, Labels]]:
    """Images, labels and item numbers of the requested splits."""
    options, source = request.options, request.name
    parts = read_folder(folder_of(request), source)
    (images, labels), (held, held_labels) = parts["train"], parts["test"]
    train, validation = options.train or len(labels), options.validation
    train = min(train, len(labels) - validation)
    if train < 1:
        raise HarnessError(f"{source}: validation {validation} leaves none of {len(labels)} training images")
    order = request.streams.numpy("split", source).permutation(len(labels))
    test = options.test or len(held_labels)
    places = {"train": np.sort(order[:train]), "validation": np.sort(order[train : train + validation])}
    splits = {name: (images[chosen], labels[chosen], chosen) for name, chosen in places.items() if len(chosen)}
    items = np.arange(len(labels), len(labels) + min(test, len(held_labels)), dtype=np.int64)
    splits["test"] = held[:test], held_labels[:test], items
    return splits


def load_idx(request: DataRequest[CountOptions]) -> Images:
    """Read a user's folder of the four files, or published MNIST."""
    chosen = _chosen(request)
    classes = 1 + max(int(labels.max()) for _, labels, _ in chosen.values())
    splits = {name: ImageSplit(images[:, None], labels, items) for name, (images, labels, items) in chosen.items()}
    return Images(splits, tuple(str(number) for number in range(classes)))


def load_biased_mnist(request: DataRequest[BiasedMnistOptions]) -> BiasedImages:
    """Build Biased-MNIST: strokes become white, the rest the colour; then average.

    Averaging reduces the side to ``size``. With ``bias: texture`` gratings replace the colours (1 channel, the digits
    0–8). The stream ``data`` draws biases and phases.
    """
    options = request.options
    size = options.size
    chosen = _chosen(request)
    side = chosen["train"][0].shape[-1]
    if side % size:
        raise HarnessError(f"biased-mnist: size {size} does not divide {side}; valid: 28, 14, 7")
    texture = options.bias == "texture"
    classes = len(TEXTURES) if texture else 10
    strokes = {}
    for name, (images, labels, items) in chosen.items():
        kept = labels < classes
        strokes[name] = (images[kept] > 0).astype(np.float32), labels[kept], items[kept]

    def paint(images: Pixels, bias: Labels, draws: np.random.Generator) -> Pixels:
        pooled = images.reshape(len(images), size, side // size, size, side // size).mean(axis=(2, 4))
        return on_textures(pooled, bias, draws) if texture else on_colours(pooled, bias)

    draws = request.streams.numpy("data", "biased-mnist")
    splits, groups = biased_splits(strokes, options.rho, classes, paint, draws)
    half = (0.5,) * (1 if texture else 3)
    return BiasedImages(splits, tuple(str(digit) for digit in range(classes)), half, half, groups=groups)
