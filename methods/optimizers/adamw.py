"""AdamW as torch has it: the baseline that decides AdamP's claims, since both decouple the decay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from methods.cards import Choice, MethodCard, Uniform
from methods.optimizers.fused import fused


def adamw(
    params: Iterable[Any],
    lr: float | Tensor = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    **options: Any,
) -> torch.optim.AdamW:
    """``torch.optim.AdamW`` with AdamP's default decay of 0 (torch: 0.01), so that arms never differ by a default.

    Arguments as of ``adam``, but for ``weight_decay``, which is decoupled from the gradient.

    Raises:
        ValueError: torch refuses an option.
    """
    own = {"lr": lr, "betas": (betas[0], betas[1]), "eps": eps, "weight_decay": weight_decay}
    return fused(torch.optim.AdamW, params, {**own, **options})


CARD = MethodCard(
    of=adamw,
    name="adamw",
    title="AdamW",
    slot="optimizer",
    family="adam",
    paper="Loshchilov, Hutter: Decoupled Weight Decay Regularization, ICLR 2019, arXiv 1711.05101; torch.optim.AdamW",
    summary="Adam with decoupled weight decay",
    search_space={"lr": Uniform(1e-5, 1e-1, log=True), "weight_decay": Choice((0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1))},
)
