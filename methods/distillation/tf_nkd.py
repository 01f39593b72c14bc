"""tf-NKD: the teacher-free form of NKD in the preprint that preceded USKD."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from methods.cards import MethodCard, Uniform, defaults_of
from methods.distillation.inputs import DistillationBatch, Objective, gradient_names
from methods.distillation.logits import cross_entropy
from methods.distillation.uskd import USKDOptions, find_targets, target_labels, uskd_target_loss
from methods.precision import widen

LINEAR = USKDOptions(smoothing="linear")


def tf_nkd_loss(student: Tensor, label: Tensor) -> Tensor:
    """−mean Σ P·log softmax(z)[y] with P = s + v − mean s: USKD's target term with s in place of s².

    Yang et al. 2022 (arXiv 2208.10139), the teacher-free form. There is no non-target term.

    Args:
        student: logits (N, C), any floating type; computed in float32 or wider.
        label: indices (N,) or masses (N, C), of which the two heaviest classes count; the mean is per place.

    Returns:
        A scalar; P has no gradient.
    """
    return uskd_target_loss(student, find_targets(label, student), LINEAR)


class TfNKD(Objective):
    """Cross-entropy + alpha·``tf_nkd_loss``.

    Args:
        alpha: weight of the term; 1 in the preprint's code.
        ce_weight: weight of cross-entropy.
    """

    name: ClassVar[str] = "tf-nkd"

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
        probability = widen(batch.logits).softmax(dim=1).gather(1, targets.classes)
        present = target_labels(probability, targets.masses, "linear")[targets.masses > 0]
        return {"target_label_mean": present.mean(), "target_label_max": present.max(), **super().probe(batch)}


CARD = MethodCard(
    name="tf-nkd",
    title="tf-NKD",
    slot="objective",
    role="baseline",
    family="self-distillation",
    paper="Yang, Li, Gong, Zhang, Lao, Yuan, Li: Rethinking Knowledge Distillation via Cross-Entropy, 2022, "
    "arXiv 2208.10139",
    target="TfNKD",
    summary="the target class again, weighted by the student's own probability; the preprint's self-distillation",
    defaults=defaults_of(TfNKD),
    search_space={"alpha": Uniform(0.05, 2.0, log=True)},
    diagnostics=(
        *gradient_names("cross_entropy", "target"),
        "target_label_mean",
        "target_label_max",
        "student_non_target_mass",
    ),
)
