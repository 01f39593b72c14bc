"""Comparison of AdamP and SGDP with trajectories of the released code."""

from collections.abc import Mapping
from typing import Any

import torch

from methods.comparison import GRADIENT, Arrays, Comparison, compared, tensor_of
from methods.optimizers.adamp import AdamP
from methods.optimizers.sgdp import SGDP

PREFIXES: tuple[str, ...] = ("adamp", "sgdp")
OPTIMIZERS: Mapping[str, type[torch.optim.Optimizer]] = {"adamp": AdamP, "sgdp": SGDP}


def compare(name: str, case: Mapping[str, Any], arrays: Arrays) -> list[Comparison]:
    """Run the optimizer of a case; return comparisons per step and parameter.

    ``case`` has the hyper-parameters ``hp`` and ``steps``; ``arrays`` has ``init.<p>``, and per step t from 1, or 0, on
    ``grad.<t>.<p>`` and ``param.<t>.<p>``. A missing key is a KeyError.
    """
    build = next(OPTIMIZERS[prefix] for prefix in PREFIXES if name.startswith(prefix))
    names = [key.removeprefix("init.") for key in arrays if key.startswith("init.")]
    if not names:
        raise KeyError("init.<parameter>")
    weights = {p: torch.nn.Parameter(tensor_of(arrays[f"init.{p}"])) for p in names}
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in case["hp"].items()}
    optimizer = build(weights.values(), **options)
    first = 0 if f"grad.0.{names[0]}" in arrays else 1
    comparisons = []
    for t in range(first, first + int(case["steps"])):
        for p, weight in weights.items():
            weight.grad = tensor_of(arrays[f"grad.{t}.{p}"])
        optimizer.step()
        for p, weight in weights.items():
            comparisons.append(compared(f"param.{t}.{p}", weight, arrays, GRADIENT))
    return comparisons
