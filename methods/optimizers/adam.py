"""torch's Adam with an L2 penalty: a baseline of AdamP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from methods.metadata import Choice, MethodMetadata, Uniform
from methods.optimizers.fused import fused


def adam(
    params: Iterable[Any],
    lr: float | Tensor = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    **options: Any,
) -> torch.optim.Adam:
    """``torch.optim.Adam``; ``weight_decay`` is an L2 penalty in the gradient, not decoupled.

    Args:
        params: tensors, named tensors or parameter groups.
        lr: learning rate.
        betas: decay rates of the first and second moment.
        eps: added to the root of the second moment.
        weight_decay: L2 penalty.
        options: implementation flags of ``torch.optim.Adam`` (``foreach``, ``fused``, ``maximize``, …).

    Raises:
        ValueError: torch rejects an option.
    """
    own = {"lr": lr, "betas": (betas[0], betas[1]), "eps": eps, "weight_decay": weight_decay}
    return fused(torch.optim.Adam, params, {**own, **options})


METADATA = MethodMetadata(
    of=adam,
    name="adam",
    title="Adam",
    slot="optimizer",
    family="adam",
    paper="Kingma, Ba: Adam: A Method for Stochastic Optimization, ICLR 2015, arXiv 1412.6980; torch.optim.Adam",
    summary="Adam with an L2 penalty in the gradient",
    search_space={"lr": Uniform(1e-5, 1e-1, log=True), "weight_decay": Choice((0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1))},
)
