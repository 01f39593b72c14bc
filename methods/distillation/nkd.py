"""NKD: knowledge distillation with normalised non-target probabilities, and KD at its scale."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.checks import check_choice, check_positive
from methods.distillation.inputs import DistillationBatch, Objective, gradient_names
from methods.distillation.kd import kd_loss
from methods.distillation.logits import (
    TEACHER_QUANTITIES,
    cross_entropy,
    is_target,
    others_log_softmax,
    target_index,
    target_log_odds,
)
from methods.losses import Loss
from methods.metadata import MethodMetadata, Uniform
from methods.precision import widen

MASKS: tuple[str, ...] = ("others", "all")


def nkd_target_loss(student: Tensor, teacher: Tensor, label: Tensor) -> Tensor:
    """NKD's target term −mean p_t[y]·log p_s[y] at temperature 1, a scalar (section 3.1)."""
    target = target_index(label)
    weight = torch.sigmoid(target_log_odds(widen(teacher.detach()), target))
    return -(weight * F.logsigmoid(target_log_odds(widen(student), target))).mean()


def nkd_non_target_loss(
    student: Tensor, teacher: Tensor, label: Tensor, temperature: float = 1.0, normalise: bool = True
) -> Tensor:
    """NKD's non-target term −T²·mean Σ_{i≠y} T_i·log S_i without γ, a scalar (section 3.1).

    With ``normalise`` T and S sum to one over the other classes (NKD), otherwise they are the parts of the softmax over
    all classes (as in KD; the ablation of the paper's Table 5).
    """
    student, teacher = widen(student) / temperature, widen(teacher.detach()) / temperature
    dropped = is_target(student, target_index(label))
    if normalise:
        log_s, soft = others_log_softmax(student, dropped), others_log_softmax(teacher, dropped).exp()
    else:
        log_s, soft = student.log_softmax(dim=1), teacher.softmax(dim=1)
    return -(temperature**2) * (soft.masked_fill(dropped, 0.0) * log_s).sum(dim=1).mean()


def nkd_loss(
    student: Tensor, teacher: Tensor, label: Tensor, temperature: float = 1.0, gamma: float = 1.5, alpha: float = 1.0
) -> Tensor:
    """NKD without cross-entropy, a scalar; its fused backward is differentiable again in eager mode."""
    target = target_index(label)
    total, _, _ = _FusedNKD.apply(widen(student), widen(teacher.detach()), target, temperature, gamma, alpha)
    return total


def _undo(softened: Tensor, below: Tensor, temperature: float) -> Tensor:
    return softened ** int(temperature) if temperature in (2, 3, 4) else below.exp()


