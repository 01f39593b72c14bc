"""Parts that several tasks share: shuffled batches, labelled images on the device, frozen BatchNorm, modes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.errors import HarnessError
from harness.trial.contracts import Evaluation, Probe, Task, TrialContext
from methods.optimizers.probes import WeightProbe, roles_of
from suites.data.types import ImageFiles, Images, ImageSplit
from suites.tasks.augment import augment, crop_boxes, mirror
from suites.tasks.decoding import decode_box, full_scale, image_reader, stacked


@contextmanager
def changed(parts: Iterable[nn.Module], name: str, value: Any) -> Iterator[None]:
    """An attribute of modules has another value, afterwards again the one that each had."""
    before = [(part, getattr(part, name)) for part in parts]
    for part, _ in before:
        setattr(part, name, value)
    try:
        yield
    finally:
        for part, own in before:
            setattr(part, name, own)


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every submodule has the mode it had."""
    with changed(nn.ModuleList(modules).modules(), "training", False), torch.no_grad():
        yield


class ShuffledTask(Task):
    """A task whose epoch is a fresh permutation of the training items, cut into whole batches.

    The rest of an epoch is dropped, since BatchNorm suffers from tiny batches.

    Attributes:
        splits: items by split; ``train`` is shuffled.
        model: what is evaluated.
        least_batch: fewest items that a batch may have.
        validated: metrics of the last evaluation on validation.
    """

    splits: Mapping[str, Sized]
    model: nn.Module
    least_batch: ClassVar[int] = 1

    def __init__(self, context: TrialContext) -> None:
        super().__init__(context)
        self.validated: Mapping[str, float] = {}

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

    def evaluate(self, split: str) -> Evaluation:
        """The ``scores`` of a split in evaluation mode; nothing where the data has no such split."""
        if split not in self.splits:
            return Evaluation({})
        with evaluating(self.model):
            evaluation = self.scores(split)
        if split == "validation":
            self.validated = evaluation.metrics
        return evaluation

    @abstractmethod
    def scores(self, split: str) -> Evaluation:
        """What ``evaluate`` reports of a split that there is."""

    def probe(self, model: nn.Module) -> Probe | None:
        """Norms, angular updates and projected shares of the weights."""
        return weight_probe(model)

    def state(self) -> dict[str, Any]:
        """The last scores on validation."""
        return {"validated": dict(self.validated)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.validated = dict(state["validated"])


def weight_probe(model: nn.Module) -> Probe:
    """Norms, angular updates and projected shares of a model's weights."""
    return WeightProbe(list(model.named_parameters()), roles_of(model))


class NetworkWithLoss(nn.Module):
    """A network and its loss, whose own parameters train and are saved with it; called, it is the network."""

    def __init__(self, network: nn.Module, loss: nn.Module) -> None:
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, inputs: Tensor) -> Any:
        """The network's outputs."""
        return self.network(inputs)


class LatestProbe:
    """A probe that reports what it measured last; a subclass measures into ``last`` before or after the step."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}

    def before_step(self) -> None:
        """Nothing, unless a subclass measures here."""

    def after_step(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """The last measurement."""
        return self.last

    def summary(self) -> dict[str, float]:
        """The last measurement."""
        return dict(self.last)

    def state_dict(self) -> dict[str, Any]:
        """The last measurement."""
        return {"last": dict(self.last)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.last = dict(state["last"])


class ImageBatches:
    """One split's images as batches on the device: from an array that lies there, or decoded from files.

    They are normalised by ``mean`` and ``std`` per channel, in units 0–1.
    """

    def __init__(self, split: ImageSplit, mean: Tensor, std: Tensor, device: torch.device, threads: int = 1) -> None:
        self.files = split.images if isinstance(split.images, ImageFiles) else None
        self.read = image_reader(split.images, device, threads)
        self.labels = torch.tensor(split.labels, device=device)
        self.scale = full_scale(split.images)
        self.mean, self.std = (x.to(device).view(1, -1, 1, 1) for x in (mean, std))
        self.device, self.threads = device, threads

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (B, C, H, W) and labels (B,) at ``places``; files are resized and cut at the centre."""
        return self._normalised(self.read(places)), self.labels[places]

    def take_augmented(self, places: Tensor, kind: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The same, augmented as ``augment`` says; of files, the random crop is cut before resizing."""
        if self.files is not None and kind == "imagenet":
            paths, boxes = [self.files.paths[place] for place in places.tolist()], crop_boxes(len(places), generator)
            decode = partial(decode_box, size=self.files.size)
            images = stacked(self.threads, decode, zip(paths, boxes.tolist(), strict=True), self.device)
            return mirror(self._normalised(images), generator), self.labels[places]
        images, labels = self.take(places)
        return augment(images, kind, generator), labels

    def _normalised(self, images: Tensor) -> Tensor:
        return (images.float() / self.scale - self.mean) / self.std


def channel_statistics(data: Images) -> tuple[Tensor, Tensor]:
    """Mean and deviation per channel, in units 0–1: the source's constants, else of its training split."""
    if data.mean is not None and data.std is not None:
        return torch.tensor(data.mean), torch.tensor(data.std)
    images = data.splits["train"].images
    if isinstance(images, ImageFiles):
        raise TypeError("a source whose images stay in their files must state mean and std")
    mean, std = (of(axis=(0, 2, 3), dtype=np.float64) / full_scale(images) for of in (images.mean, images.std))
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32).clamp(min=1e-6)


