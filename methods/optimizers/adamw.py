"""torch's AdamW: the deciding baseline of AdamP, whose decay is decoupled too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from methods.metadata import Choice, MethodMetadata, Uniform
from methods.optimizers.fused import fused


def adamw(
    params: Iterable[Any],
    lr: float | Tensor = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    **options: Any,
) -> torch.optim.AdamW:
    """``torch.optim.AdamW`` with AdamP's default weight decay of 0.

    Arguments as of ``adam``, but ``weight_decay`` (torch's default: 0.01) is decoupled from the gradient.

    Raises:
        ValueError: torch rejects an option.
    """
    own = {"lr": lr, "betas": (betas[0], betas[1]), "eps": eps, "weight_decay": weight_decay}
    return fused(torch.optim.AdamW, params, {**own, **options})


METADATA = MethodMetadata(
    of=adamw,
    name="adamw",
    title="AdamW",
    slot="optimizer",
    family="adam",
    paper="Loshchilov, Hutter: Decoupled Weight Decay Regularization, ICLR 2019, arXiv 1711.05101; torch.optim.AdamW",
    summary="Adam with decoupled weight decay",
    search_space={"lr": Uniform(1e-5, 1e-1, log=True), "weight_decay": Choice((0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1))},
)
