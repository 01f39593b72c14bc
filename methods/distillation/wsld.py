"""WSLD: weighted soft label distillation."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.checks import check_positive
from methods.distillation.diagnostics import TEACHER_QUANTITIES
from methods.distillation.inputs import DistillationBatch, Objective, gradient_names
from methods.distillation.kd import kd_rows
from methods.distillation.logits import cross_entropy
from methods.metadata import MethodMetadata, Uniform


def wsld_weights(student: Tensor, teacher: Tensor, label: Tensor) -> Tensor:
    """1 − exp(−CE_s/CE_t), item by item, (N,), without gradient.

    Zhou et al. 2021 (arXiv 2102.00650), weighted soft labels; cross-entropies at temperature 1. The weight is near 1
    if the teacher fits an item better than the student, and near 0 if the student fits it better.
    """
    with torch.no_grad():
        ce_s = cross_entropy(student, label, reduction="none")
        ce_t = cross_entropy(teacher, label, reduction="none")
        return -torch.expm1(-(ce_s / (ce_t + 1e-7)).clamp_min(0))


def wsld_loss(student: Tensor, teacher: Tensor, label: Tensor, temperature: float = 2.0, alpha: float = 2.5) -> Tensor:
    """T²·alpha·mean of the weighted KD rows, a scalar.

    Args:
        student: logits (N, C), any floating type; computed in float32 or wider.
        teacher: logits (N, C), without gradient.
        label: indices (N,) or masses (N, C).
        temperature: T > 0 of the KD rows.
        alpha: weight of the term.
    """
    rows = kd_rows(student, teacher, temperature)
    return temperature**2 * alpha * (wsld_weights(student, teacher, label) * rows).mean()


class WSLD(Objective):
    """Cross-entropy + T²·alpha·mean[(1 − exp(−CE_s/CE_t))·KD row].

    T 2, alpha 2.5 (ImageNet) or 4, 2.25 (CIFAR-100).

    Args:
        temperature: T > 0.
        alpha: weight of the distillation term.
        ce_weight: weight of cross-entropy.

    Raises:
        ValueError: a temperature not above 0.
    """

    name = "wsld"
    needs = ("teacher",)

    def __init__(self, *, temperature: float = 2.0, alpha: float = 2.5, ce_weight: float = 1.0) -> None:
        super().__init__()
        check_positive("wsld", temperature=temperature)
        self.temperature, self.alpha, self.ce_weight = temperature, alpha, ce_weight

    def terms(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """``cross_entropy`` and ``distillation``."""
        inputs = (batch.logits, batch.require("teacher_logits"), batch.labels)
        return {
            "cross_entropy": self.ce_weight * cross_entropy(batch.logits, batch.labels),
            "distillation": wsld_loss(*inputs, self.temperature, self.alpha),
        }

    def probe(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """Non-target masses, their gap, normalised KL, and mean item weight."""
        weights = wsld_weights(batch.logits, batch.require("teacher_logits"), batch.labels)
        return {**super().probe(batch), "item_weight": weights.mean()}


METADATA = MethodMetadata(
    of=WSLD,
    title="WSLD",
    paper="Zhou, Song, Chen, Zhou, Wang, Yuan, Zhang: Rethinking Soft Labels for Knowledge Distillation: A "
    "Bias-Variance Tradeoff Perspective, ICLR 2021, arXiv 2102.00650",
    summary="KD whose items weigh less where the student already fits the label better than the teacher",
    search_space={"temperature": Uniform(1.0, 8.0), "alpha": Uniform(0.5, 4.0, log=True)},
    diagnostics=(*gradient_names("cross_entropy", "distillation"), *TEACHER_QUANTITIES, "item_weight"),
)
