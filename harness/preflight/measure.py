"""Measurement of a workload in a worker's process: build, one training step, evaluation."""

import contextlib
import dataclasses
import gc
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from unittest import mock

import psutil
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from harness import registry
from harness.data.roots import data_root
from harness.execute.resources import peak_memory_bytes, reset_peak_memory
from harness.preflight.work import Measurement, Workload
from harness.registry.shipped import fixtures
from harness.registry.user_methods import register
from harness.trial.assembly import assemble, loaded
from harness.trial.contracts import Diagnostic, ModelRequest, Task
from harness.trial.loop import Loop, settle
from harness.trial.options import Values, build
from harness.trial.runtime import Runtime
from harness.trial.spec import Part, Start, TrialSpec

MOST_DIAGNOSED = 100_000_000
"""Parameters of the largest network whose diagnostics run: they hold the weights again, in places as float64."""
READINGS = 10
aten = torch.ops.aten
# The CPU's kernel takes queries, keys and values in the same places.
AS: Mapping[Any, Any] = {
    aten._scaled_dot_product_flash_attention_for_cpu: aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: aten._scaled_dot_product_flash_attention_backward,
}


class Flops(TorchDispatchMode):
    """Counts arithmetic while ``counting``, by torch's formulas; two a multiply-add.

    ``torch.utils.flop_counter.FlopCounterMode`` also keeps a tree of modules, whose hooks hold on to the graph of a
    network that is called twice in a step; and it does not support attention on the CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self.counting = True

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        more = dict(kwargs or {})
        packet = getattr(func, "_overloadpacket", func)
        formula: Callable[..., int] | None = flop_registry.get(AS.get(packet, packet))
        if formula is None:
            with self:
                parts = func.decompose(*args, **more)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **more)
        if formula is not None and self.counting:
            self.total += int(formula(*args, **more, out_val=out))
        return out


class Copies:
    """Tiny copies of sources and weights in one folder; each is written once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._data: dict[str, Part | None] = {}

    def data(self, part: Part) -> tuple[Part, Path | None]:
        """The data part that reads a source's copy, and the copy's folder; without a copy the part itself."""
        name = part.name
        root = self.folder / "data" / name
        if name not in self._data:
            reads = fixtures().copy_of(name, {}, root)
            self._data[name] = None if reads is None else Part(name, reads)
        copy = self._data[name]
        return (part, None) if copy is None else (Part.from_json(Values({**part.to_json(), **copy.values})), root)

    def weights(self, name: str) -> Path | None:
        """A file of random weights in a source's names, or None."""
        path = self.folder / "weights" / f"{name}.pth"
        return path if path.exists() else fixtures().weights_of(name, path.parent)


def measure(work: Workload, copies: Copies, threads: int) -> Measurement:
    """Build, step and score; an error is part of the measurement."""
    measured = Measurement()
    for method in work.own_methods:
        register(method)
    data, root = copies.data(work.spec.data)
    spec = dataclasses.replace(work.spec, data=data, recipe=Values({**work.spec.recipe, "threads": threads}))
    try:
        with _reading(root, copies.folder / "cache"), tempfile.TemporaryDirectory(dir=copies.folder) as folder:
            _try(spec, Path(folder), copies, measured, copied=root is not None, whole=work.whole)
    except Exception as error:
        measured.error = f"{type(error).__name__}: {error}"
    gc.collect()
    with contextlib.suppress(AttributeError, psutil.Error):  # not on every system
        psutil.heap_trim()  # the next workload is measured from there
    return measured


