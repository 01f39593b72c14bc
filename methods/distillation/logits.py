"""Numerics of logits, exact where a probability rounds to 0 or 1.

1 − p[y] is never formed by subtraction: it is the mass of the other classes, taken by logsumexp over them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.precision import widen


def target_index(labels: Tensor) -> Tensor:
    """The target class (N,); for masses the heaviest, lowest index first."""
    return labels if labels.ndim == 1 else labels.argmax(dim=1)


def pick(values: Tensor, target: Tensor) -> Tensor:
    """``values[n, target[n]]``, (N,)."""
    return values.gather(1, target[:, None]).squeeze(1)


def is_target(logits: Tensor, target: Tensor) -> Tensor:
    """True at each row's target, (N, C)."""
    return torch.arange(logits.shape[1], device=logits.device) == target[:, None]


def others_logsumexp(logits: Tensor, target: Tensor) -> Tensor:
    """log Σ exp over all classes but the target, (N,)."""
    return logits.masked_fill(is_target(logits, target), -torch.inf).logsumexp(dim=1)


def target_log_odds(logits: Tensor, target: Tensor) -> Tensor:
    """log(p[y] / (1 − p[y])), (N,): the inverse sigmoid of p[y]."""
    return pick(logits, target) - others_logsumexp(logits, target)


def others_log_softmax(logits: Tensor, dropped: Tensor) -> Tensor:
    """Log-softmax over the classes that stay; 0 at the dropped ones.

    Args:
        logits: (N, C).
        dropped: (N, C), true for classes to leave out; at least one a row must stay.
    """
    return logits.masked_fill(dropped, -torch.inf).log_softmax(dim=1).masked_fill(dropped, 0.0)


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, reduction: str = "mean") -> Tensor:
    """Cross-entropy with indices (N,) or masses (N, C), in float32 or wider."""
    wide = widen(logits)
    labels = labels if labels.ndim == 1 else labels.to(wide.dtype)
    return F.cross_entropy(wide, labels, label_smoothing=label_smoothing, reduction=reduction)


def class_masses(labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Labels as masses (N, C): one-hot for indices."""
    return F.one_hot(labels, classes).to(dtype) if labels.ndim == 1 else labels.to(dtype)
