"""AdamP as its authors' package computes it: an arm that checks whole trainings, not only vectors."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from torch.optim import Optimizer

from methods.cards import Choice, MethodCard, Uniform, defaults_of


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
    """``adamp.AdamP`` of the package ``adamp``.

    Args:
        params: tensors or parameter groups.
        lr: learning rate.
        betas: decay rates of the first and second moment.
        eps: added to the root of the second moment and to the norms of the projection.
        weight_decay: decoupled decay.
        delta: the projection fires below the cosine ``delta/√(row length)``.
        wd_ratio: factor of the weight decay where it fires.
        nesterov: use ``β₁·m + (1-β₁)·g`` as numerator.

    Raises:
        ModuleNotFoundError: the package is not installed; the message says how to get it.
    """
    try:
        package = importlib.import_module("adamp")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the arm 'adamp-package' runs the authors' package, which is not installed: pip install 'adamp>=0.3'. "
            "The arm 'adamp' computes the same without it."
        ) from error
    optimizer: Optimizer = package.AdamP(
        params,
        lr=lr,
        betas=(betas[0], betas[1]),
        eps=eps,
        weight_decay=weight_decay,
        delta=delta,
        wd_ratio=wd_ratio,
        nesterov=nesterov,
    )
    return optimizer


CARD = MethodCard(
    name="adamp-package",
    title="AdamP (package)",
    slot="optimizer",
    role="baseline",
    family="adam",
    paper="Heo, Chun, Oh, Han, Yun, Kim, Uh, Ha: AdamP: Slowing Down the Slowdown for Momentum Optimizers on "
    "Scale-invariant Weights, ICLR 2021, arXiv 2006.08217; package adamp 0.3.0",
    target="adamp_package",
    summary="the authors' own AdamP, for comparison with ours",
    defaults=defaults_of(adamp_package),
    options={"nesterov": (False, True)},
    search_space={
        "lr": Uniform(1e-5, 1e-1, log=True),
        "weight_decay": Choice((0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)),
    },
)
