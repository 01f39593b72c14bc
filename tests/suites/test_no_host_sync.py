"""The host reads no number in a step without logging or diagnostics.

Without a GPU the operations themselves are counted: those that give a number to Python (``_local_scalar_dense``), or
whose result has as many entries as a device must first count (``nonzero``, a mask as index), and the methods of tensors
that copy to the host.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from harness import registry
from harness.data.roots import data_root
from harness.plan.planning import Selection, make_plan
from harness.suite import load_suite
from harness.trial.assembly import assemble
from harness.trial.loop import Loop
from harness.trial.runtime import Runtime

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "_unique2", "unique_dim", "is_nonzero", "equal")
COPIES = ("tolist", "numpy", "cpu", "item")

CELLS = {
    "classification": ("adamp", "imagenet-resnet18", "adamp"),
    "mixing": ("adamp", "imagenet-resnet50-cutmix", "adamp"),
    "distillation": ("nkd", "imagenet-resnet18", "uskd"),
    "retrieval": ("adamp", "cub-triplet", "adamp"),
    "retrieval by proxies": ("adamp", "inshop-proxyanchor", "adamw"),
    "debiasing": ("adamp", "biased-mnist-rho999", "adamp"),
    "adversarial": ("adamp", "cifar10-adversarial-linf", "adam"),
    "audio": ("adamp", "dcase", "adamp"),
    "detection": ("adamp", "coco-ssd-scratch", "adam"),
    "centre points": ("adamp", "coco-centernet-scratch", "adam"),
    "language modelling": ("powernorm", "ptb", "power"),
    "translation": ("powernorm", "iwslt14-de-en", "power"),
    "inpainting": ("region_norm", "places2", "rn"),
    "sensing": ("knn_mmd", "wigesture-gesture", "mmd"),
}


ALLOWED = {
    "distillation": {"Tensor.numpy"},
    "centre points": {"Tensor.tolist"},
    "retrieval": {"nonzero", "a mask as index"},
    "retrieval by proxies": {"nonzero", "_local_scalar_dense"},
}
"""USKD sorts so on a CPU alone; boxes lie on the host, where their maps are made; and pytorch-metric-learning's losses
and miners return as many places as they find, so that those two tasks do wait for their device."""


class Waits(TorchDispatchMode):
    """Counts the operations that make the host wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in WAITS:
            self.found[name] += 1
        if name in ("index", "index_put", "index_put_") and any(
            isinstance(part, torch.Tensor) and part.dtype in (torch.bool, torch.uint8)
            for part in args[1]
            if part is not None
        ):
            self.found["a mask as index"] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    waits = Waits()
    with monkeypatch.context() as patch:
        for name in COPIES:
            before = getattr(torch.Tensor, name)

            def counted(self: torch.Tensor, *values: Any, _name: str = name, _before: Any = before, **more: Any) -> Any:
                if not getattr(self, "_on_host", False):
                    waits.found[f"Tensor.{_name}"] += 1
                return _before(self, *values, **more)

            patch.setattr(torch.Tensor, name, counted)
        with waits:
            yield waits.found


@pytest.mark.timeout(200)
@pytest.mark.parametrize("cell", CELLS)
def test_no_task_waits_in_its_step(cell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite, benchmark, arm = CELLS[cell]
    plan = make_plan(load_suite(suite), Selection("mini", (benchmark,), (arm,), (0,)))
    trial = next(trial for trial in plan.trials if trial.arm == arm)
    products = {name: _untrained(plan, trial, name, tmp_path) for name in trial.needs}
    runtime = Runtime(tmp_path, torch.device("cpu"), registry.load, data_root(), prerequisites=products)
    task = assemble(trial.spec, runtime)
    loop = Loop(task, task.build(), runtime)
    loop.lag = 16  # as on a device
    batches = loop._batches()
    for step in range(2):
        batch = next(batches)
        if step < 1:
            loop.take_step(step, batch)
            continue
        with watched(monkeypatch) as result:
            loop.take_step(step, batch)
        assert result.keys() - ALLOWED.get(cell, set()) == set()


def _untrained(plan: Any, trial: Any, name: str, folder: Path) -> Path:
    """Save untrained weights in place of a dependency's."""
    from harness.trial.saved import save_trained_weights

    before = next(item for item in plan.trials if item.trial_id == trial.needs[name])
    where = folder / before.trial_id[:8]
    task = assemble(before.spec, Runtime(where, torch.device("cpu"), registry.load, data_root()))
    save_trained_weights(where, task.product(task.build()))
    return where
