"""CS-KD: class-wise self-distillation between two items of one class."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.checks import check_positive
from methods.distillation.inputs import DistillationBatch, Objective, gradient_names
from methods.distillation.kd import kd_rows
from methods.distillation.logits import cross_entropy, target_index
from methods.metadata import MethodMetadata, Uniform
from methods.precision import widen


def partners(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Next item of the same class, cyclically, and a mask of success."""
    place = torch.arange(labels.shape[0], device=labels.device)
    steps = (place[None, :] - place[:, None]) % labels.shape[0]
    none = labels.shape[0] + 1
    steps = steps.masked_fill((labels[:, None] != labels[None, :]) | (steps == 0), none)
    nearest, partner = steps.min(dim=1)
    return partner, nearest < none


def cs_kd_loss(student: Tensor, label: Tensor, temperature: float = 4.0) -> Tensor:
    """T²·mean KL(softmax(z'/T)‖softmax(z/T)), z' another item of the class, without gradient; a scalar.

    Yun et al. 2020 (arXiv 2003.13964), the class-wise regularisation. The released sampler draws the pairs; here they
    are the pairs that the batch contains, and the mean runs over items with a partner (0 without any).

    Args:
        student: logits (N, C), any floating type; computed in float32 or wider.
        label: indices (N,) or masses (N, C), of which the heaviest class counts.
        temperature: T > 0.
    """
    partner, paired = partners(target_index(label))
    other = widen(student.detach())[partner] / temperature
    entropy = -(other.softmax(dim=1) * other.log_softmax(dim=1)).sum(dim=1)
    rows = kd_rows(student, student.detach()[partner], temperature) - entropy
    return temperature**2 * torch.where(paired, rows, 0.0).sum() / paired.sum().clamp_min(1)


class CSKD(Objective):
    """Cross-entropy + weight·``cs_kd_loss``; needs batches in which classes repeat.

    Args:
        temperature: T > 0.
        weight: of the self-distillation term.

    Raises:
        ValueError: a temperature not above 0.
    """

    name = "cs-kd"

    def __init__(self, *, temperature: float = 4.0, weight: float = 1.0) -> None:
        super().__init__()
        check_positive("cs-kd", temperature=temperature)
        self.temperature, self.weight = temperature, weight

    def terms(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """``cross_entropy`` and ``distillation``."""
        return {
            "cross_entropy": cross_entropy(batch.logits, batch.labels),
            "distillation": self.weight * cs_kd_loss(batch.logits, batch.labels, self.temperature),
        }

    def probe(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """The student's non-target mass, and the share of paired items."""
        return {**super().probe(batch), "paired_share": partners(target_index(batch.labels))[1].float().mean()}


METADATA = MethodMetadata(
    of=CSKD,
    title="CS-KD",
    family="self-distillation",
    paper="Yun, Park, Lee, Shin: Regularizing Class-wise Predictions via Self-knowledge Distillation, CVPR 2020, "
    "arXiv 2003.13964",
    summary="predictions of two items of one class drawn together",
    search_space={"temperature": Uniform(1.0, 8.0), "weight": Uniform(0.5, 4.0, log=True)},
    diagnostics=(*gradient_names("cross_entropy", "distillation"), "student_non_target_mass", "paired_share"),
)
