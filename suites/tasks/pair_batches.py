"""Images with their holes as batches on the device, from arrays or decoded from files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.errors import HarnessError
from suites.data.pairs import MaskFiles, PairSplit
from suites.data.types import Array, ImageFiles
from suites.tasks.decoding import decode_centre


class PairBatches:
    """One split's images (0–1) and masks (1 = hole).

    Args:
        split: the images and masks.
        device: where batches are wanted.
        threads: that decode files.
    """

    def __init__(self, split: PairSplit, device: torch.device, threads: int = 1) -> None:
        self.split, self.device, self.threads = split, device, threads
        self.images = None if isinstance(split.images, ImageFiles) else torch.tensor(split.images, device=device)
        self.masks = None if isinstance(split.masks, MaskFiles) else torch.tensor(split.masks, device=device)

    def __len__(self) -> int:
        return len(self.split)

    @property
    def mask_count(self) -> int:
        """How many masks there are to draw from."""
        return len(self.split.masks)

    def take(self, places: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) in 0–1 and holes (B, 1, H, W) of 0 and 1, by their numbers."""
        return self._images(places), self._masks(masks)

    def _images(self, places: Tensor) -> Tensor:
        if self.images is not None:
            return self.images[places].float() / 255
        files = self.split.images
        assert isinstance(files, ImageFiles)
        with ThreadPoolExecutor(self.threads) as pool:
            found = list(pool.map(lambda p: decode_centre(files.paths[p], files.size, files.resize), places.tolist()))
        return torch.from_numpy(np.stack(found)).to(self.device).float() / 255

    def _masks(self, places: Tensor) -> Tensor:
        if self.masks is not None:
            return self.masks[places].float()
        masks = self.split.masks
        assert isinstance(masks, MaskFiles)
        with ThreadPoolExecutor(self.threads) as pool:
            found = list(
                pool.map(
                    lambda p: decode_mask(masks.files.paths[p], masks.files.size, masks.white),
                    places.tolist(),
                )
            )
        return torch.from_numpy(np.stack(found)).to(self.device).float()


def decode_mask(path: Path, size: int, white: bool) -> Array:
    """A mask file as (1, size, size) ``uint8``, 1 = hole: resized with nearest, thresholded at above 0 as released.

    ``white`` false: black is the hole.

    Raises:
        HarnessError: it cannot be decoded.
    """
    from PIL import Image

    try:
        with Image.open(path) as opened:
            image = opened.convert("L").resize((size, size), Image.Resampling.NEAREST)
    except (OSError, ValueError, SyntaxError) as error:
        raise HarnessError(f"{path} is not a mask that can be decoded: {error}") from error
    lit = np.asarray(image)[None] > 0
    return (lit if white else ~lit).astype(np.uint8)
