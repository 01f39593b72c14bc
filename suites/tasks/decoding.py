"""Decoding of single image files to squares, for sources that do not fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = npt.NDArray[np.uint8]


def decode_centre(file: Path, size: int, resize: int) -> Pixels:
    """The centre square of ``size`` pixels after resizing the shorter side to ``resize``; (3, size, size)."""
    image = _opened(file)
    share = resize / min(image.size)
    width, height = (max(size, round(side * share)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    return _pixels(image.resize((width, height), _bilinear()).crop((left, top, left + size, top + size)))


def decode_box(file: Path, size: int, box: Sequence[float]) -> Pixels:
    """A box (top, left, height, width, as shares of the image) resized to a square; (3, size, size)."""
    image = _opened(file)
    top, left, height, width = box
    corners = (left * image.width, top * image.height, (left + width) * image.width, (top + height) * image.height)
    return _pixels(image.resize((size, size), _bilinear(), box=corners))


def _opened(file: Path) -> Image:
    from PIL import Image

    try:
        with Image.open(file) as opened:
            return opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise HarnessError(f"{file} is not an image that can be decoded: {error}") from error


def _bilinear() -> int:
    from PIL import Image

    return Image.Resampling.BILINEAR


def _pixels(image: Image) -> Pixels:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
