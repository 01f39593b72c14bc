"""Opening of picture files and cropping of their centres."""

import io
from pathlib import Path

from PIL import Image

from harness.errors import HarnessError

MOST_PIXELS = 100_000_000
NARROWEST = 200
"""Largest ratio of the sides: resizing a strip by its shorter side would enlarge it that much."""
# Markers of JPEG: frames of Huffman-coded sequential and progressive pictures; segments allowed before a frame (Huffman
# and quantisation tables, restart intervals, application data, comments).
_FRAMES = (0xC0, 0xC1, 0xC2)
_SKIPPED = (0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE)


def check_size(width: int, height: int, where: str) -> None:
    """Reject implausible sizes before decoding: a small file can claim gigabytes."""
    if width * height > MOST_PIXELS:
        raise HarnessError(f"{where} has {width} × {height} pixels, more than {MOST_PIXELS}")
    if max(width, height) > NARROWEST * min(width, height):
        raise HarnessError(f"{where} has {width} × {height} pixels: too narrow for a photograph")


def jpeg_size(content: bytes | bytearray) -> tuple[int, int] | None:
    """Width and height of a usual JPEG file (grey or three colours, 8 bits), else None (ITU-T T.81, B.2.2)."""
    if content[:3] != b"\xff\xd8\xff":
        return None
    place = 2
    while place + 10 <= len(content) and content[place] == 0xFF:
        kind = content[place + 1]
        if kind in _FRAMES:
            height, width = (int.from_bytes(content[place + at : place + at + 2]) for at in (5, 7))
            usual = content[place + 4] == 8 and content[place + 9] in (1, 3) and width and height
            return (width, height) if usual else None
        if kind not in _SKIPPED:
            return None
        place += 2 + int.from_bytes(content[place + 2 : place + 4])
    return None


def opened(picture: bytes | Path, mode: str, where: str, what: str = "an image") -> Image.Image:
    """Open a picture by content or path, in a mode of Pillow (``RGB``, ``L``).

    Raises:
        HarnessError: it cannot be decoded as ``what``.
    """
    try:
        with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as file:
            check_size(file.width, file.height, where)
            return file.convert(mode)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise HarnessError(f"{where} is not {what} that can be decoded: {error}") from error


def centre_square(image: Image.Image, size: int, resize: int) -> Image.Image:
    """Cut the centre square after resizing the shorter side to ``resize``."""
    share = resize / min(image.size)
    image = image.resize([max(size, round(side * share)) for side in image.size], Image.Resampling.BILINEAR)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))
