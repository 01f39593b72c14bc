"""Maximum mean discrepancy with Gaussian kernels (MK-MMD), globally or by class.

For one kernel k the biased estimate is MMD² = mean k(x, x') + mean k(y, y') − 2·mean k(x, y) (Gretton et al. 2012,
JMLR 13, equation 5). The discrepancy here is the mean over kernels of √max(0, MMD²), as in the KNN-MMD code.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from methods.checks import check_choice
from methods.precision import widen

SIGMAS: tuple[float, ...] = (0.5, 1.0)


def guarded_sqrt(value: Tensor) -> Tensor:
    """√max(0, v), with zero gradient within rounding of 0.

    The derivative 1/(2√v) is infinite at 0, where two samples are equal: ∞ times a zero gradient of v is NaN. v is a
    difference of means of numbers up to 1, so values within a few units of the last place of 1 are noise.
    """
    floor = 4 * torch.finfo(value.dtype).eps
    above = value > floor
    root = torch.where(above, value, 1.0).sqrt()
    return torch.where(above, root, value.detach().clamp_min(0).sqrt())


def released_sqrt(value: Tensor) -> Tensor:
    """√max(0, v) without a guard, as released; infinite gradient at 0."""
    # Not clamp: recent versions of torch give it a zero gradient at the bound, which would hide the NaN.
    return torch.maximum(value, torch.zeros_like(value)).sqrt()


ROOT_FORMS: Mapping[str, Callable[[Tensor], Tensor]] = {"guarded": guarded_sqrt, "released": released_sqrt}
ROOTS: tuple[str, ...] = tuple(ROOT_FORMS)


def gaussian_kernels(x: Tensor, y: Tensor, sigmas: Sequence[float] = SIGMAS) -> Tensor:
    """exp(−‖x − y‖²/(2σ²)) of (N, F) and (M, F) for each of K sigmas in the features' unit, (K, N, M).

    Distances are computed from differences, not from ‖x‖² + ‖y‖² − 2⟨x, y⟩, which loses near points to rounding.
    """
    squared = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
    return torch.stack([torch.exp(squared * (-0.5 / sigma**2)) for sigma in sigmas])


def mk_mmd_loss(x: Tensor, y: Tensor, sigmas: Sequence[float] = SIGMAS, root: str = "guarded") -> Tensor:
    """MK-MMD of two samples (N, F) and (M, F), a scalar in [0, √2], in float32 or wider.

    ``root`` is ``guarded`` (gradient 0 if x and y are equal) or ``released`` (NaN then).

    Raises:
        ValueError: an empty sample, different widths, no kernel, or an unknown root.
    """
    check_samples(x, y, sigmas, root)
    x, y = widen(x), widen(y)
    within_x, within_y = gaussian_kernels(x, x, sigmas), gaussian_kernels(y, y, sigmas)
    between = gaussian_kernels(x, y, sigmas)
    squared = within_x.mean(dim=(1, 2)) + within_y.mean(dim=(1, 2)) - 2 * between.mean(dim=(1, 2))
    return ROOT_FORMS[root](squared).mean()


class ClassDiscrepancy(NamedTuple):
    """MK-MMD and presence on both sides per class, (C,); 0 for absent classes."""

    values: Tensor
    present: Tensor


def class_mk_mmd(
    x: Tensor,
    x_labels: Tensor,
    y: Tensor,
    y_labels: Tensor,
    classes: int,
    sigmas: Sequence[float] = SIGMAS,
    root: str = "guarded",
) -> ClassDiscrepancy:
    """MK-MMD of two samples class by class; one kernel matrix serves all, without device synchronisation.

    Labels are (N,) and (M,), indices below ``classes``; the rest and errors as in ``mk_mmd_loss``.
    """
    check_samples(x, y, sigmas, root)
    for name, features, labels in (("x", x, x_labels), ("y", y, y_labels)):
        if labels.shape != features.shape[:1]:
            raise ValueError(f"MK-MMD: {name} has {features.shape[0]} rows and labels of {tuple(labels.shape)}")
    x, y = widen(x), widen(y)
    weights_x, present_x = _class_weights(x_labels, classes, x.dtype)
    weights_y, present_y = _class_weights(y_labels, classes, y.dtype)
    present = present_x & present_y
    squared = (
        _class_means(gaussian_kernels(x, x, sigmas), weights_x, weights_x)
        + _class_means(gaussian_kernels(y, y, sigmas), weights_y, weights_y)
        - 2 * _class_means(gaussian_kernels(x, y, sigmas), weights_x, weights_y)
    )
    # An absent class must reach the root as a constant: the gradient of a masked NaN is NaN.
    values = ROOT_FORMS[root](torch.where(present, squared, 1.0)).mean(dim=0)
    return ClassDiscrepancy(torch.where(present, values, 0.0), present)


def _class_weights(labels: Tensor, classes: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    member = (labels[:, None] == torch.arange(classes, device=labels.device)).to(dtype)
    counts = member.sum(dim=0)
    return member / counts.clamp_min(1), counts > 0


def _class_means(kernels: Tensor, left: Tensor, right: Tensor) -> Tensor:
    with torch.autocast(kernels.device.type, enabled=False):
        return (left * (kernels @ right)).sum(dim=1)


def check_samples(x: Tensor, y: Tensor, sigmas: Sequence[float], root: str) -> None:
    """Reject samples for which MK-MMD is not defined (ValueError)."""
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"MK-MMD: samples must be (rows, width) of one width, got {tuple(x.shape)}, {tuple(y.shape)}")
    if x.shape[0] == 0 or y.shape[0] == 0:
        raise ValueError("MK-MMD: a sample is empty")
    if not sigmas or min(sigmas) <= 0:
        raise ValueError(f"MK-MMD: sigmas must be one or more numbers above 0, got {tuple(sigmas)}")
    check_choice("MK-MMD", "root", root, ROOTS)
