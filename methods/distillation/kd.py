"""KD: knowledge distillation by softened probabilities."""

from __future__ import annotations

from torch import Tensor

from methods.checks import check_positive
from methods.distillation.diagnostics import TEACHER_QUANTITIES
from methods.distillation.inputs import DistillationBatch, Objective, gradient_names
from methods.distillation.logits import cross_entropy
from methods.metadata import MethodMetadata, Uniform
from methods.precision import widen


def kd_rows(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Cross-entropies of softened student and teacher, (N,); arguments as ``kd_loss``."""
    soft = (widen(teacher.detach()) / temperature).softmax(dim=1)
    return -(soft * (widen(student) / temperature).log_softmax(dim=1)).sum(dim=1)


def kd_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T²·mean CE(softmax(z_t/T), softmax(z_s/T)); Hinton, Vinyals, Dean 2015 (arXiv 1503.02531), section 2.

    A scalar. The KL divergence differs from it by the teacher's entropy, which has no gradient.

    Args:
        student: logits (N, C), any floating type; computed in float32 or wider.
        teacher: logits (N, C), without gradient.
        temperature: T > 0.
    """
    return temperature**2 * kd_rows(student, teacher, temperature).mean()


class KD(Objective):
    """ce_weight·cross-entropy + alpha·T²·CE of the softened outputs.

    The released baseline of the NKD repository weighs cross-entropy by 1 − alpha, the default here. NKD, DKD and WSLD
    keep it at 1, which ``ce_weight=1`` matches. The CRD pairs (mdistiller) use T 4, alpha 0.9. ``alpha`` = γ of NKD
    with ``ce_weight=1`` gives the distillation term NKD's weight (3.5·T² = 31.5 for CIFAR-100 instead of 4.5).

    Args:
        temperature: T > 0.
        alpha: weight of the distillation term, at least 0.
        ce_weight: weight of cross-entropy; None: 1 − alpha.

    Raises:
        ValueError: a temperature not above 0, a negative weight (also by 1 − alpha).
    """

    name = "kd"
    needs = ("teacher",)

    def __init__(self, *, temperature: float = 1.0, alpha: float = 0.5, ce_weight: float | None = None) -> None:
        super().__init__()
        check_positive("kd", temperature=temperature)
        weight = 1 - alpha if ce_weight is None else ce_weight
        if alpha < 0 or weight < 0:
            raise ValueError(
                f"kd: weights must be at least 0, got alpha {alpha} and {weight} for cross-entropy; "
                "for alpha above 1 set ce_weight"
            )
        self.temperature, self.alpha, self.ce_weight = temperature, alpha, weight

    def terms(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """``cross_entropy`` and ``distillation``."""
        return {
            "cross_entropy": self.ce_weight * cross_entropy(batch.logits, batch.labels),
            "distillation": self.alpha * kd_loss(batch.logits, batch.require("teacher_logits"), self.temperature),
        }


METADATA = MethodMetadata(
    of=KD,
    title="KD",
    paper="Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015, arXiv 1503.02531",
    summary="cross-entropy with the teacher's softened probabilities, beside the labels",
    search_space={"temperature": Uniform(1.0, 8.0), "alpha": Uniform(0.1, 0.95)},
    diagnostics=(*gradient_names("cross_entropy", "distillation"), *TEACHER_QUANTITIES),
)
