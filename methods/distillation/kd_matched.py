"""KD with NKD's loss scale: a control for the learning rate's effect."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.checks import check_positive
from methods.distillation.diagnostics import TEACHER_QUANTITIES
from methods.distillation.inputs import DistillationBatch, Objective, gradient_names
from methods.distillation.kd import kd_loss
from methods.distillation.logits import cross_entropy
from methods.distillation.nkd import nkd_loss
from methods.metadata import MethodMetadata, Uniform
from methods.precision import widen


def matching_scale(student: Tensor, teacher: Tensor, label: Tensor, temperature: float, gamma: float) -> Tensor:
    """Ratio of the norms of NKD's and KD's gradients on this batch.

    A scalar without gradient. Arguments as of ``nkd_loss``; the temperature is that of both.
    """
    with torch.enable_grad():
        logits = widen(student.detach()).requires_grad_()
        (theirs,) = torch.autograd.grad(nkd_loss(logits, teacher, label, temperature, gamma), logits)
        (ours,) = torch.autograd.grad(kd_loss(logits, teacher, temperature), logits)
    norm = torch.linalg.vector_norm(ours)
    # Where student and teacher agree to the last digit there is no direction to scale.
    tiny = torch.finfo(norm.dtype).eps
    return torch.where(norm > tiny, torch.linalg.vector_norm(theirs) / norm.clamp_min(tiny), 0.0).detach()


class MatchedKD(Objective):
    """Cross-entropy + s·T²·KD, s chosen per batch to match NKD's gradient.

    Under SGD a loss's scale acts as a learning rate: NKD on CIFAR-100 weighs its non-target term by γT² = 31.5, KD
    its term by 4.5. This arm keeps KD's direction and takes NKD's size.

    Args:
        temperature: T > 0 of KD and of the matching NKD.
        gamma: γ of that NKD.

    Raises:
        ValueError: a temperature not above 0.
    """

    name = "kd-matched"
    needs = ("teacher",)

    def __init__(self, *, temperature: float = 1.0, gamma: float = 1.5) -> None:
        super().__init__()
        check_positive("kd-matched", temperature=temperature)
        self.temperature, self.gamma = temperature, gamma

    def terms(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """``cross_entropy`` and ``distillation``."""
        student, teacher = batch.logits, batch.require("teacher_logits")
        scale = matching_scale(student, teacher, batch.labels, self.temperature, self.gamma)
        return {
            "cross_entropy": cross_entropy(student, batch.labels),
            "distillation": scale * kd_loss(student, teacher, self.temperature),
        }

    def probe(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """Non-target masses, their gap, the normalised KL, and the factor in use."""
        student, teacher = batch.logits, batch.require("teacher_logits")
        scale = matching_scale(student, teacher, batch.labels, self.temperature, self.gamma)
        return {**super().probe(batch), "matching_scale": scale}


METADATA = MethodMetadata(
    of=MatchedKD,
    title="KD at NKD's scale",
    paper="a control of this project; KD: Hinton, Vinyals, Dean 2015, arXiv 1503.02531",
    summary="KD whose gradient has, batch by batch, the norm of NKD's",
    search_space={"temperature": Uniform(1.0, 6.0), "gamma": Uniform(0.25, 8.0, log=True)},
    diagnostics=(*gradient_names("cross_entropy", "distillation"), *TEACHER_QUANTITIES, "matching_scale"),
)
