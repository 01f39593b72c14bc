"""Comparison of MK-MMD with loss and gradients of the released code."""

from collections.abc import Mapping
from typing import Any

import torch

from methods.alignment.mk_mmd import mk_mmd_loss
from methods.comparison import GRADIENT, LOSS, Arrays, Comparison, compared, tensor_of

PREFIXES: tuple[str, ...] = ("mkmmd",)


def compare(name: str, case: Mapping[str, Any], arrays: Arrays) -> list[Comparison]:
    """Compare the loss of ``x``, ``y`` and its gradients; ``case`` has ``sigmas``. A missing key is a KeyError."""
    x, y = (tensor_of(arrays[key]).requires_grad_() for key in ("x", "y"))
    loss = mk_mmd_loss(x, y, [float(sigma) for sigma in case["sigmas"]])
    gradients = torch.autograd.grad(loss, (x, y))
    pairs = zip(("grad_x", "grad_y"), gradients, strict=True)
    return [compared("loss", loss, arrays, LOSS), *(compared(key, got, arrays, GRADIENT) for key, got in pairs)]
