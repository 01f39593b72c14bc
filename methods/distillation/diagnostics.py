"""Diagnostics of distillation losses on one batch of logits."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.distillation.logits import is_target, others_log_softmax, target_index, target_log_odds
from methods.precision import widen

TEACHER_QUANTITIES = ("teacher_non_target_mass", "student_non_target_mass", "non_target_mass_gap", "normalised_kl")
"""Names of the quantities in ``teacher_quantities``."""


def non_target_mass(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean probability outside the target class at temperature 1, exact near 0.

    Args:
        logits: (N, C).
        labels: indices (N,) or masses (N, C).
    """
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
    """Spearman's correlation of two scores over the kept classes, (N,).

    Args:
        first: (N, C).
        second: (N, C).
        dropped: (N, C), true for classes to omit; the same number in each row. Ties are broken by index.
    """
    kept = int((~dropped[0]).sum())
    ranks = []
    for scores in (first, second):
        order = scores.masked_fill(dropped, -torch.inf).argsort(dim=1, descending=True, stable=True)
        places = torch.arange(scores.shape[1], device=scores.device).expand_as(order)
        ranks.append(torch.zeros_like(order).scatter_(1, order, places).float())
    squared = ((ranks[0] - ranks[1]) ** 2).masked_fill(dropped, 0.0).sum(dim=1)
    return 1 - 6 * squared / max(1, kept * (kept**2 - 1))
