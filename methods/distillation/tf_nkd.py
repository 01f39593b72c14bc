"""tf-NKD: the teacher-free form of NKD in the preprint that preceded USKD."""

from __future__ import annotations

from torch import Tensor

from methods.distillation.inputs import DistillationBatch, Objective, gradient_names
from methods.distillation.logits import cross_entropy
from methods.distillation.uskd import (
    TARGET_LABEL_QUANTITIES,
    USKDOptions,
    find_targets,
    target_label_quantities,
    uskd_target_loss,
)
from methods.metadata import MethodMetadata, Uniform

LINEAR = USKDOptions(smoothing="linear")


def tf_nkd_loss(student: Tensor, label: Tensor) -> Tensor:
    """USKD's target term −mean Σ P·log softmax(z)[y] with s for s².

    A scalar with P = s + v − mean s, which has no gradient; there is no non-target term. Yang et al. 2022
    (arXiv 2208.10139), the teacher-free form.

    Args:
        student: logits (N, C), any floating type; computed in float32 or wider.
        label: indices (N,) or masses (N, C), of which the two heaviest classes count; the mean is per place.
    """
    return uskd_target_loss(student, find_targets(label, student), LINEAR)


class TfNKD(Objective):
    """Cross-entropy + alpha·``tf_nkd_loss``.

    Args:
        alpha: weight of the term; 1 in the preprint's code.
        ce_weight: weight of cross-entropy.
    """

    name = "tf-nkd"

    def __init__(self, *, alpha: float = 1.0, ce_weight: float = 1.0) -> None:
        super().__init__()
        self.alpha, self.ce_weight = alpha, ce_weight

    def terms(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """``cross_entropy`` and ``target``."""
        return {
            "cross_entropy": self.ce_weight * cross_entropy(batch.logits, batch.labels),
            "target": self.alpha * tf_nkd_loss(batch.logits, batch.labels),
        }

    def probe(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """Mean and largest P, and the student's non-target mass."""
        targets = find_targets(batch.labels, batch.logits)
        return {**target_label_quantities(batch.logits, targets, LINEAR), **super().probe(batch)}


METADATA = MethodMetadata(
    of=TfNKD,
    title="tf-NKD",
    family="self-distillation",
    paper="Yang, Li, Gong, Zhang, Lao, Yuan, Li: Rethinking Knowledge Distillation via Cross-Entropy, 2022, "
    "arXiv 2208.10139",
    summary="the target class again, weighted by the student's own probability; the preprint's self-distillation",
    search_space={"alpha": Uniform(0.05, 2.0, log=True)},
    diagnostics=(*gradient_names("cross_entropy", "target"), *TARGET_LABEL_QUANTITIES, "student_non_target_mass"),
)
