"""A trial in a few lines, without the engine."""

import importlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from harness.registry.index import metadata_in
from harness.registry.metadata import DataMetadata, ModelMetadata, TaskMetadata
from harness.trial.contracts import DataRequest, ModelRequest, Slot, StepResult, Task, TrialContext
from harness.trial.loading import Loader
from harness.trial.options import build, options_of
from harness.trial.recipe import Recipe
from harness.trial.seeds import Streams

NOWHERE = Path("/nowhere")


def info_of(module: str, name: str) -> Any:
    """The record ``name`` of a module."""
    return next(info for info in metadata_in(importlib.import_module(module)) if info.name == name)


def options_for(target: Callable[..., Any], **keys: Any) -> Any:
    """The options of a loading or building function; a misspelt key fails."""
    module = importlib.import_module(target.__module__)
    metadata = next(metadata for metadata in metadata_in(module) if metadata.target == target.__name__)
    return build(metadata.options, keys)


def request_of(metadata: Any, root: Path, keys: Mapping[str, Any], seed: int = 0) -> DataRequest[Any]:
    """A request to a data source, as a trial makes it."""
    files = {file: metadata.sha256.get(file, "") for file in metadata.files}
    return DataRequest(build(metadata.options, keys), root, Streams(seed), metadata.name, files)


def request_for(load: Callable[..., Any], root: Path, source: str | None = None, **keys: Any) -> DataRequest[Any]:
    """A request at seed 0 to a source that a function loads: that of this name, else the first, a layout's own."""
    metadata = metadata_in(importlib.import_module(load.__module__))
    metadata = next(
        metadata for metadata in metadata if metadata.target == load.__name__ and source in (None, metadata.name)
    )
    return request_of(metadata, root, keys)


def model_from(building: Callable[..., Any], facts: Mapping[str, Any], **keys: Any) -> Any:
    """A model for ``facts``."""
    return building(ModelRequest(options_for(building, **keys), facts))


@dataclass(frozen=True)
class Cell:
    """A task with its data, model and recipe; modules and names as ``module:name``."""

    task: str
    data: str
    model: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    data_keys: Mapping[str, Any] = field(default_factory=dict)
    model_keys: Mapping[str, Any] = field(default_factory=dict)
    norms: Mapping[str, Slot] = field(default_factory=dict)

    def data_for(self, seed: int, root: Path = NOWHERE) -> Any:
        """The splits of one seed."""
        module, name = self.data.split(":")
        info: DataMetadata = info_of(module, name)
        request = request_of(info, root, self.data_keys, seed)
        return getattr(importlib.import_module(module), info.target)(request)

    def build(self, seed: int, root: Path = NOWHERE, data: Any = None) -> Any:
        """The task of one seed, its ``build`` not yet called."""
        module, name = self.task.split(":")
        info: TaskMetadata = info_of(module, name)
        model_module, model_name = self.model.split(":")
        model_info: ModelMetadata = info_of(model_module, model_name)
        assert info.options is not None
        names = options_of(info.options)
        own = {key: value for key, value in self.recipe.items() if key in names}
        streams = Streams(seed)

        def build_model(facts: Mapping[str, Any]) -> torch.nn.Module:
            torch.manual_seed(streams.number("init") % 2**63)
            request = ModelRequest(build(model_info.options, self.model_keys), facts, self.norms)
            return getattr(importlib.import_module(model_module), model_info.target)(request)

        recipe = build(Recipe, {key: value for key, value in self.recipe.items() if key not in names})
        context = TrialContext(
            recipe=recipe,
            options=build(info.options, own),
            load_data=lambda: data if data is not None else self.data_for(seed, root),
            build_model=build_model,
            slots={},
            streams=streams,
            device=torch.device("cpu"),
            scale="mini",
            folder=NOWHERE,
            load_prerequisite=_no_prerequisite,
            loader=Loader(torch.device("cpu"), recipe.readers),
        )
        return getattr(importlib.import_module(module), info.target)(context)


DIGITS = Cell(
    "suites.tasks.classification:classification",
    "suites.data.digits:digits",
    "suites.models.cnn:bn-cnn",
    {"batch_size": 20},
    {"train": 100, "validation": 100},
    {"widths": [8, 16], "strides": [2, 2]},
)
RETRIEVAL = Cell(
    "suites.tasks.retrieval:retrieval",
    "suites.data.digits:digits-by-class",
    "suites.models.embedding:embedding",
    {"batch_size": 20},
    {"images_per_class": 6},
    {"widths": [8, 16], "dimension": 16},
)
DETECTION = Cell(
    "suites.tasks.detection:detection",
    "suites.data.digits_pasted:digits-pasted",
    "suites.models.detectors:detector",
    {"batch_size": 16, "detections": 20, "smallest_box": 0.35, "largest_box": 0.6},
    {"train": 160, "validation": 16, "test": 80, "classes": 2},
    {"widths": [8, 16, 16], "head": 16},
)
TRANSLATION = Cell(
    "suites.tasks.translation:translation",
    "suites.data.phrases:phrases",
    "suites.models.transformer:transformer",
    {"max_tokens": 256, "merges": 100, "eval_batch": 50},
    {"train": 400, "held_out": 40},
    {"layers": 1, "width": 32, "heads": 2, "inner": 32},
)


def read_own(layout: str, path: Path, seed: int = 0, **keys: Any) -> Any:
    """The data of a user's file or folder; the layout as ``module:name``."""
    return Cell("", layout, "", data_keys={"path": str(path), **keys}).data_for(seed)


def sizes(data: Any) -> dict[str, int]:
    """Number of items by split."""
    return {name: len(part) for name, part in data.splits.items()}


def _no_prerequisite(name: str, facts: Mapping[str, Any]) -> torch.nn.Module:
    raise LookupError(f"no dependency '{name}'")


def adam(groups: list[dict[str, Any]], lr: float = 1e-2) -> torch.optim.Optimizer:
    """AdamW on a task's parameter groups, ``lr_scale`` applied."""
    scaled = [{**group, "lr": lr * group.get("lr_scale", 1.0)} for group in groups]
    return torch.optim.AdamW(scaled, lr=lr, weight_decay=1e-2)


def train(task: Task, steps: int, make: Any = adam) -> tuple[torch.nn.Module, list[float]]:
    """Build and take ``steps`` steps; the model and the loss of every step."""
    model = task.build()
    optimizer = make(task.parameter_groups(model))
    losses: list[float] = []

    def update(result: StepResult) -> None:
        optimizer.zero_grad()
        result.loss.backward()
        optimizer.step()

    batches = itertools.chain.from_iterable(map(task.batches, itertools.count()))
    for step, batch in enumerate(itertools.islice(batches, steps)):
        losses.append(float(task.optimize(batch, step, update).loss.detach()))
    return model, losses
