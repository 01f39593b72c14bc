"""Working precision: at least float32, whatever the inputs' type."""

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def widen(values: Tensor) -> Tensor:
    """Half precision as float32, wider types as they are.

    Squares of float16 overflow from 256 on, and logits or squared distances in half precision lose the differences
    that make up a loss.
    """
    return values.float() if values.dtype in HALF else values
