"""Help for the compiler where its own choice is slow."""

from __future__ import annotations

import torch
from torch import Tensor


def settle(values: Tensor) -> Tensor:
    """Small per-channel values, computed once in compiled code.

    The compiler repeats cheap expressions where they are used: a root and a division for every token or pixel. A
    reduction is the one thing that it does not repeat; of equal rows it changes no value.

    Args:
        values: any shape; a few thousand elements at most.

    Returns:
        The same values.
    """
    return values.expand(16, *values.shape).amax(0) if torch.compiler.is_compiling() else values
