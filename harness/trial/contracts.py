"""Contracts between the engine and tasks, data sources, models and methods.

An author of a task writes ``build``, ``training_step`` and ``evaluate``; the shared loop in ``harness.trial.loop``
does the rest (optimizer, schedule, precision, logging, selection, divergence, checkpoints).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.trial.data_parallel import Replicas
from harness.trial.loading import Loader, PendingBatch, ready
from harness.trial.options import Values
from harness.trial.recipe import Recipe
from harness.trial.result import Artifact as Artifact
from harness.trial.seeds import Streams

if TYPE_CHECKING:
    from harness.base.metadata import TaskMetadata

OptionsT = TypeVar("OptionsT", covariant=True)
"""The dataclass of options that a metadata record names."""
Facts = Mapping[str, int]
"""Properties of the data that decide a model's shape: ``classes``, ``channels``, ``size``, ``vocabulary``."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A method in its slot, ready to be built with its hyper-parameters."""

    name: str
    factory: Callable[..., Any]
    hyper_parameters: Values

    def build(self, *args: Any, **more: Any) -> Any:
        """Call the method's class or factory with its hyper-parameters; ``more`` wins over them."""
        return self.factory(*args, **{**self.hyper_parameters, **more})


@dataclass(frozen=True, slots=True)
class DataRequest(Generic[OptionsT]):
    """The arguments of a data source.

    ``root`` holds its files (``HARNESS_DATA``). Splits come from the stream ``split``, generated content from ``data``.
    One layout's code serves a user's folder (``options.path``) and every named source that is stored this way, whose
    ``files`` (``data:…``, below ``root``) come with their sha256.
    """

    options: OptionsT
    root: Path
    streams: Streams
    name: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelRequest(Generic[OptionsT]):
    """The arguments of a model builder.

    ``norms`` has norm slots by place (``encoder``, ``decoder``; ``all`` where one norm serves every place),
    ``prerequisites`` the weights to start from by name (``backbone``): a trial's folder or a file.
    """

    options: OptionsT
    facts: Facts = field(default_factory=dict)
    norms: Mapping[str, Slot] = field(default_factory=dict)
    prerequisites: Mapping[str, Path] = field(default_factory=dict)


class Diagnostic(Protocol):
    """Measures the mechanism that a paper describes, at about fifty log-spaced steps."""

    def before_step(self) -> None:
        """Look at the gradients before the optimizer steps."""

    def after_step(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """Return quantities of this step, without the ``mechanism.`` prefix."""

    def summary(self) -> dict[str, float]:
        """Return quantities of the whole training, reported as final ``mechanism.*`` metrics."""

    def state_dict(self) -> dict[str, Any]:
        """Return its state for checkpoints: tensors and plain data."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """A training step's loss (scalar tensor, before backward) and numbers to log."""

    loss: Tensor
    logged: Mapping[str, Tensor | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores on one split, in the units of the claims (percent is 0–100), and small per-item outputs."""

    metrics: Mapping[str, float]
    items: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrialContext:
    """Everything a task may use.

    Attributes:
        options: the task's own part of the recipe, as its metadata declares it.
        build_model: builds the arm's model of the data's facts, from the stream ``init``.
        slots: methods by slot name; norm slots by place under ``norm.<place>``.
        folder: for the files of this trial (pictures, samples).
        load_prerequisite: (name, facts) to a dependency's network with its trained weights, in evaluation mode and
            without gradients.
    """

    recipe: Recipe
    options: Any
    load_data: Callable[[], Any]
    build_model: Callable[[Facts], nn.Module]
    slots: Mapping[str, Slot]
    streams: Streams
    device: torch.device
    scale: str
    folder: Path
    load_prerequisite: Callable[[str, Facts], nn.Module]
    prerequisites: tuple[str, ...] = ()
    loader: Loader = field(default_factory=lambda: Loader(torch.device("cpu")))


class Task(ABC):
    """One kind of benchmark. Order of calls: ``build``, then per epoch ``batches``, per step ``training_step``."""

    metadata: ClassVar[TaskMetadata]
    options: Any  # the record that the metadata names; a task says which
    trains = True  # False where the arm's method needs no training: the loop takes no step and only scores

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        # A subclass that overrides ``batches`` alone does not read ahead by its base's ``readings``.
        if "batches" in vars(cls) and "readings" not in vars(cls):
            cls.readings = Task.readings  # type: ignore[method-assign]

    def __init__(self, context: TrialContext) -> None:
        self.context = context
        self.loader = context.loader
        self.recipe = context.recipe
        self.options = context.options
        self.streams = context.streams
        self.device = context.device

    @abstractmethod
    def build(self) -> nn.Module:
        """Load the data, build the networks, return the module that is trained."""

    @abstractmethod
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the training data."""

    @abstractmethod
    def batches(self, epoch: int) -> Iterator[Any]:
        """Yield the batches of an epoch, on the device.

        Their order and augmentation, from the streams ``order`` and ``augment``, are a function of (seed, epoch) alone:
        a resumed trial skips to its place.
        """

    def readings(self, epoch: int) -> Iterator[PendingBatch[Any]]:
        """Yield the same batches unread, so that the loop reads files ahead.

        Only a task that reads files in training overrides it; its ``batches`` are then
        ``self.loader.ahead(self.readings(epoch))``.
        """
        return map(ready, self.batches(epoch))

    @abstractmethod
    def training_step(self, batch: Any, step: int) -> StepResult:
        """Return the loss of one batch; ``step`` counts from 0."""

    @abstractmethod
    def evaluate(self, split: str) -> Evaluation:
        """Score ``validation`` or ``test``, the network in evaluation mode, without gradients."""

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Groups for the optimizer slot; ``lr_scale`` multiplies a group's learning rate."""
        return [{"params": [p for p in model.parameters() if p.requires_grad]}]

    def clipped(self, model: nn.Module) -> list[nn.Parameter] | None:
        """Parameters whose joint gradient ``clip_norm`` limits; None: all that the optimizer moves."""
        return None

    def probe(self, model: nn.Module) -> Diagnostic | None:
        """Return the diagnostic of the paper's mechanism, or None."""
        return None

    def optimize(self, batch: Any, step: int, update: Callable[[StepResult], None]) -> StepResult:
        """Take one optimization step; tasks with several networks override this."""
        result = self.training_step(batch, step)
        update(result)
        return result

    def share(self, batch: Any, replicas: Replicas) -> Any:
        """Return this process's part of a batch.

        Raises:
            HarnessError: the task's loss is not a mean over items that may be computed apart.
        """
        raise HarnessError(f"devices: the task '{self.metadata.name}' cannot share out its batches; set devices to 1")

    def gather(self, replicas: Replicas) -> None:  # noqa: B027 (most tasks hold nothing apart)
        """Collect in the first process, before a checkpoint, what others hold."""

    def state(self) -> dict[str, Any]:
        """Return the state beside the model (memories, further optimizers) for checkpoints."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:  # noqa: B027 (most tasks carry nothing)
        """Go on from a state."""

    def product(self, model: nn.Module) -> Mapping[str, Tensor]:
        """Tensors that others start from, where this trial is a dependency."""
        return model.state_dict()

    def mechanisms(self) -> dict[str, float]:
        """Final quantities of the mechanism that need no diagnostic of the training."""
        return {}

    def artifacts(self) -> list[Artifact]:
        """Pictures and samples that people would rather look at; files lie in ``context.folder``."""
        return []
