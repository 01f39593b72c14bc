"""AdamP of its authors' package, to check whole trainings."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from torch.optim import Optimizer

from methods.metadata import Choice, MethodMetadata, Uniform


def adamp_package(
    params: Iterable[Any],
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    delta: float = 0.1,
    wd_ratio: float = 0.1,
    nesterov: bool = False,
) -> Optimizer:
    """``adamp.AdamP`` of the package ``adamp``; arguments as of our ``AdamP``.

    Raises:
        ModuleNotFoundError: the package is not installed; the message says how to get it.
    """
    try:
        package = importlib.import_module("adamp")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the arm 'adamp-package' needs the authors' package: pip install 'adamp>=0.3'. "
            "The arm 'adamp' computes the same without it."
        ) from error
    return package.AdamP(params, lr, (betas[0], betas[1]), eps, weight_decay, delta, wd_ratio, nesterov)


METADATA = MethodMetadata(
    of=adamp_package,
    name="adamp-package",
    title="AdamP (package)",
    slot="optimizer",
    family="adam",
    paper="Heo, Chun, Oh, Han, Yun, Kim, Uh, Ha: AdamP: Slowing Down the Slowdown for Momentum Optimizers on "
    "Scale-invariant Weights, ICLR 2021, arXiv 2006.08217; package adamp 0.3.0",
    summary="the authors' own AdamP, for comparison with ours",
    options={"nesterov": (False, True)},
    search_space={"lr": Uniform(1e-5, 1e-1, log=True), "weight_decay": Choice((0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1))},
)
