"""Images with hole masks, by split, for inpainting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from suites.data.types import Array, ImageFiles, Labels


@dataclass(frozen=True, slots=True)
class MaskFiles:
    """Hole masks in files, resized to the images with nearest.

    Attributes:
        files: the image files.
        white: true if white is the hole, else black.
    """

    files: ImageFiles
    white: bool = True

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True, slots=True)
class PairSplit:
    """Images and masks of one split.

    In training each image gets a random mask; elsewhere image number i has mask number i modulo their number.

    Attributes:
        images: (N, 3, H, W) ``uint8``, or files.
        masks: (M, 1, H, W) ``uint8`` with 1 = hole, or files.
        items: (N,) number of each image in the whole source.
    """

    images: Array | ImageFiles
    masks: Array | MaskFiles
    items: Labels

    def __post_init__(self) -> None:
        if len(self.images) != len(self.items):
            raise ValueError(f"a split has {len(self.images)} images and {len(self.items)} item numbers")
        if not len(self.masks):
            raise ValueError("a split has no masks")
        arrays = isinstance(self.images, np.ndarray) and isinstance(self.masks, np.ndarray)
        if arrays and self.images.shape[2:] != self.masks.shape[2:]:  # type: ignore[union-attr]
            raise ValueError("images and masks differ in height or width")

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class ImagePairs:
    """Splits ``train``, ``test`` and perhaps ``validation``."""

    splits: Mapping[str, PairSplit]

    @property
    def size(self) -> int:
        """Height in pixels."""
        return int(self.splits["train"].images.shape[2])