def _try(spec: TrialSpec, folder: Path, copies: Copies, measured: Measurement, *, copied: bool, whole: bool) -> None:
    sources = ((name, start.weights) for name, start in spec.prerequisites.items())
    weights = {name: path for name, source in sources if source and (path := copies.weights(source))}
    runtime = Runtime(folder, torch.device("cpu"), registry.load, data_root(), prerequisites=weights)
    task = assemble(spec, runtime)
    frozen: list[nn.Module] = []

    def untrained(name: str, facts: Mapping[str, int]) -> nn.Module:
        frozen.append(_untrained(spec.prerequisites[name], facts))
        return frozen[-1]

    task.context = dataclasses.replace(task.context, load_prerequisite=untrained)
    settle(task.recipe)
    torch.manual_seed(0)
    model = task.build()
    measured.untrained = tuple(sorted(spec.prerequisites))
    measured.parameters = sum(p.numel() for p in model.parameters())
    measured.asked_parameters = sum(p.numel() for network in frozen for p in network.parameters())
    if not copied:
        measured.items_per_epoch = task.steps_per_epoch() * task.recipe.batch_size
    loop = Loop(task, model, runtime)
    if not whole or measured.parameters > MOST_DIAGNOSED:
        loop.probe = None
    measured.stage = "step"
    if task.trains:
        measured.read_seconds = reading_seconds(task)
        _step(task, loop, measured)
    measured.state_bytes = _state(loop) + 4 * measured.asked_parameters
    measured.item_bytes = rows_of_tables(model)
    measured.stage = "evaluation"
    if whole:
        loop.finish()
    else:
        model.eval()
        with torch.no_grad():
            task.evaluate("test")
    measured.stage = "done"


def reading_seconds(task: Task) -> float | None:
    """Processor seconds of one thread for an item, if files are read.

    The shortest of several times, over the first batch: as on a free core, with files from a fast disk.
    """
    reading = next(iter(task.readings(0)), None)
    items = max((len(rows.files) for rows in reading.rows), default=0) if reading is not None else 0
    if reading is None or not items:
        return None
    seconds = []
    rooms = [torch.empty(rows.shape, dtype=rows.dtype).numpy() for rows in reading.rows]
    for _ in range(READINGS):
        started = time.thread_time()
        for rows, room in zip(reading.rows, rooms, strict=True):
            for row in range(len(rows.files)):
                rows.fill(row, room)
        seconds.append(time.thread_time() - started)
    return min(seconds) / items


def _step(task: Task, loop: Loop, measured: Measurement) -> None:
    """Take one step, on the second batch if there is one."""
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
        loop.probe = cast(Diagnostic, _Uncounted(loop.probe, counter))
    reset_peak_memory()
    started = time.perf_counter()
    with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loop.take_step(loop.step, batch)
    measured.step_seconds = time.perf_counter() - started
    measured.flops = counter.total
    measured.activation_bytes = sum(kept.values())
    measured.resident_bytes = peak_memory_bytes()
    loop.step = loop.position = 1


class _Uncounted:
    """A diagnostic whose arithmetic does not count: it runs at about fifty steps of a training."""

    def __init__(self, diagnostic: Diagnostic, counter: Flops) -> None:
        self._diagnostic, self._counter = diagnostic, counter

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self._counter.counting = False
            try:
                return getattr(self._diagnostic, name)(*arguments)
            finally:
                self._counter.counting = True

        return call


def _untrained(start: Start, facts: Mapping[str, int]) -> nn.Module:
    """A dependency's architecture with random weights: for its shapes and its cost, never for a result."""
    assert start.model is not None, "only networks are loaded"
    slots = loaded(start.slots, registry.load)
    norms = {name.partition(".")[2] or "all": slot for name, slot in slots.items() if name.split(".")[0] == "norm"}
    component = registry.load("model", start.model.name)
    options = build(component.options, start.model.values)
    network: nn.Module = component.target(ModelRequest(options, facts, norms))
    return network.eval().requires_grad_(False)


def _state(loop: Loop) -> int:
    """Bytes of parameters, gradients and the optimizer's state."""
    tensors = [tensor for parameter in loop.model.parameters() for tensor in (parameter, parameter.grad)]
    tensors += [value for state in loop.optimizer.state.values() for value in state.values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if isinstance(tensor, Tensor))


def rows_of_tables(model: nn.Module) -> int:
    """Bytes of a row of all ``tables``: buffers with a row a training item."""
    tables = [getattr(module, name) for module in model.modules() for name in getattr(module, "tables", ())]
    return sum(table[0].numel() * table.element_size() for table in tables)


@contextlib.contextmanager
def _reading(root: Path | None, cache: Path) -> Iterator[None]:
    """Let sources read the copy instead of the data folder."""
    changed = {"HARNESS_CACHE": str(cache), **({"HARNESS_DATA": str(root)} if root is not None else {})}
    with mock.patch.dict(os.environ, changed):
        yield
