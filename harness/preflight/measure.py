"""Builds one piece of work really, takes its training step, scores it: in a worker's process."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import itertools
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness import registry
from harness.data.roots import data_root
from harness.execute.memory import peak_memory_bytes, reset_peak_memory
from harness.preflight.flops import Flops
from harness.preflight.work import Work
from harness.registry.shipped import fixtures
from harness.registry.user_methods import register
from harness.trial.assembly import assemble, filled
from harness.trial.contracts import ModelRequest, Probe, Task
from harness.trial.loop import Loop, settle
from harness.trial.options import build
from harness.trial.runtime import Runtime

# A probe holds the weights again, in double precision in places: not tried above this many parameters.
PROBED_PARAMETERS = 100_000_000


@dataclass(slots=True)
class Measured:
    """What was seen of one piece of work; ``error`` names the stage that failed.

    Attributes:
        parameters: of everything that the step moves, and of networks that it only asks (teachers).
        flops: of the step, two a multiply-add.
        activation_bytes: kept from the forward pass for the backward pass.
        state_bytes: parameters, gradients and the optimizer's state.
        item_bytes: of tables with a row a training item, a row.
        resident_bytes: the process's highest during the step.
        items_per_epoch: training items of a source that was read as it is; None of a tiny copy.
    """

    stage: str = "build"
    error: str | None = None
    parameters: int = 0
    asked_parameters: int = 0
    flops: int = 0
    activation_bytes: int = 0
    state_bytes: int = 0
    item_bytes: int = 0
    resident_bytes: int = 0
    step_seconds: float = 0.0
    seconds: float = 0.0
    loss: float = math.nan
    items_per_epoch: int | None = None
    untrained: list[str] = field(default_factory=list)


class Copies:
    """Tiny copies of sources and weights in one folder; each is written once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._data: dict[str, dict[str, Any] | None] = {}

    def data(self, part: Mapping[str, Any]) -> tuple[dict[str, Any], Path | None]:
        """The data part that reads a source's copy, and the copy's folder; the part itself where there is none."""
        name = str(part["name"])
        root = self.folder / "data" / name
        if name not in self._data:
            self._data[name] = fixtures().copy_of(name, {}, root)
        reads = self._data[name]
        return (dict(part), None) if reads is None else ({**part, **reads}, root)

    def weights(self, name: str) -> Path | None:
        """A file of random weights in a source's names, or None."""
        path = self.folder / "weights" / f"{name}.pth"
        return path if path.exists() else fixtures().weights_of(name, path.parent)


def measure(work: Work, copies: Copies, threads: int) -> Measured:
    """Build, step and score; an error is part of what is measured."""
    found = Measured()
    started = time.perf_counter()
    for method in work.own_methods:
        register(method)
    data, root = copies.data(work.spec["data"])
    spec = {**work.spec, "data": data, "recipe": {**work.spec["recipe"], "threads": threads}}
    try:
        with _surroundings(root, copies.folder / "cache"), tempfile.TemporaryDirectory(dir=copies.folder) as folder:
            _try(spec, Path(folder), copies, found, copied=root is not None, whole=work.whole)
    except Exception as error:
        found.error = f"{type(error).__name__}: {error}"
    gc.collect()
    _give_back()
    found.seconds = time.perf_counter() - started
    return found


def _try(spec: Mapping[str, Any], folder: Path, copies: Copies, found: Measured, *, copied: bool, whole: bool) -> None:
    files = {name: copies.weights(one["weights"]) for name, one in spec["prerequisites"].items() if "weights" in one}
    given = {name: path for name, path in files.items() if path is not None}
    runtime = Runtime(folder, torch.device("cpu"), registry.load, data_root(), prerequisites=given)
    task = assemble(spec, runtime)
    asked: list[nn.Module] = []

    def untrained(name: str, facts: Mapping[str, Any]) -> nn.Module:
        asked.append(_untrained(spec["prerequisites"][name], facts))
        return asked[-1]

    task.context = dataclasses.replace(task.context, load_prerequisite=untrained)
    settle(task.recipe)
    torch.manual_seed(0)
    model = task.build()
    found.untrained = sorted(spec["prerequisites"])
    found.parameters = sum(p.numel() for p in model.parameters())
    found.asked_parameters = sum(p.numel() for one in asked for p in one.parameters())
    if not copied:
        found.items_per_epoch = task.steps_per_epoch() * task.recipe.batch_size
    loop = Loop(task, model, runtime)
    if not whole or found.parameters > PROBED_PARAMETERS:
        loop.probe = None
    found.stage = "step"
    if task.trains:
        _step(task, loop, found)
    found.state_bytes = _state(loop) + 4 * found.asked_parameters
    found.item_bytes = rows_of_tables(model)
    found.stage = "evaluation"
    if whole:
        loop.finish()
    else:
        model.eval()
        with torch.no_grad():
            task.evaluate("test")
    found.stage = "done"


