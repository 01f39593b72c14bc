"""Parts that several tasks share: images on the device, BatchNorm that is frozen, evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.errors import HarnessError
from harness.trial.contracts import Probe, Task
from suites.data.types import ImageFiles, Images, ImageSplit
from suites.tasks.augment import augment, crop_boxes, mirror
from suites.tasks.decoding import decode_box, decode_centre


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


class ShuffledTask(Task):
    """A task whose epoch is a fresh permutation of the training items, cut into whole batches.

    The rest of an epoch is dropped, since BatchNorm suffers from tiny batches.

    Attributes:
        splits: items by split; ``train`` is shuffled.
        least_batch: fewest items that a batch may have.
    """

    splits: Mapping[str, Sized]
    least_batch: ClassVar[int] = 1

    def check_batch_size(self) -> None:
        """Refuse a batch that the training data cannot fill (HarnessError)."""
        size, most = self.recipe.batch_size, len(self.splits["train"])
        if not self.least_batch <= size <= most:
            raise HarnessError(f"batch_size {size} must lie in {self.least_batch}–{most}, the training items")

    def steps_per_epoch(self) -> int:
        """Whole batches."""
        return len(self.splits["train"]) // self.recipe.batch_size

    def shuffled(self, epoch: int) -> Iterator[tuple[Tensor, torch.Generator]]:
        """By batch of an epoch the places (B,) of its items, and a stream for its augmentation alone."""
        size = self.recipe.batch_size
        order = torch.randperm(len(self.splits["train"]), generator=self.streams.torch("order", epoch))
        order = order.to(self.device)
        for index in range(self.steps_per_epoch()):
            yield order[index * size : (index + 1) * size], self.streams.torch("augment", epoch, index)

    def probe(self, model: nn.Module) -> Probe | None:
        """Norms, angular updates and projected shares of the weights."""
        return weight_probe(model)


def weight_probe(model: nn.Module) -> Probe:
    """Norms, angular updates and projected shares of a model's weights."""
    from methods.optimizers.probes import WeightProbe, roles_of

    return WeightProbe(list(model.named_parameters()), roles_of(model))


class ImageBatches:
    """One split's images as normalised batches on the device: from an array that lies there, or decoded from files.

    Args:
        split: the images.
        mean, std: per channel, in units 0–1.
        device: where batches are wanted.
        threads: that decode files.
    """

    def __init__(self, split: ImageSplit, mean: Tensor, std: Tensor, device: torch.device, threads: int = 1) -> None:
        self.files = split.images if isinstance(split.images, ImageFiles) else None
        # A copy: arrays of an object store are read-only.
        self.images = None if isinstance(split.images, ImageFiles) else torch.tensor(split.images, device=device)
        self.labels = torch.tensor(split.labels, device=device)
        self.scale = 255.0 if self.images is None or self.images.dtype == torch.uint8 else 1.0
        self.mean = mean.to(device).view(1, -1, 1, 1)
        self.std = std.to(device).view(1, -1, 1, 1)
        self.device, self.threads = device, threads

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (B, C, H, W) and labels (B,) at ``places``; files are resized and cut at the centre."""
        if self.images is None:
            return self._normalised(self._decoded(places, None)), self.labels[places]
        return self._normalised(self.images[places]), self.labels[places]

    def take_augmented(self, places: Tensor, kind: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The same, augmented as ``augment`` says; of files, the random crop is cut before resizing."""
        if self.images is None and kind == "imagenet":
            images = self._decoded(places, crop_boxes(len(places), generator))
            return mirror(self._normalised(images), generator), self.labels[places]
        images, labels = self.take(places)
        return augment(images, kind, generator), labels

    def _normalised(self, images: Tensor) -> Tensor:
        return (images.float() / self.scale - self.mean) / self.std

    def _decoded(self, places: Tensor, boxes: Tensor | None) -> Tensor:
        assert self.files is not None
        files, size = [self.files.paths[place] for place in places.tolist()], self.files.size
        if boxes is None:
            jobs = [partial(decode_centre, file, size, self.files.resize) for file in files]
        else:
            jobs = [partial(decode_box, file, size, box) for file, box in zip(files, boxes.tolist(), strict=True)]
        with ThreadPoolExecutor(self.threads) as pool:
            images = list(pool.map(lambda job: job(), jobs))
        return torch.from_numpy(np.stack(images)).to(self.device)


def channel_statistics(data: Images) -> tuple[Tensor, Tensor]:
    """Mean and deviation per channel, in units 0–1: the source's constants, else of its training split."""
    if data.mean is not None and data.std is not None:
        return torch.tensor(data.mean), torch.tensor(data.std)
    images = data.splits["train"].images
    if isinstance(images, ImageFiles):
        raise TypeError("a source whose images stay in their files must state mean and std")
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    mean = images.mean(axis=(0, 2, 3), dtype=np.float64) / scale
    std = images.std(axis=(0, 2, 3), dtype=np.float64) / scale
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32).clamp(min=1e-6)


def split_batches(data: Images, device: torch.device, threads: int = 1) -> dict[str, ImageBatches]:
    """Every split as batches, normalised by ``channel_statistics``."""
    mean, std = channel_statistics(data)
    return {name: ImageBatches(split, mean, std, device, threads) for name, split in data.splits.items()}


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
