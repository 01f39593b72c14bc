"""Parts that several tasks share: shuffled batches, labelled images on the device, frozen BatchNorm, modes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.errors import HarnessError
from harness.trial.contracts import Evaluation, Probe, Task, TrialContext
from harness.trial.loading import FileRows, Loader, PendingBatch
from methods.optimizers.probes import WeightProbe, roles_of
from suites.data.types import Array, ImageFiles, Images, ImageSplit
from suites.tasks.augment import augment, crop_boxes, mirrored
from suites.tasks.decoding import boxes, centres, full_scale, on_device


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
        in_files: whether training items are read from files; their places then stay on the host, which lists the files.
        validated: metrics of the last evaluation on validation.
    """

    splits: Mapping[str, Sized]
    model: nn.Module
    least_batch: ClassVar[int] = 1
    in_files: bool = False

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
        if not self.in_files:
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

    def __init__(
        self, split: ImageSplit, mean: Tensor, std: Tensor, device: torch.device, loader: Loader | None = None
    ) -> None:
        self.files = split.images if isinstance(split.images, ImageFiles) else None
        self.images = None if isinstance(split.images, ImageFiles) else on_device(split.images, device)
        self.labels = torch.tensor(split.labels, device=device)
        self.scale = full_scale(split.images)
        self.mean, self.std = (x.to(device).view(1, -1, 1, 1) for x in (mean, std))
        self._line = 1 / (self.scale * self.std), -self.mean / self.std  # of a pixel: times, plus
        self.device, self.loader = device, loader or Loader(device)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (B, C, H, W) and labels (B,) at ``places``; files are resized and cut at the centre."""
        return self.loader.now(self.reading(places))

    def take_augmented(self, places: Tensor, kind: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The same, augmented as ``augment`` says; of files, the random crop is cut before resizing."""
        return self.loader.now(self.reading(places, kind, generator))

    def reading(
        self, places: Tensor, kind: str = "none", generator: torch.Generator | None = None
    ) -> PendingBatch[tuple[Tensor, Tensor]]:
        """What ``take_augmented`` gives, not read yet; ``kind`` other than none draws from the generator."""
        if self.files is None:
            return PendingBatch((), partial(self._made, places, kind, generator))
        if kind not in ("imagenet", "flip"):
            rows = self._rows(centres(self.files, places))
            return PendingBatch((rows,), partial(self._made, places, kind, generator))
        assert generator is not None
        cut = crop_boxes(len(places), generator) if kind == "imagenet" else None
        rows = centres(self.files, places) if cut is None else boxes(self.files, places, cut)
        rows = self._rows(rows, mirrored(len(places), generator).tolist())
        return PendingBatch((rows,), partial(self._made, places, "none", None))

    def _rows(self, rows: FileRows, turned: Sequence[bool] | None = None) -> FileRows:
        """The images of ``rows``, mirrored where ``turned``; where a CPU trains, whoever reads them normalises too."""
        read = rows.read
        if turned is not None:
            shares = turned
            rows = replace(rows, read=lambda row, file: read(row, file)[..., :: -1 if shares[row] else 1])
        if self.device.type != "cpu":
            return rows
        gain, shift = (x[0].numpy() for x in self._line)

        def put(out: Array, image: Array) -> None:
            np.multiply(image, gain, out=out)
            np.add(out, shift, out=out)

        return replace(rows, dtype=torch.float32, put=put)

    def _made(
        self, places: Tensor, kind: str, generator: torch.Generator | None, read: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        places = places.to(self.device, non_blocking=True)
        if read is None:
            assert self.images is not None
            read = self.images[places]
        if self.files is None:
            images = (read.float() / self.scale).sub_(self.mean).div_(self.std)
        elif read.is_floating_point():  # normalised already
            images = read
        else:
            images = read.float().mul_(self._line[0]).add_(self._line[1])
        if kind != "none":
            assert generator is not None
            images = augment(images, kind, generator)
        return images, self.labels[places]


def channel_statistics(data: Images) -> tuple[Tensor, Tensor]:
    """Mean and deviation per channel, in units 0–1: the source's constants, else of its training split."""
    if data.mean is not None and data.std is not None:
        return torch.tensor(data.mean), torch.tensor(data.std)
    images = data.splits["train"].images
    if isinstance(images, ImageFiles):
        raise TypeError("a source whose images stay in their files must state mean and std")
    mean, std = (of(axis=(0, 2, 3), dtype=np.float64) / full_scale(images) for of in (images.mean, images.std))
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32).clamp(min=1e-6)


def split_batches(data: Images, device: torch.device, loader: Loader | None = None) -> dict[str, ImageBatches]:
    """Every split as batches, normalised by ``channel_statistics``."""
    mean, std = channel_statistics(data)
    return {name: ImageBatches(split, mean, std, device, loader) for name, split in data.splits.items()}


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
        return self.loader.ahead(self.readings(epoch))

    def readings(self, epoch: int) -> Iterator[PendingBatch[Any]]:
        """The same, not read yet."""
        for places, generator in self.shuffled(epoch):
            reading = self.splits["train"].reading(places, self.options.augment, generator)
            yield reading.then(lambda taken: ImageBatch(*taken))

    def load_images(self) -> None:
        """Load the data, normalised by its training split; a batch larger than that is refused (HarnessError)."""
        self.data = self.context.load_data()
        self.splits = split_batches(self.data, self.device, self.loader)
        self.in_files = self.splits["train"].files is not None
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
        taken = self.in_order(self.splits[split], torch.arange(len(self.splits[split])), self.recipe.eval_batch)
        return torch.cat([network(self.laid_out(images)) for images, _ in taken]).float()

    def in_order(self, part: ImageBatches, places: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels at places (N,) in batches of ``size``, not augmented; files are read ahead."""
        if part.files is None:
            places = places.to(self.device)
        return self.loader.ahead(part.reading(some) for some in places.split(size))

    def accuracy(self, network: nn.Module, split: str) -> float:
        """Top-1 accuracy of a network on a split in percent."""
        return share_of(self.outputs(network, split).argmax(1) == self.splits[split].labels)

    def calibration(self, most: int | None = None) -> Iterator[Tensor]:
        """Whole batches of training images without augmentation, in an order of their own, up to ``most`` images."""
        train, size = self.splits["train"], self.recipe.batch_size
        order = torch.randperm(len(train), generator=self.streams.torch("order", "calibration"))
        whole = min(len(train), most or len(train)) // size * size
        for images, _ in self.in_order(train, order[:whole], size):
            yield self.laid_out(images)


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
