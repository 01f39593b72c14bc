"""Decoding of image files to squares, for sources that do not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from suites.data.photographs import centre_square, opened
from suites.data.types import Array, ImageFiles

T = TypeVar("T")


def stacked(threads: int, decode: Callable[[T], Array], jobs: Iterable[T], device: torch.device) -> Tensor:
    """What ``decode`` makes of every job, (B, …) in their order, decoded by several threads."""
    with ThreadPoolExecutor(threads) as pool:
        return torch.from_numpy(np.stack(list(pool.map(decode, jobs)))).to(device)


Decode = Callable[[Path], Array]
Reader = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) at places (B,) of a split, on the device."""


def image_reader(images: Array | ImageFiles, device: torch.device, threads: int = 1) -> Reader:
    """From an array that is copied to the device (those of an object store are read-only), or decoded from files."""
    if isinstance(images, ImageFiles):
        decode = partial(decode_centre, size=images.size, resize=images.resize)
        return file_reader(images.paths, decode, device, threads)
    return torch.tensor(images, device=device).__getitem__


def file_reader(paths: Sequence[Path], decode: Decode, device: torch.device, threads: int = 1) -> Reader:
    """From files, decoded whenever they are read."""
    return lambda places: stacked(threads, decode, [paths[place] for place in places.tolist()], device)


def full_scale(images: object) -> float:
    """Value of a pixel that is full on: 1 in arrays of floats, 255 in other arrays and in files."""
    return 1.0 if isinstance(images, np.ndarray) and images.dtype != np.uint8 else 255.0


def decode_centre(file: Path, size: int, resize: int) -> Array:
    """The centre square of ``size`` pixels after resizing the shorter side to ``resize``; (3, size, size)."""
    return _channels_first(centre_square(opened(file, "RGB", str(file)), size, resize))


def decode_box(job: tuple[Path, Sequence[float]], size: int) -> Array:
    """A file's box (top, left, height, width, as shares of the image) resized to a square; (3, size, size)."""
    image, (top, left, height, width) = opened(job[0], "RGB", str(job[0])), job[1]
    corners = (left * image.width, top * image.height, (left + width) * image.width, (top + height) * image.height)
    return _channels_first(image.resize((size, size), Image.Resampling.BILINEAR, box=corners))


def decode_mask(file: Path, size: int, white: bool) -> Array:
    """A mask file as (1, size, size) ``uint8``, 1 = hole: resized with nearest, thresholded at above 0 as released.

    ``white`` false: black is the hole.
    """
    picture = opened(file, "L", str(file), "a mask").resize((size, size), Image.Resampling.NEAREST)
    lit = np.asarray(picture)[None] > 0
    return (lit if white else ~lit).astype(np.uint8)


def _channels_first(image: Image.Image) -> Array:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
