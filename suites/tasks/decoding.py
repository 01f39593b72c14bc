"""Decoding of image files to squares, for sources larger than memory.

JPEG files are decoded by torchvision's operator if available (equal pixels, faster), other files by Pillow. torch
resizes 8-bit integers in a third of Pillow's time; one pixel of two hundred then differs from Pillow's by one level.
Every function may be called by several threads.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.trial.loading import FileRows
from suites.data.photographs import check_size, jpeg_size, opened
from suites.data.types import Array, ImageFiles


def full_scale(images: object) -> float:
    """Largest pixel value: 1 in float arrays, 255 otherwise and in files."""
    return 1.0 if isinstance(images, np.ndarray) and images.dtype != np.uint8 else 255.0


def on_device(array: Array, device: torch.device) -> Tensor:
    """Copy an array, perhaps read-only in an object store, to the device."""
    return torch.tensor(array, device=device)


def centres(files: ImageFiles, places: Tensor) -> FileRows:
    """Centre squares (B, 3, size, size) of files."""
    chosen, size, resize = [files.paths[place] for place in places.tolist()], files.size, files.resize
    return FileRows(chosen, lambda row, file: decode_centre(file, size, resize), (3, size, size))


def boxes(files: ImageFiles, places: Tensor, cut: Tensor) -> FileRows:
    """Boxes (B, 4) of files, resized to squares; boxes as in ``decode_box``."""
    chosen, size = [files.paths[place] for place in places.tolist()], files.size
    shares = cut.tolist()
    return FileRows(chosen, lambda row, file: decode_box(file, shares[row], size), (3, size, size))


def decode_centre(file: Path, size: int, resize: int) -> Array:
    """Centre square after resizing the shorter side to ``resize``; (3, size, size)."""
    image = pixels(file)
    share = resize / min(image.shape[:2])
    height, width = (max(size, round(side * share)) for side in image.shape[:2])
    top, left = (height - size) // 2, (width - size) // 2
    return resized(image, height, width)[:, top : top + size, left : left + size]


def decode_box(file: Path, box: Sequence[float], size: int) -> Array:
    """Resize a box (top, left, height, width in shares) of a file to (3, size, size)."""
    image = pixels(file)
    place = []
    for side, first, length in zip(image.shape[:2], box[:2], box[2:], strict=True):
        whole = min(side, max(1, round(length * side)))
        start = min(round(first * side), side - whole)
        place.append(slice(start, start + whole))
    return resized(image[place[0], place[1]], size, size)


def decode_square(file: Path, size: int) -> Array:
    """Resize both sides of a file to ``size`` pixels; (3, size, size)."""
    return resized(pixels(file), size, size)


def pixels(file: Path) -> Array:
    """Read the colours of an image file, (H, W, 3) ``uint8`` (else HarnessError)."""
    try:
        content = bytearray(file.read_bytes())
    except OSError as error:
        raise HarnessError(f"{file} is not an image that can be decoded: {error}") from error
    stated, decode = jpeg_size(content), jpeg_decoder()
    if stated is None or decode is None:
        return np.array(opened(bytes(content), "RGB", str(file)))
    check_size(*stated, str(file))
    try:
        return decode(torch.frombuffer(content, dtype=torch.uint8)).permute(1, 2, 0).numpy()
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise HarnessError(f"{file} is not an image that can be decoded: {reason}") from error


@cache
def jpeg_decoder() -> Callable[[Tensor], Tensor] | None:
    """torchvision's operator from bytes (N,) to colours (3, H, W), if available: faster, with equal pixels."""
    try:
        from torchvision.io import ImageReadMode

        operator = torch.ops.image.decode_jpeg
    except (ImportError, AttributeError):
        return None
    colours = ImageReadMode.RGB.value
    return lambda content: operator(content, colours, False)


def resized(image: Array, height: int, width: int) -> Array:
    """Resize an image (H, W, 3) bilinearly with averaging; (3, height, width)."""
    channels_first = torch.from_numpy(image).permute(2, 0, 1)[None]
    small = F.interpolate(channels_first, (height, width), mode="bilinear", antialias=True)
    return small[0].numpy()


def decode_mask(file: Path, size: int, white: bool) -> Array:
    """Read a mask file as (1, size, size), 1 = hole; ``white`` false: black is the hole."""
    picture = opened(file, "L", str(file), "a mask").resize((size, size), Image.Resampling.NEAREST)
    lit = np.asarray(picture)[None] > 0
    return (lit if white else ~lit).astype(np.uint8)
