"""What inpainting reads: images with hole masks, by split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from suites.data.types import Array, ImageFiles, Labels


@dataclass(frozen=True, slots=True)
class MaskFiles:
    """Hole masks that stay in their files; brought to the image's size with nearest.

    Attributes:
        files: the image files.
        white: whether white is the hole; otherwise black is.
    """

    files: ImageFiles
    white: bool = True

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True, slots=True)
class PairSplit:
    """Images and masks of one split.

    In training a mask is drawn for each image anew; elsewhere image number i has mask number i modulo their number.

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
            raise ValueError(f"a split holds {len(self.images)} images and {len(self.items)} item numbers")
        if not len(self.masks):
            raise ValueError("a split holds no masks")
        arrays = isinstance(self.images, np.ndarray) and isinstance(self.masks, np.ndarray)
        if arrays and self.images.shape[2:] != self.masks.shape[2:]:  # type: ignore[union-attr]
            raise ValueError("images and masks differ in height or width")

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class ImagePairs:
    """Splits ``train``, ``test`` and where there is one ``validation``."""

    splits: Mapping[str, PairSplit]

    @property
    def size(self) -> int:
        """Height in pixels."""
        return int(self.splits["train"].images.shape[2])
