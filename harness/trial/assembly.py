"""Assembly of a trial from its spec: data, model and methods, with the initial weights that its pair shares."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from harness.trial.contracts import DataRequest, Facts, ModelRequest, Slot, Task, TrialContext
from harness.trial.loading import Loader
from harness.trial.options import Values, build
from harness.trial.recipe import recipe_from, task_values
from harness.trial.runtime import Components, Runtime
from harness.trial.saved import load_trained_weights
from harness.trial.seeds import Streams, seed_torch
from harness.trial.spec import FilledSlots, Part, TrialSpec


@dataclass(frozen=True, slots=True)
class Initialisation:
    """Initial weights of a trial's networks: the arm's model, and those of its dependencies."""

    spec: TrialSpec
    streams: Streams
    slots: Mapping[str, Slot]
    runtime: Runtime

    def build(self, facts: Facts) -> nn.Module:
        """Build the arm's model; what the reference arm's model has in equal name and shape is copied from it.

        An arm's extra layers thus do not shift the initial weights of the rest.
        """
        model = self._model(self.spec.model, self.slots, facts)
        reference = self.spec.reference
        if reference is not None and reference.model is not None:
            slots = loaded(reference.slots, self.runtime.components)
            share_weights(self._model(reference.model, slots, facts), model)
        return self._placed(model)

    def prerequisite(self, name: str, facts: Facts) -> nn.Module:
        """Return a dependency's network with trained weights, frozen, in evaluation mode.

        Raises:
            ValueError: its weights come without a network.
        """
        start = self.spec.prerequisites[name]
        if start.model is None:
            raise ValueError(f"the dependency '{name}' names no model")
        model = self._model(start.model, loaded(start.slots, self.runtime.components), facts)
        model.load_state_dict(load_trained_weights(self.runtime.prerequisites[name]))
        return self._placed(model).eval().requires_grad_(False)

    def _placed(self, model: nn.Module) -> nn.Module:
        if self.spec.recipe.get("memory_layout") == "channels_last":
            model = model.to(memory_format=torch.channels_last)
        return model.to(self.runtime.device)

    def _model(self, part: Part, slots: Mapping[str, Slot], facts: Facts) -> nn.Module:
        seed_torch(self.streams.number("init"))
        norms = {name.partition(".")[2] or "all": slot for name, slot in slots.items() if name.split(".")[0] == "norm"}
        model = self.runtime.components("model", part.name)
        options = build(model.options, part.values)
        built: nn.Module = model.target(ModelRequest(options, facts, norms, self.runtime.prerequisites))
        return built


def share_weights(source: nn.Module, target: nn.Module) -> list[str]:
    """Copy every parameter and buffer of equal name and shape; returns their names."""
    have = source.state_dict()
    shared = []
    with torch.no_grad():
        for name, tensor in target.state_dict().items():
            if name in have and have[name].shape == tensor.shape and have[name].dtype == tensor.dtype:
                tensor.copy_(have[name])
                shared.append(name)
    return shared


def loaded(slots: FilledSlots, components: Components) -> dict[str, Slot]:
    """Return the methods of slots, ready to be built."""
    ready = {}
    for name, part in slots.methods.items():
        hyper = Values({key: tuple(value) if isinstance(value, list) else value for key, value in part.values.items()})
        ready[name] = Slot(part.name, components("method", part.name).target, hyper)
    return ready


def assemble(spec: TrialSpec, runtime: Runtime) -> Task:
    """Return the task of a trial, not yet built."""
    streams = Streams(spec.seed)
    slots = loaded(spec.slots, runtime.components)
    started = Initialisation(spec, streams, slots, runtime)

    def load_data() -> Any:
        name, files = spec.data.name, spec.content.get("sha256", {})
        source = runtime.components("data", name)
        options = build(source.options, spec.data.values)
        return source.target(DataRequest(options, runtime.data_root, streams, name, files))

    component = runtime.components("task", spec.task)
    recipe = recipe_from(spec.recipe)
    context = TrialContext(
        recipe=recipe,
        options=build(component.options, task_values(spec.recipe)),
        load_data=load_data,
        build_model=started.build,
        slots=slots,
        streams=streams,
        device=runtime.device,
        scale=spec.scale,
        folder=runtime.folder,
        load_prerequisite=started.prerequisite,
        prerequisites=tuple(spec.prerequisites),
        loader=Loader(runtime.device, recipe.readers),
    )
    task: Task = component.target(context)
    return task
