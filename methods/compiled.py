"""Help for the compiler where its own choice is slow."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

Values = TypeVar("Values")


def settle(values: Values) -> Values:
    """A scalar or small per-channel values (a few thousand elements at most), computed once in compiled code.

    The compiler repeats cheap expressions where they are used: a root and a division for every token or pixel, a bias
    correction for every vector of a weight. A reduction of some length is the one thing that it does not repeat; of
    equal rows it changes no value.
    """
    if isinstance(values, Tensor) and torch.compiler.is_compiling():
        return values.expand(16, *values.shape).amax(0)
    return values
