"""Parts that several tasks share: images on the device, BatchNorm that is frozen, evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from suites.data.types import Images, ImageSplit


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every submodule has the mode it had."""
    modes = {part: part.training for module in modules for part in module.modules()}
    for module in modules:
        module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


class ImageBatches:
    """One split's images on the device, normalised when a batch is taken.

    Raises:
        TypeError: the images are files; those want a decoding reader.
    """

    def __init__(self, split: ImageSplit, mean: Tensor, std: Tensor, device: torch.device) -> None:
        if not isinstance(split.images, np.ndarray):
            raise TypeError("these images stay in their files")
        # A copy: arrays of an object store are read-only.
        self.images = torch.tensor(split.images, device=device)
        self.labels = torch.tensor(split.labels, device=device)
        self.scale = 255.0 if self.images.dtype == torch.uint8 else 1.0
        self.mean = mean.to(device).view(1, -1, 1, 1)
        self.std = std.to(device).view(1, -1, 1, 1)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (B, C, H, W) and labels (B,) at ``places``."""
        chosen = self.images[places].float()
        return (chosen / self.scale - self.mean) / self.std, self.labels[places]


def channel_statistics(data: Images) -> tuple[Tensor, Tensor]:
    """Mean and deviation per channel, in units 0–1: the source's constants, else of its training split."""
    if data.mean is not None and data.std is not None:
        return torch.tensor(data.mean), torch.tensor(data.std)
    images = data.splits["train"].images
    if not isinstance(images, np.ndarray):
        raise TypeError("a source whose images stay in their files must state mean and std")
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    mean = images.mean(axis=(0, 2, 3), dtype=np.float64) / scale
    std = images.std(axis=(0, 2, 3), dtype=np.float64) / scale
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32).clamp(min=1e-6)


def calibrate_batch_norms(model: nn.Module, inputs: Iterable[Tensor]) -> None:
    """Set the running statistics of every BatchNorm to their average over ``inputs``, weights unchanged.

    One forward pass in training mode: each layer is normalised by its batch as it would be in training, so the
    averages are those of the network that training starts from.
    """
    layers = [part for part in model.modules() if isinstance(part, _BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    modes = [(part, part.training) for part in model.modules()]
    model.train()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    with torch.no_grad():
        for images in inputs:
            model(images)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    for part, mode in modes:
        part.training = mode


def freeze_batch_norms(model: nn.Module) -> None:
    """Evaluation mode for every BatchNorm: running statistics are used and no longer updated; γ and β still learn."""
    for part in model.modules():
        if isinstance(part, _BatchNorm):
            part.eval()
