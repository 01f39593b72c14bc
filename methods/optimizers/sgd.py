"""torch's momentum SGD: the baseline of SGDP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from methods.metadata import Choice, MethodMetadata, Uniform
from methods.optimizers.fused import fused


def sgd(
    params: Iterable[Any],
    lr: float | Tensor,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    **options: Any,
) -> torch.optim.SGD:
    """``torch.optim.SGD``; ``weight_decay`` is an L2 penalty in the gradient.

    Args:
        params: tensors, named tensors or parameter groups.
        lr: learning rate.
        momentum: factor of the buffer.
        dampening: of the gradient as it enters the buffer, from the second step on.
        weight_decay: L2 penalty.
        nesterov: look one step ahead.
        options: implementation flags of ``torch.optim.SGD`` (``foreach``, ``fused``, ``maximize``, …).

    Raises:
        ValueError: torch rejects an option.
    """
    own = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov}
    return fused(torch.optim.SGD, params, {**own, **options})


METADATA = MethodMetadata(
    of=sgd,
    name="sgd",
    title="SGD",
    slot="optimizer",
    family="sgd",
    paper="Sutskever, Martens, Dahl, Hinton: On the importance of initialization and momentum in deep learning, "
    "ICML 2013; torch.optim.SGD",
    summary="momentum SGD with an L2 penalty",
    required=("lr",),
    options={"nesterov": (False, True)},
    search_space={
        "lr": Uniform(1e-4, 1.0, log=True),
        "weight_decay": Choice((0.0, 1e-6, 1e-5, 1e-4, 1e-3)),
        "momentum": Uniform(0.8, 0.99),
    },
)