def _step(task: Task, loop: Loop, found: Measured) -> None:
    """One step, on the second batch where there is one: a model with memory then has something to remember."""
    *_, batch = itertools.islice(task.batches(0), 2)
    kept: dict[tuple[int, int], int] = {}
    own = {p.untyped_storage().data_ptr() for p in loop.model.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.device.type == "cpu" and tensor.layout is torch.strided:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr(), storage.nbytes()] = storage.nbytes()
        return tensor

    counter = Flops()
    loop.probing = loop.probe is not None
    if loop.probe is not None:
        loop.probe = _Apart(loop.probe, counter)
    reset_peak_memory()
    started = time.perf_counter()
    with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = loop.take_step(loop.step, batch)
    found.step_seconds = time.perf_counter() - started
    found.loss = float(result.loss.detach())
    found.flops = counter.total
    found.activation_bytes = sum(kept.values())
    found.resident_bytes = peak_memory_bytes()
    loop.step = loop.position = 1


class _Apart:
    """A probe whose arithmetic does not count: it is asked at about fifty steps of a training."""

    def __init__(self, probe: Probe, counter: Flops) -> None:
        self.probe, self.counter = probe, counter

    def before_step(self) -> None:
        """As the probe."""
        self.counter.counting = False
        self.probe.before_step()
        self.counter.counting = True

    def after_step(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """As the probe."""
        self.counter.counting = False
        found = self.probe.after_step(optimizer)
        self.counter.counting = True
        return found

    def summary(self) -> dict[str, float]:
        """As the probe."""
        return self.probe.summary()

    def state_dict(self) -> dict[str, Any]:
        """As the probe."""
        return self.probe.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As the probe."""
        self.probe.load_state_dict(state)


def _untrained(made: Mapping[str, Any], facts: Mapping[str, Any]) -> nn.Module:
    """A prerequisite's architecture with random weights: for its shapes and its cost, never for a result."""
    slots = filled(made.get("slots", {}), registry.load)
    norms = {name.partition(".")[2] or "all": slot for name, slot in slots.items() if name.split(".")[0] == "norm"}
    component = registry.load("model", made["model"]["name"])
    options = build(component.options, {name: value for name, value in made["model"].items() if name != "name"})
    network: nn.Module = component.target(ModelRequest(options, facts, norms))
    return network.eval().requires_grad_(False)


def _state(loop: Loop) -> int:
    """Bytes of parameters, gradients and the optimizer's state."""
    tensors = [tensor for parameter in loop.model.parameters() for tensor in (parameter, parameter.grad)]
    tensors += [value for state in loop.optimizer.state.values() for value in state.values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if isinstance(tensor, Tensor))


def rows_of_tables(model: nn.Module) -> int:
    """Bytes of one row in every table that a module declares (``tables``: buffers with a row a training item)."""
    tables = [getattr(module, name) for module in model.modules() for name in getattr(module, "tables", ())]
    return sum(table[0].numel() * table.element_size() for table in tables)


@contextlib.contextmanager
def _surroundings(root: Path | None, cache: Path) -> Iterator[None]:
    """The copy as data folder, and a cache of its own."""
    changed = {"HARNESS_CACHE": str(cache), **({"HARNESS_DATA": str(root)} if root is not None else {})}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _give_back() -> None:
    """Return freed memory to the system: the next piece of work is measured from there."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
