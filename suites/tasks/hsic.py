"""Hilbert–Schmidt independence criterion with Gaussian kernels (Gretton et al. 2005; Song et al. 2012)."""

from __future__ import annotations

import torch
from torch import Tensor

ESTIMATORS = ("unbiased", "biased")


def squared_distances(features: Tensor) -> Tensor:
    """(N, N) squared Euclidean distances of features (N, …)."""
    flat = features.flatten(1)
    products = flat @ flat.T
    lengths = products.diagonal()
    return (lengths[:, None] + lengths[None, :] - 2 * products).clamp_min(0)


def gaussian_kernel(features: Tensor, sigma: float | Tensor) -> Tensor:
    """(N, N) kernel exp(−‖x − x'‖²/(2σ²)) of features (N, …)."""
    return torch.exp(-squared_distances(features) / (2 * sigma**2))


def hsic(left: Tensor, right: Tensor, estimator: str = "unbiased") -> Tensor:
    """HSIC of two kernel matrices (N, N) over the same items; 0 in expectation where they are independent.

    ``biased`` is tr(KHLH)/(N−1)² (Gretton et al. 2005, equation 9), ``unbiased`` is HSIC₁ of Song et al. 2012,
    equation 5, on kernels with zeroed diagonals. The released ReBias code subtracts the *vector* of the diagonal from
    every row instead; for kernels of diagonal 1 that takes 1 from every entry, which the centring takes out again, so
    both give one value.

    Raises:
        ValueError: the unbiased estimator wants four items at least, or there is no such estimator.
    """
    count = len(left)
    if estimator == "biased":
        return (_centred(left) * _centred(right).T).sum() / (count - 1) ** 2
    if estimator != "unbiased":
        raise ValueError(f"no estimator '{estimator}'; valid: {', '.join(ESTIMATORS)}")
    if count < 4:
        raise ValueError(f"the unbiased estimator of HSIC needs four items, got {count}")
    hole = 1 - torch.eye(count, device=left.device, dtype=left.dtype)
    left, right = left * hole, right * hole
    together = (left * right.T).sum()
    apart = left.sum() * right.sum() / ((count - 1) * (count - 2))
    rows = left.sum(0) @ right.sum(0)
    return (together + apart - 2 * rows / (count - 2)) / (count * (count - 3))


def _centred(kernel: Tensor) -> Tensor:
    return kernel - kernel.mean(0, keepdim=True)
