"""Cross-entropy: what every objective here is compared with."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from methods.cards import MethodCard
from methods.distillation.inputs import DistillationBatch, Objective, gradient_names
from methods.distillation.logits import cross_entropy


class CrossEntropy(Objective):
    """Mean −log softmax(z)[y], or −Σ v·log softmax(z) for mixed labels with masses v."""

    name: ClassVar[str] = "cross-entropy"

    def terms(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """``cross_entropy``."""
        return {"cross_entropy": cross_entropy(batch.logits, batch.labels)}


CARD = MethodCard(
    name="cross-entropy",
    title="cross-entropy",
    slot="objective",
    role="baseline",
    family="distillation",
    paper="the usual classification loss",
    target="CrossEntropy",
    summary="cross-entropy with the labels; no teacher, no smoothing",
    diagnostics=(*gradient_names("cross_entropy"), "student_non_target_mass"),
)
