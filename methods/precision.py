"""Working precision: at least float32, whatever the inputs' type."""

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def widen(values: Tensor) -> Tensor:
    """Half precision as float32 (squares of float16 overflow, differences vanish); wider types as they are."""
    return values.float() if values.dtype in HALF else values
