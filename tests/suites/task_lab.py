"""A trial in a few lines, without the engine: what the tests of tasks, data and models share."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from harness.registry.cards import DataCard, ModelCard, TaskCard
from harness.trial.contracts import DataRequest, ModelRequest, Task, TrialContext
from harness.trial.options import Key
from harness.trial.recipe import recipe_from
from harness.trial.seeds import Streams


def filled(keys: Mapping[str, Key], given: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults of ``keys`` with ``given`` over them; a misspelt key fails."""
    assert set(given) <= set(keys), set(given) - set(keys)
    return {name: given.get(name, key.default) for name, key in keys.items()}


def info_of(module: str, name: str) -> Any:
    """The record ``name`` of a module."""
    loaded = importlib.import_module(module)
    infos = getattr(loaded, "CARDS", None) or (loaded.CARD,)
    return next(info for info in infos if info.name == name)


@dataclass(frozen=True)
class Cell:
    """A task with its data, model and recipe; modules and names as ``module:name``."""

    task: str
    data: str
    model: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    data_keys: Mapping[str, Any] = field(default_factory=dict)
    model_keys: Mapping[str, Any] = field(default_factory=dict)

    def data_for(self, seed: int, root: Path = Path("/nowhere")) -> Any:
        """The splits of one seed."""
        module, name = self.data.split(":")
        info: DataCard = info_of(module, name)
        request = DataRequest(filled(info.keys, self.data_keys), root, Streams(seed))
        return getattr(importlib.import_module(module), info.target)(request)

    def build(self, seed: int, root: Path = Path("/nowhere"), data: Any = None, scale: str = "mini") -> Task:
        """The task of one seed, its ``build`` not yet called."""
        module, name = self.task.split(":")
        info: TaskCard = info_of(module, name)
        model_module, model_name = self.model.split(":")
        model_info: ModelCard = info_of(model_module, model_name)
        common = {key: value for key, value in self.recipe.items() if key not in info.keys}
        own = filled(info.keys, {key: value for key, value in self.recipe.items() if key in info.keys})
        streams = Streams(seed)

        def build_model(facts: Mapping[str, Any]) -> torch.nn.Module:
            torch.manual_seed(streams.number("init") % 2**63)
            request = ModelRequest(filled(model_info.keys, self.model_keys), facts)
            return getattr(importlib.import_module(model_module), model_info.target)(request)

        context = TrialContext(
            recipe=recipe_from({**common, **own}),
            load_data=lambda: data if data is not None else self.data_for(seed, root),
            build_model=build_model,
            slots={},
            streams=streams,
            device=torch.device("cpu"),
            scale=scale,
            folder=Path("/nowhere"),
            load_prerequisite=_no_prerequisite,
        )
        return getattr(importlib.import_module(module), info.target)(context)


def _no_prerequisite(name: str, facts: Mapping[str, Any]) -> torch.nn.Module:
    raise LookupError(f"no prerequisite '{name}'")


def adam(groups: list[dict[str, Any]], lr: float = 1e-2) -> torch.optim.Optimizer:
    """AdamW on a task's parameter groups, ``lr_scale`` applied."""
    scaled = [{**group, "lr": lr * group.get("lr_scale", 1.0)} for group in groups]
    return torch.optim.AdamW(scaled, lr=lr, weight_decay=1e-2)


def train(task: Task, steps: int, make: Any = adam) -> tuple[torch.nn.Module, list[float]]:
    """Build and take ``steps`` steps; the model and the loss of every step."""
    model = task.build()
    optimizer = make(task.parameter_groups(model))
    losses: list[float] = []
    epoch = 0
    while len(losses) < steps:
        for batch in task.batches(epoch):
            optimizer.zero_grad()
            result = task.training_step(batch, len(losses))
            result.loss.backward()
            optimizer.step()
            losses.append(float(result.loss.detach()))
            if len(losses) == steps:
                break
        epoch += 1
    return model, losses
