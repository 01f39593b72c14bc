"""Parts shared by tasks: shuffled batches, labelled images, BatchNorm, modes."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.errors import HarnessError
from harness.trial.contracts import Diagnostic, Evaluation, Task, TrialContext
from harness.trial.data_parallel import Replicas, rows_of
from harness.trial.loading import FileRows, Loader, PendingBatch
from methods.optimizers.diagnostics import WeightDiagnostic, roles_of
from suites.data.types import Array, ImageFiles, Images, ImageSplit
from suites.tasks.augment import augment, crop_boxes, mirrored
from suites.tasks.decoding import boxes, centres, full_scale, on_device


@contextmanager
def changed(parts: Iterable[nn.Module], name: str, value: Any) -> Iterator[None]:
    """Set an attribute of modules temporarily."""
    before = [(part, getattr(part, name)) for part in parts]
    for part, _ in before:
        setattr(part, name, value)
    try:
        yield
    finally:
        for part, value_before in before:
            setattr(part, name, value_before)


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Switch modules to evaluation mode without gradients, temporarily."""
    with changed(nn.ModuleList(modules).modules(), "training", False), torch.no_grad():
        yield


class ShuffledTask(Task):
    """A task whose epochs are fresh permutations in whole batches; an incomplete last one is dropped.

    Attributes:
        least_batch: fewest items that a batch may have.
        shares: true if several devices may compute the loss, each on its items.
        in_files: true if training items are read from files; their indices then stay on the host.
        validated: metrics of the last evaluation on validation.
    """

    data: Any
    splits: Mapping[str, Sized]
    model: nn.Module
    least_batch: ClassVar[int] = 1
    shares: ClassVar[bool] = False
    in_files: bool = False

    def __init__(self, context: TrialContext) -> None:
        super().__init__(context)
        self.validated: Mapping[str, float] = {}

    def read_splits(self, batches_of: Callable[[Any], Any]) -> None:
        """Turn each split of ``data`` into batches and check the batch size (HarnessError)."""
        parts = {name: batches_of(split) for name, split in self.data.splits.items()}
        self.splits, self.in_files = parts, parts["train"].in_files
        self.check_batch_size()

    def check_batch_size(self) -> None:
        """Reject a batch size that the training data cannot fill (HarnessError)."""
        size, most = self.recipe.batch_size, len(self.splits["train"])
        if not self.least_batch <= size <= most:
            raise HarnessError(f"batch_size {size} must lie in {self.least_batch}–{most}, the training items")

    def steps_per_epoch(self) -> int:
        return len(self.splits["train"]) // self.recipe.batch_size

    def shuffled(self, epoch: int) -> Iterator[tuple[Tensor, torch.Generator]]:
        """Indices (B,) and augmentation stream of each batch of an epoch."""
        size = self.recipe.batch_size
        order = torch.randperm(len(self.splits["train"]), generator=self.streams.torch("order", epoch))
        if not self.in_files:
            order = order.to(self.device)
        for index in range(self.steps_per_epoch()):
            yield order[index * size : (index + 1) * size], self.streams.torch("augment", epoch, index)

    def batches(self, epoch: int) -> Iterator[Any]:
        """Augmented batches of a fresh permutation, with separate random streams."""
        return self.loader.ahead(self.readings(epoch))

    def share(self, batch: Any, replicas: Replicas) -> Any:
        """This process's items, if the loss is a mean over items (``shares``)."""
        if not self.shares:
            return super().share(batch, replicas)
        return rows_of(batch, self.recipe.batch_size, replicas.rows(self.recipe.batch_size))

    def evaluate(self, split: str) -> Evaluation:
        """``scores`` of a split in evaluation mode; empty without that split."""
        if split not in self.splits:
            return Evaluation({})
        with evaluating(self.model):
            evaluation = self.scores(split)
        if split == "validation":
            self.validated = evaluation.metrics
        return evaluation

    @abstractmethod
    def scores(self, split: str) -> Evaluation:
        """Evaluation of an existing split."""

    def probe(self, model: nn.Module) -> Diagnostic | None:
        return weight_probe(model) if self.trains else None

    def state(self) -> dict[str, Any]:
        return {"validated": dict(self.validated)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.validated = dict(state["validated"])


def weight_probe(model: nn.Module) -> Diagnostic:
    """Norms, angular updates and projected shares of a model's weights."""
    return WeightDiagnostic(list(model.named_parameters()), roles_of(model))


class NetworkWithLoss(nn.Module):
    """A network and its trainable loss, saved together; forward calls the network."""

    def __init__(self, network: nn.Module, loss: nn.Module) -> None:
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, inputs: Tensor) -> Any:
        return self.network(inputs)


