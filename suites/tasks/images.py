"""What the tasks on labelled images share: splits on the device, batches, the network's inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from suites.data.types import Images
from suites.tasks.common import ImageBatches, ShuffledTask, split_batches


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Images (B, C, H, W) and labels (B,)."""

    images: Tensor
    labels: Tensor


class ImageTask(ShuffledTask):
    """A task on labelled images.

    Attributes:
        data: the images as they are read.
        splits: the same as batches on the device.
    """

    data: Images
    splits: dict[str, ImageBatches]

    def load_images(self) -> None:
        """Load the data, normalised by its training split.

        Raises:
            HarnessError: the batch is larger than the training data.
        """
        self.data = self.context.load_data()
        self.splits = split_batches(self.data, self.device, self.recipe.threads)
        self.check_batch_size()

    @property
    def facts(self) -> dict[str, Any]:
        """What a network is built for."""
        return {"classes": len(self.data.classes), "channels": self.data.channels, "size": self.data.size}

    @property
    def majority(self) -> int:
        """The class seen most often in training."""
        return int(np.bincount(self.data.splits["train"].labels).argmax())

    def laid_out(self, images: Tensor) -> Tensor:
        """Images in the recipe's memory layout."""
        if self.recipe.memory_layout == "channels_last":
            return images.to(memory_format=torch.channels_last)
        return images

    def outputs(self, network: nn.Module, split: str) -> Tensor:
        """What a network gives for every image of a split, in order, as float32: (N, outputs)."""
        part = self.splits[split]
        places = torch.arange(len(part), device=self.device).split(self.recipe.eval_batch)
        return torch.cat([network(self.laid_out(part.take(some)[0])) for some in places]).float()

    def calibration(self, most: int | None = None) -> Iterator[Tensor]:
        """Whole batches of training images without augmentation, in an order of their own, up to ``most`` images."""
        train, size = self.splits["train"], self.recipe.batch_size
        order = torch.randperm(len(train), generator=self.streams.torch("order", "calibration")).to(self.device)
        for start in range(0, min(len(train), most or len(train)) - size + 1, size):
            yield self.laid_out(train.take(order[start : start + size])[0])
