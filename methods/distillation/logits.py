"""Numerics of logits, exact where probabilities round, and quantities of a batch.

1 − p[y] is never formed by subtraction: it is the mass of the other classes, taken by logsumexp over them.

All losses here take ``student`` and ``teacher`` logits (N, C) of any floating type, computed in float32 or wider, the
teacher's without gradient; ``label``: indices (N,) or masses (N, C), of which the heaviest class is the target (two in
USKD); and a ``temperature`` T > 0. Constructors reject options out of range (ValueError).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.precision import widen

TEACHER_QUANTITIES = ("teacher_non_target_mass", "student_non_target_mass", "non_target_mass_gap", "normalised_kl")
"""Names of the quantities in ``teacher_quantities``."""


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
    """Log-softmax over the classes that stay, at least one a row; 0 at the dropped ones (N, C)."""
    return logits.masked_fill(dropped, -torch.inf).log_softmax(dim=1).masked_fill(dropped, 0.0)


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, reduction: str = "mean") -> Tensor:
    """Cross-entropy with indices (N,) or masses (N, C), in float32 or wider."""
    wide = widen(logits)
    labels = labels if labels.ndim == 1 else labels.to(wide.dtype)
    return F.cross_entropy(wide, labels, label_smoothing=label_smoothing, reduction=reduction)


def class_masses(labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Labels as masses (N, C): one-hot for indices."""
    return F.one_hot(labels, classes).to(dtype) if labels.ndim == 1 else labels.to(dtype)


def non_target_mass(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean probability outside the target class at temperature 1, exact near 0."""
    return torch.sigmoid(-target_log_odds(widen(logits), target_index(labels))).mean()


def normalised_kl(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Mean KL(teacher‖student) over normalised non-target classes, in nats."""
    dropped = is_target(student, target_index(labels))
    log_s, log_t = others_log_softmax(widen(student), dropped), others_log_softmax(widen(teacher), dropped)
    return (log_t.exp().masked_fill(dropped, 0.0) * (log_t - log_s)).sum(dim=1).mean()


def teacher_quantities(student: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Non-target masses of teacher and student, their difference and normalised KL.

    The NKD paper argues by the difference (mean absolute): the sums of the non-target logits differ, so the student's
    cannot become identical to the teacher's (arXiv 2303.13005, section 3.1).
    """
    target = target_index(labels)
    mass_s = torch.sigmoid(-target_log_odds(widen(student), target))
    mass_t = torch.sigmoid(-target_log_odds(widen(teacher), target))
    return {
        "teacher_non_target_mass": mass_t.mean(),
        "student_non_target_mass": mass_s.mean(),
        "non_target_mass_gap": (mass_t - mass_s).abs().mean(),
        "normalised_kl": normalised_kl(student, teacher, labels),
    }


def spearman(first: Tensor, second: Tensor, dropped: Tensor) -> Tensor:
    """Spearman's correlation of two scores (N, C) without ``dropped`` classes, (N,); ties by index."""
    kept = int((~dropped[0]).sum())
    ranks = []
    for scores in (first, second):
        order = scores.masked_fill(dropped, -torch.inf).argsort(dim=1, descending=True, stable=True)
        places = torch.arange(scores.shape[1], device=scores.device).expand_as(order)
        ranks.append(torch.zeros_like(order).scatter_(1, order, places).float())
    squared = ((ranks[0] - ranks[1]) ** 2).masked_fill(dropped, 0.0).sum(dim=1)
    return 1 - 6 * squared / max(1, kept * (kept**2 - 1))