class LatestDiagnostic:
    """Reports the last ``measure``, taken before or ``after`` each step."""

    def __init__(self, measure: Callable[[], Mapping[str, Any]], *, after: bool = False) -> None:
        self.measure, self.after = measure, after
        self.last: dict[str, float] = {}

    def before_step(self) -> None:
        if not self.after:
            self._measure()

    def after_step(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        if self.after:
            self._measure()
        return self.last

    def _measure(self) -> None:
        self.last = {name: float(value) for name, value in self.measure().items()}

    def summary(self) -> dict[str, float]:
        return dict(self.last)

    def state_dict(self) -> dict[str, dict[str, float]]:
        return {"last": dict(self.last)}

    def load_state_dict(self, state: Mapping[str, Mapping[str, float]]) -> None:
        self.last = dict(state["last"])


class ImageBatches:
    """A split's images, normalised by ``mean`` and ``std`` (in 0–1), as batches on the device."""

    def __init__(
        self, split: ImageSplit, mean: Tensor, std: Tensor, device: torch.device, loader: Loader | None = None
    ) -> None:
        self.files = split.images if isinstance(split.images, ImageFiles) else None
        self.in_files = self.files is not None
        self.images = None if isinstance(split.images, ImageFiles) else on_device(split.images, device)
        self.labels = torch.tensor(split.labels, device=device)
        self.scale = full_scale(split.images)
        self.mean, self.std = (x.to(device).view(1, -1, 1, 1) for x in (mean, std))
        self._line = 1 / (self.scale * self.std), -self.mean / self.std  # of a pixel: times, plus
        self.device, self.loader = device, loader or Loader(device)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (B, C, H, W) and labels; files are cut centrally."""
        return self.loader.now(self.reading(places))

    def reading(
        self, places: Tensor, kind: str = "none", generator: torch.Generator | None = None
    ) -> PendingBatch[tuple[Tensor, Tensor]]:
        """Pending images, augmented by ``kind`` (files are cropped before resizing), and labels."""
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
        """Images of ``rows``, mirrored by ``turned``, on CPUs normalised by the reader."""
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
    """Mean and deviation per channel, of the source or training split."""
    if data.mean is not None and data.std is not None:
        return torch.tensor(data.mean), torch.tensor(data.std)
    images = data.splits["train"].images
    if isinstance(images, ImageFiles):
        raise TypeError("a source with images in files must state mean and std")
    mean, std = (of(axis=(0, 2, 3), dtype=np.float64) / full_scale(images) for of in (images.mean, images.std))
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32).clamp(min=1e-6)


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Images (B, C, H, W) and labels (B,)."""

    images: Tensor
    labels: Tensor


class ImageTask(ShuffledTask):
    """A task on labelled images, with ``splits`` on the device."""

    data: Images
    splits: dict[str, ImageBatches]

    def readings(self, epoch: int) -> Iterator[PendingBatch[Any]]:
        for places, generator in self.shuffled(epoch):
            reading = self.splits["train"].reading(places, self.options.augment, generator)
            yield reading.then(lambda taken: ImageBatch(*taken))

    def load_images(self) -> None:
        """Load and normalise the data; reject too large a batch size (HarnessError)."""
        self.data = self.context.load_data()
        mean, std = channel_statistics(self.data)
        self.read_splits(lambda split: ImageBatches(split, mean, std, self.device, self.loader))

    @property
    def facts(self) -> dict[str, int]:
        """Facts that a network is built from."""
        return {"classes": len(self.data.classes), "channels": self.data.channels, "size": self.data.size}

    @property
    def majority(self) -> int:
        """The most frequent class in training."""
        return int(np.bincount(self.data.splits["train"].labels).argmax())

    def laid_out(self, images: Tensor) -> Tensor:
        """Images in the recipe's memory layout."""
        channels_last = self.recipe.memory_layout == "channels_last"
        return images.to(memory_format=torch.channels_last) if channels_last else images

    def outputs(self, network: nn.Module, split: str) -> Tensor:
        """Outputs of a network for a split in order, float32 (N, outputs)."""
        taken = self.in_order(self.splits[split], torch.arange(len(self.splits[split])), self.recipe.eval_batch)
        return torch.cat([network(self.laid_out(images)) for images, _ in taken]).float()

    def in_order(self, part: ImageBatches, places: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels in batches of ``size`` without augmentation, files read ahead."""
        if part.files is None:
            places = places.to(self.device)
        return self.loader.ahead(part.reading(some) for some in places.split(size))

    def accuracy(self, network: nn.Module, split: str) -> float:
        """Top-1 accuracy of a network on a split in percent."""
        return share_of(self.outputs(network, split).argmax(1) == self.splits[split].labels)

    def calibration(self, most: int | None = None) -> Iterator[Tensor]:
        """Batches of at most ``most`` training images in random order without augmentation."""
        train, size = self.splits["train"], self.recipe.batch_size
        order = torch.randperm(len(train), generator=self.streams.torch("order", "calibration"))
        whole = min(len(train), most or len(train)) // size * size
        for images, _ in self.in_order(train, order[:whole], size):
            yield self.laid_out(images)


def share_of(hits: Tensor) -> float:
    """Percentage of true values in (N,)."""
    return 100 * float(hits.double().mean())


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """BatchNorm layers of a model."""
    return [part for part in model.modules() if isinstance(part, _BatchNorm)]


def batch_norm_momentum(model: nn.Module, momentum: float | None) -> AbstractContextManager[None]:
    """Set every BatchNorm's momentum temporarily: 0 freezes statistics, None averages all batches."""
    return changed(batch_norms(model), "momentum", momentum)


def calibrate_batch_norms(model: nn.Module, inputs: Iterable[Tensor]) -> None:
    """Set running statistics of BatchNorm to their average over ``inputs``."""
    with changed(model.modules(), "training", True), batch_norm_momentum(model, None), torch.no_grad():
        for layer in batch_norms(model):
            layer.reset_running_stats()
        for images in inputs:
            model(images)


def freeze_batch_norms(model: nn.Module) -> None:
    """Put every BatchNorm into evaluation mode; γ and β still learn."""
    for layer in batch_norms(model):
        layer.eval()
