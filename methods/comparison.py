"""Comparison of a computed array with its reference."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Arrays = Mapping[str, NDArray[np.generic]]
"""A case's arrays by the keys of its file."""

LOSS = {"rtol": 1e-5, "atol": 1e-6}
"""Tolerances of losses and forward passes, as the vectors' README states them."""

GRADIENT = {"rtol": 1e-4, "atol": 1e-6}
"""Tolerances of gradients and of parameter trajectories, as the vectors' README states them."""

EXACT = {"rtol": 0.0, "atol": 0.0}
"""Tolerances of class indices."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A computed array and its reference; ``rtol`` is relative to the expected value, ``atol`` absolute."""

    label: str
    got: NDArray[np.generic]
    expected: NDArray[np.generic]
    rtol: float
    atol: float

    @property
    def same_shape(self) -> bool:
        """True if both arrays have the same shape; nothing is broadcast."""
        return np.shape(self.got) == np.shape(self.expected)

    @property
    def largest_error(self) -> float:
        """Largest absolute difference; infinite if shapes differ or only one side is NaN or infinite."""
        if not self.same_shape:
            return float("inf")
        got, expected = self._double()
        with np.errstate(invalid="ignore"):
            difference = np.abs(got - expected)
        alike = (got == expected) | (np.isnan(got) & np.isnan(expected))
        return float(np.where(alike, 0.0, np.where(np.isnan(difference), np.inf, difference)).max(initial=0.0))

    @property
    def passed(self) -> bool:
        """True if every element lies within ``atol + rtol·|expected|`` of its reference."""
        if not self.same_shape:
            return False
        got, expected = self._double()
        return bool(np.allclose(got, expected, rtol=self.rtol, atol=self.atol, equal_nan=True))

    def _double(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.asarray(self.got, dtype=np.float64), np.asarray(self.expected, dtype=np.float64)


def tensor_of(array: NDArray[np.generic]) -> Tensor:
    """A tensor with a copy of the array."""
    return torch.from_numpy(np.array(array))


def compared(label: str, got: Tensor, arrays: Arrays, tolerance: Mapping[str, float]) -> Comparison:
    """Compare a copy of a tensor with the array of that label."""
    return Comparison(label, got.detach().numpy().copy(), arrays[label], **tolerance)
