"""The contracts between the engine and what it runs: tasks, data sources, models, methods.

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
from harness.trial.recipe import Recipe
from harness.trial.result import Artifact as Artifact
from harness.trial.seeds import Streams

if TYPE_CHECKING:
    from harness.base.metadata import TaskMetadata

OptionsT = TypeVar("OptionsT", covariant=True)
"""The dataclass of options that a metadata record names."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A method in its slot, ready to be built: ``slot.build(params)`` adds the hyper-parameters."""

    name: str
    factory: Callable[..., Any]
    hyper_parameters: Mapping[str, Any]

    def build(self, *args: Any, **more: Any) -> Any:
        """Call the method's class or factory with its hyper-parameters; ``more`` wins over them."""
        return self.factory(*args, **{**self.hyper_parameters, **more})


@dataclass(frozen=True, slots=True)
class DataRequest(Generic[OptionsT]):
    """What a data source is asked for.

    Attributes:
        options: the source's options.
        root: the folder that holds its files (``HARNESS_DATA``); unused by generated and shipped sources.
        streams: random streams; splits come from ``split``, generated content from ``data``.
        name: of the source: a layout's code serves a user's own folder and every source that is stored this way.
        files: what a named source is made of (``data:…``, below ``root``), each with its sha256, as the trial's
            identity holds them; a user's own folder is ``options.path`` instead.
    """

    options: OptionsT
    root: Path
    streams: Streams
    name: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelRequest(Generic[OptionsT]):
    """What a model builder is asked for.

    Attributes:
        options: the model's options.
        facts: what the task knows of the data (``classes``, ``channels``, ``size``, ``vocabulary``).
        norms: norm slots by place (``encoder``, ``decoder``; ``all`` where one norm serves every place).
        prerequisites: weights to start from by name (``backbone``): a product's folder or a file.
    """

    options: OptionsT
    facts: Mapping[str, Any] = field(default_factory=dict)
    norms: Mapping[str, Slot] = field(default_factory=dict)
    prerequisites: Mapping[str, Path] = field(default_factory=dict)


class Diagnostic(Protocol):
    """Measures what the paper says happens; asked at about fifty log-spaced steps only."""

    def before_step(self) -> None:
        """Called after the gradients are there and before the optimizer steps."""

    def after_step(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """Quantities of this step, without the ``mechanism.`` prefix."""
        ...

    def summary(self) -> dict[str, float]:
        """Quantities of the whole training, reported as final ``mechanism.*`` metrics."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What it has seen so far: tensors and plain data, for checkpoints."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """A training step's loss (scalar tensor, before backward) and numbers worth logging."""

    loss: Tensor
    logged: Mapping[str, Tensor | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores on one split, in the units of the claims (percent is 0–100), and per-item outputs where small."""

    metrics: Mapping[str, float]
    items: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrialContext:
    """Everything a task may use.

    Attributes:
        recipe: what every task shares of the recipe.
        options: the task's own part of the recipe, as its metadata declares it.
        data: the data request and loader: ``context.load_data()``.
        model: parameters of the model; ``context.build_model(facts)`` builds it from the stream ``init``.
        slots: methods by slot name; norm slots by place under ``norm.<place>``.
        streams: named random streams.
        device: where to compute.
        scale: ``mini``, ``small``, ``paper`` or ``smoke``.
        folder: where artifacts of this trial may be written (pictures, samples).
        load_prerequisite: ``context.load_prerequisite("teacher", facts)`` builds the network that a prerequisite
            trained, with its weights, in evaluation mode and without gradients; ``prerequisites`` names them.
        loader: reads files, ahead of the training where the recipe gives it threads.
    """

    recipe: Recipe
    options: Any
    load_data: Callable[[], Any]
    build_model: Callable[[Mapping[str, Any]], nn.Module]
    slots: Mapping[str, Slot]
    streams: Streams
    device: torch.device
    scale: str
    folder: Path
    load_prerequisite: Callable[[str, Mapping[str, Any]], nn.Module]
    prerequisites: tuple[str, ...] = ()
    loader: Loader = field(default_factory=lambda: Loader(torch.device("cpu")))


class Task(ABC):
    """One kind of benchmark. Order of calls: ``build``, then per epoch ``batches``, per step ``training_step``."""

    metadata: ClassVar[TaskMetadata]
    options: Any  # the record that the metadata names; a task says which
    trains = True  # False where the arm's method needs no training: the loop takes no step and only scores

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        # Who says anew what the batches are, and not what is read for them, means what he says.
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
        """Load the data, build the network(s) and return the module that is trained and saved."""

    @abstractmethod
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the training data."""

    @abstractmethod
    def batches(self, epoch: int) -> Iterator[Any]:
        """The batches of one epoch, on the device, in an order drawn from the streams ``order`` and ``augment``.

        Must be a function of (seed, epoch) alone: a resumed trial skips to its place.
        """

    def readings(self, epoch: int) -> Iterator[PendingBatch[Any]]:
        """The same batches, before they are read: the loop takes these, so that files are read ahead of the training.

        Only a task that reads files in training needs its own; its ``batches`` are then
        ``self.loader.ahead(self.readings(epoch))``.
        """
        return map(ready, self.batches(epoch))

    @abstractmethod
    def training_step(self, batch: Any, step: int) -> StepResult:
        """Forward pass and loss of one batch; ``step`` counts from 0."""

    @abstractmethod
    def evaluate(self, split: str) -> Evaluation:
        """Scores on ``validation`` or ``test``, the network in evaluation mode, without gradients."""

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Groups for the optimizer slot; a group's ``lr_scale`` multiplies the scheduled learning rate."""
        return [{"params": [p for p in model.parameters() if p.requires_grad]}]

    def clipped(self, model: nn.Module) -> list[nn.Parameter] | None:
        """The parameters whose joint gradient ``clip_norm`` limits; None: all that the optimizer moves."""
        return None

    def probe(self, model: nn.Module) -> Diagnostic | None:
        """The probe of the paper's mechanism, or None."""
        return None

    def optimize(self, batch: Any, step: int, update: Callable[[StepResult], None]) -> StepResult:
        """One optimization step; a task with several networks overrides this and calls ``update`` as it needs."""
        result = self.training_step(batch, step)
        update(result)
        return result

    def share(self, batch: Any, replicas: Replicas) -> Any:
        """This process's part of a batch, where a trial has several devices.

        Raises:
            HarnessError: the task's loss is not a mean over items that may be computed apart.
        """
        raise HarnessError(f"devices: the task '{self.metadata.name}' cannot share out its batches; set devices to 1")

    def gather(self, replicas: Replicas) -> None:  # noqa: B027 (most tasks hold nothing apart)
        """Before a checkpoint: bring together in the first process what the processes hold apart."""

    def state(self) -> dict[str, Any]:
        """What the task carries from step to step beside the model (memories, further optimizers): for checkpoints."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:  # noqa: B027 (most tasks carry nothing)
        """Go on from a state."""

    def product(self, model: nn.Module) -> Mapping[str, Tensor]:
        """What others may start from, saved where this trial is a prerequisite: the trained weights."""
        return model.state_dict()

    def mechanisms(self) -> dict[str, float]:
        """Final ``mechanism.*`` quantities beyond the probe's, without the prefix."""
        return {}

    def artifacts(self) -> list[Artifact]:
        """Pictures and samples that people would rather look at; files lie in ``context.folder``."""
        return []