def split_batches(data: Images, device: torch.device, threads: int = 1) -> dict[str, ImageBatches]:
    """Every split as batches, normalised by ``channel_statistics``."""
    mean, std = channel_statistics(data)
    return {name: ImageBatches(split, mean, std, device, threads) for name, split in data.splits.items()}


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Images (B, C, H, W) and labels (B,)."""

    images: Tensor
    labels: Tensor


class ImageTask(ShuffledTask):
    """A task on labelled images: ``data`` as they are read, ``splits`` as batches on the device."""

    data: Images
    splits: dict[str, ImageBatches]

    def batches(self, epoch: int) -> Iterator[Any]:
        """Augmented batches of a fresh permutation; each batch's augmentation has its own place in the stream."""
        for places, generator in self.shuffled(epoch):
            yield ImageBatch(*self.splits["train"].take_augmented(places, self.options.augment, generator))

    def load_images(self) -> None:
        """Load the data, normalised by its training split; a batch larger than that is refused (HarnessError)."""
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
        channels_last = self.recipe.memory_layout == "channels_last"
        return images.to(memory_format=torch.channels_last) if channels_last else images

    def outputs(self, network: nn.Module, split: str) -> Tensor:
        """What a network gives for every image of a split, in order, as float32: (N, outputs)."""
        part = self.splits[split]
        places = torch.arange(len(part), device=self.device).split(self.recipe.eval_batch)
        return torch.cat([network(self.laid_out(part.take(some)[0])) for some in places]).float()

    def accuracy(self, network: nn.Module, split: str) -> float:
        """Top-1 accuracy of a network on a split in percent."""
        return share_of(self.outputs(network, split).argmax(1) == self.splits[split].labels)

    def calibration(self, most: int | None = None) -> Iterator[Tensor]:
        """Whole batches of training images without augmentation, in an order of their own, up to ``most`` images."""
        train, size = self.splits["train"], self.recipe.batch_size
        order = torch.randperm(len(train), generator=self.streams.torch("order", "calibration")).to(self.device)
        for start in range(0, min(len(train), most or len(train)) - size + 1, size):
            yield self.laid_out(train.take(order[start : start + size])[0])


def share_of(hits: Tensor) -> float:
    """How many of (N,) truths hold, in percent."""
    return 100 * float(hits.double().mean())


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Its BatchNorm layers."""
    return [part for part in model.modules() if isinstance(part, _BatchNorm)]


def batch_norm_momentum(model: nn.Module, momentum: float | None) -> AbstractContextManager[None]:
    """Another momentum for every BatchNorm: with 0 its running statistics stay, with None they average all batches."""
    return changed(batch_norms(model), "momentum", momentum)


def calibrate_batch_norms(model: nn.Module, inputs: Iterable[Tensor]) -> None:
    """Set the running statistics of every BatchNorm to their average over ``inputs``, weights unchanged.

    One forward pass in training mode: each layer is normalised by its batch as it would be in training, so the
    averages are those of the network that training starts from.
    """
    with changed(model.modules(), "training", True), batch_norm_momentum(model, None), torch.no_grad():
        for layer in batch_norms(model):
            layer.reset_running_stats()
        for images in inputs:
            model(images)


def freeze_batch_norms(model: nn.Module) -> None:
    """Evaluation mode for every BatchNorm: running statistics are used and no longer updated; γ and β still learn."""
    for layer in batch_norms(model):
        layer.eval()
