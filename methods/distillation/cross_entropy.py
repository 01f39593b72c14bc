"""Cross-entropy, the baseline of every objective here."""

from __future__ import annotations

from torch import Tensor

from methods.distillation.inputs import DistillationBatch, Objective, gradient_names
from methods.distillation.logits import cross_entropy
from methods.metadata import MethodMetadata


class CrossEntropy(Objective):
    """Mean cross-entropy with labels or class masses.

    −log softmax(z)[y], or −Σ v·log softmax(z) for mixed labels with masses v.
    """

    name = "cross-entropy"

    def terms(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """``cross_entropy``."""
        return {"cross_entropy": cross_entropy(batch.logits, batch.labels)}


METADATA = MethodMetadata(
    of=CrossEntropy,
    title="cross-entropy",
    paper="the usual classification loss",
    summary="cross-entropy with the labels; no teacher, no smoothing",
    diagnostics=(*gradient_names("cross_entropy"), "student_non_target_mass"),
)