class _FusedNKD(torch.autograd.Function):
    """Loss and gradient from the same exponentials.

    ∂/∂z is a sum of softmaxes. With S, T the softened distributions over the others and p the student's softmax,
    N·∂L/∂z_i = γ·T·(S_i − T_i) + α·p_t[y]·p_i for i ≠ y and −α·p_t[y]·(1 − p[y]) for i = y.
    """

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, target: Tensor, temperature: float, gamma: float, alpha: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        # One copy with −∞ at the target is cheaper than a comparison of indices in every later pass.
        place, count, cooling = target[:, None], student.shape[0], 1 / temperature
        others_s, others_t = student.scatter(1, place, -torch.inf), teacher.scatter(1, place, -torch.inf)
        top_s, top_t = others_s.amax(dim=1, keepdim=True), others_t.amax(dim=1, keepdim=True)
        below_s, below_t = others_s - top_s, others_t - top_t
        soft_s, soft_t = (below_s * cooling).exp(), (below_t * cooling).exp()
        sum_s, sum_t = soft_s.sum(dim=1, keepdim=True), soft_t.sum(dim=1, keepdim=True)
        # Written from the largest logit down, so that a common offset of the logits costs no digits.
        rows = sum_s.log() - (soft_t * (student - top_s)).sum(dim=1, keepdim=True) * cooling / sum_t
        if temperature == 1:
            plain_s, mass_s, mass_t = soft_s, sum_s, sum_t
        else:
            plain_s, plain_t = _undo(soft_s, below_s, temperature), _undo(soft_t, below_t, temperature)
            mass_s, mass_t = plain_s.sum(dim=1, keepdim=True), plain_t.sum(dim=1, keepdim=True)
        odds_s = student.gather(1, place) - top_s - mass_s.log()
        weight = alpha * torch.sigmoid(teacher.gather(1, place) - top_t - mass_t.log())
        target_term, non_target_term = -(weight * F.logsigmoid(odds_s)).mean(), gamma * temperature**2 * rows.mean()

        pull, pressure = weight * torch.sigmoid(-odds_s) / count, gamma * temperature / count
        if temperature == 1:
            gradient = soft_s * ((pull + pressure) / sum_s) - soft_t * (pressure / sum_t)
        else:
            gradient = plain_s * (pull / mass_s) + soft_s * (pressure / sum_s) - soft_t * (pressure / sum_t)
        gradient = gradient.scatter(1, place, -pull)
        ctx.save_for_backward(gradient, student, teacher, target)
        ctx.settings = temperature, gamma, alpha
        ctx.mark_non_differentiable(target_term, non_target_term)
        return target_term + non_target_term, target_term, non_target_term

    @staticmethod
    def backward(ctx: Any, outer: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        gradient, student, teacher, target = ctx.saved_tensors
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            # create_graph=True requests second derivatives, which the saved numbers do not have
            temperature, gamma, alpha = ctx.settings
            loss = alpha * nkd_target_loss(student, teacher, target)
            loss = loss + gamma * nkd_non_target_loss(student, teacher, target, temperature)
            (gradient,) = torch.autograd.grad(loss, student, create_graph=True)
        return outer * gradient, None, None, None, None, None


class NKD(Objective):
    """Cross-entropy − alpha·p_t[y]·log p_s[y] − gamma·T²·Σ_{i≠y} N(T_i)·log N(S_i).

    Released recipes: T 1, γ 1.5 (ImageNet; γ 1.0 for the DeiT pairs), T 3, γ 3.5 (CIFAR-100).

    Args:
        temperature: T > 0 of the non-target term; the target term has none.
        gamma: weight of the non-target term; 0 leaves the target term alone.
        alpha: weight of the target term; 0 leaves the non-target term alone (DKD's NCKD at weight γ).
        ce_weight: weight of cross-entropy.
        normalise: False compares the parts of the full softmax, as KD does.
        mask: ``others`` as the paper; ``all`` runs the non-target term over every class, plain KD cross-entropy, as
            the released code did from 2023-07-17 to 2023-10-10.
    """

    name = "nkd"
    needs = ("teacher",)

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        gamma: float = 1.5,
        alpha: float = 1.0,
        ce_weight: float = 1.0,
        normalise: bool = True,
        mask: str = "others",
    ) -> None:
        super().__init__()
        check_positive("nkd", temperature=temperature)
        check_choice("nkd", "mask", mask, MASKS)
        self.temperature, self.gamma, self.alpha, self.ce_weight = temperature, gamma, alpha, ce_weight
        self.normalise, self.mask = normalise, mask

    def losses(self, batch: DistillationBatch) -> Loss:
        """Take one fused pass if nothing is ablated, otherwise sum the ``terms``."""
        if not self.normalise or self.mask == "all":
            return super().losses(batch)
        plain = self.ce_weight * cross_entropy(batch.logits, batch.labels)
        student, teacher = widen(batch.logits), widen(batch.require("teacher_logits").detach())
        settings = (self.temperature, self.gamma, self.alpha)
        distilled, target, non_target = _FusedNKD.apply(student, teacher, target_index(batch.labels), *settings)
        return Loss(plain + distilled, {"cross_entropy": plain.detach(), "target": target, "non_target": non_target})

    def terms(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """``cross_entropy``, ``target``, ``non_target``."""
        student, teacher, labels = batch.logits, batch.require("teacher_logits"), batch.labels
        if self.mask == "all":
            non_target = kd_loss(student, teacher, self.temperature)
        else:
            non_target = nkd_non_target_loss(student, teacher, labels, self.temperature, self.normalise)
        return {
            "cross_entropy": self.ce_weight * cross_entropy(student, labels),
            "target": self.alpha * nkd_target_loss(student, teacher, labels),
            "non_target": self.gamma * non_target,
        }


def matching_scale(student: Tensor, teacher: Tensor, label: Tensor, temperature: float, gamma: float) -> Tensor:
    """Ratio of NKD's to KD's gradient norm on this batch, without gradient."""
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
    its term by 4.5. This arm keeps KD's direction and takes the size of NKD's gradient at the same T and ``gamma``.
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


METADATA = (
    MethodMetadata(
        of=NKD,
        title="NKD",
        role="method",
        paper="Yang, Zeng, Li, Zhang, Yuan, Li: From Knowledge Distillation to Self-Knowledge Distillation: A Unified "
        "Approach with Normalized Loss and Customized Soft Labels, ICCV 2023, arXiv 2303.13005",
        summary="the teacher's target probability, and its other classes made to sum to one, distilled separately",
        options={"normalise": (True, False), "mask": MASKS},
        search_space={"temperature": Uniform(1.0, 6.0), "gamma": Uniform(0.25, 8.0, log=True)},
        diagnostics=(*gradient_names("cross_entropy", "target", "non_target"), *TEACHER_QUANTITIES),
    ),
    MethodMetadata(
        of=MatchedKD,
        title="KD at NKD's scale",
        paper="a control of this project; KD: Hinton, Vinyals, Dean 2015, arXiv 1503.02531",
        summary="KD whose gradient has, batch by batch, the norm of NKD's",
        search_space={"temperature": Uniform(1.0, 6.0), "gamma": Uniform(0.25, 8.0, log=True)},
        diagnostics=(*gradient_names("cross_entropy", "distillation"), *TEACHER_QUANTITIES, "matching_scale"),
    ),
)
