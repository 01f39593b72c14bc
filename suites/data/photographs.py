"""Opening of picture files and cutting of their centres."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from harness.errors import HarnessError

MOST_PIXELS = 100_000_000
NARROWEST = 200
"""Times the shorter side: a strip that is resized by its shorter side would be as many times as large."""


def opened(picture: bytes | Path, mode: str, where: str, what: str = "an image") -> Image.Image:
    """A file's picture, by its content or path, in a mode of Pillow's (``RGB``, ``L``).

    Raises:
        HarnessError: it cannot be decoded; ``what`` it was to be.
    """
    try:
        with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as file:
            # Before a pixel is decoded: a file of some bytes can claim gigabytes of them.
            if file.width * file.height > MOST_PIXELS:
                raise HarnessError(f"{where} has {file.width} × {file.height} pixels, more than {MOST_PIXELS}")
            if max(file.size) > NARROWEST * min(file.size):
                raise HarnessError(f"{where} has {file.width} × {file.height} pixels: no photograph is so narrow")
            return file.convert(mode)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise HarnessError(f"{where} is not {what} that can be decoded: {error}") from error


def centre_square(image: Image.Image, size: int, resize: int) -> Image.Image:
    """The centre square of ``size`` pixels after resizing the shorter side to ``resize``."""
    share = resize / min(image.size)
    image = image.resize([max(size, round(side * share)) for side in image.size], Image.Resampling.BILINEAR)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))
