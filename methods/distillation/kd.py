"""KD and its variants on logits: WSLD and DKD."""

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.checks import check_positive
from methods.distillation.inputs import DistillationBatch, Objective, gradient_names
from methods.distillation.logits import TEACHER_QUANTITIES, cross_entropy, normalised_kl, target_index, target_log_odds
from methods.metadata import MethodMetadata, Uniform
from methods.precision import widen


def kd_rows(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Cross-entropies of softened student and teacher, (N,); arguments as ``kd_loss``."""
    soft = (widen(teacher.detach()) / temperature).softmax(dim=1)
    return -(soft * (widen(student) / temperature).log_softmax(dim=1)).sum(dim=1)


def kd_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T²·mean CE(softmax(z_t/T), softmax(z_s/T)), a scalar; Hinton et al. 2015 (arXiv 1503.02531), section 2.

    The KL divergence differs from it by the teacher's entropy, which has no gradient.
    """
    return temperature**2 * kd_rows(student, teacher, temperature).mean()


class KD(Objective):
    """ce_weight·cross-entropy + alpha·T²·CE of the softened outputs.

    The released baseline of the NKD repository weighs cross-entropy by 1 − alpha, the default here. NKD, DKD and WSLD
    keep it at 1, which ``ce_weight=1`` matches. The CRD pairs (mdistiller) use T 4, alpha 0.9. ``alpha`` = γ of NKD
    with ``ce_weight=1`` gives the distillation term NKD's weight (3.5·T² = 31.5 for CIFAR-100 instead of 4.5).
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
    """T²·alpha·mean of the weighted KD rows, a scalar."""
    rows = kd_rows(student, teacher, temperature)
    return temperature**2 * alpha * (wsld_weights(student, teacher, label) * rows).mean()


class WSLD(Objective):
    """Cross-entropy + T²·alpha·mean[(1 − exp(−CE_s/CE_t))·KD row].

    T 2, alpha 2.5 (ImageNet) or 4, 2.25 (CIFAR-100).
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


def tckd_loss(student: Tensor, teacher: Tensor, label: Tensor, temperature: float = 1.0) -> Tensor:
    """DKD's target term: T²·mean KL of the distributions (target, rest), a scalar.

    Zhao et al. 2022 (arXiv 2203.08679), the term TCKD. Both log-probabilities come from the log-odds, so neither is
    ever log 0.
    """
    target = target_index(label)
    odds_s = target_log_odds(widen(student) / temperature, target)
    odds_t = target_log_odds(widen(teacher.detach()) / temperature, target)
    inside = torch.sigmoid(odds_t) * (F.logsigmoid(odds_t) - F.logsigmoid(odds_s))
    outside = torch.sigmoid(-odds_t) * (F.logsigmoid(-odds_t) - F.logsigmoid(-odds_s))
    return temperature**2 * (inside + outside).mean()


def nckd_loss(student: Tensor, teacher: Tensor, label: Tensor, temperature: float = 1.0) -> Tensor:
    """DKD's non-target term T²·``normalised_kl``, a scalar, without the target (released: its logit minus 1000)."""
    return temperature**2 * normalised_kl(widen(student) / temperature, widen(teacher.detach()) / temperature, label)


def dkd_loss(
    student: Tensor, teacher: Tensor, label: Tensor, temperature: float = 1.0, alpha: float = 1.0, beta: float = 0.5
) -> Tensor:
    """alpha·``tckd_loss`` + beta·``nckd_loss``, a scalar."""
    target = tckd_loss(student, teacher, label, temperature)
    return alpha * target + beta * nckd_loss(student, teacher, label, temperature)


class DKD(Objective):
    """Cross-entropy + warm-up·(alpha·target term + beta·non-target term), both T²·KL.

    The warm-up rises linearly to 1 over epochs, as mdistiller does for the CRD pairs (20 of 240 epochs), or over a
    share of the training. alpha 0 leaves NCKD alone.

    Args:
        temperature, alpha, beta: as of ``dkd_loss``.
        ce_weight: weight of cross-entropy.
        warmup_epochs: epoch number (from 1) at which the weight reaches 1; 0: no warm-up by epochs.
        warmup_fraction: share of the training after which it does; 0: none. At most one of the two may be set.
    """

    name = "dkd"
    needs = ("teacher",)

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        alpha: float = 1.0,
        beta: float = 0.5,
        ce_weight: float = 1.0,
        warmup_epochs: int = 0,
        warmup_fraction: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive("dkd", temperature=temperature)
        if warmup_epochs < 0 or not 0 <= warmup_fraction <= 1 or (warmup_epochs and warmup_fraction):
            raise ValueError(
                "dkd: set warmup_epochs (0 or more) or warmup_fraction (in [0, 1]), not both; "
                f"got {warmup_epochs} and {warmup_fraction}"
            )
        self.temperature, self.alpha, self.beta, self.ce_weight = temperature, alpha, beta, ce_weight
        self.warmup_epochs, self.warmup_fraction = warmup_epochs, warmup_fraction

    def warmup(self, batch: DistillationBatch) -> float:
        """Weight of the distillation terms at this point, in [0, 1]."""
        if self.warmup_epochs:
            return min(1.0, batch.epoch / self.warmup_epochs)
        return min(1.0, batch.progress / self.warmup_fraction) if self.warmup_fraction else 1.0

    def terms(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """``cross_entropy``, ``target``, ``non_target``."""
        weight = self.warmup(batch)
        inputs = (batch.logits, batch.require("teacher_logits"), batch.labels, self.temperature)
        return {
            "cross_entropy": self.ce_weight * cross_entropy(batch.logits, batch.labels),
            "target": weight * self.alpha * tckd_loss(*inputs),
            "non_target": weight * self.beta * nckd_loss(*inputs),
        }


METADATA = (
    MethodMetadata(
        of=KD,
        title="KD",
        paper="Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015, arXiv 1503.02531",
        summary="cross-entropy with the teacher's softened probabilities, beside the labels",
        search_space={"temperature": Uniform(1.0, 8.0), "alpha": Uniform(0.1, 0.95)},
        diagnostics=(*gradient_names("cross_entropy", "distillation"), *TEACHER_QUANTITIES),
    ),
    MethodMetadata(
        of=WSLD,
        title="WSLD",
        paper="Zhou, Song, Chen, Zhou, Wang, Yuan, Zhang: Rethinking Soft Labels for Knowledge Distillation: A "
        "Bias-Variance Tradeoff Perspective, ICLR 2021, arXiv 2102.00650",
        summary="KD whose items weigh less where the student already fits the label better than the teacher",
        search_space={"temperature": Uniform(1.0, 8.0), "alpha": Uniform(0.5, 4.0, log=True)},
        diagnostics=(*gradient_names("cross_entropy", "distillation"), *TEACHER_QUANTITIES, "item_weight"),
    ),
    MethodMetadata(
        of=DKD,
        title="DKD",
        paper="Zhao, Cui, Song, Qiu, Liang: Decoupled Knowledge Distillation, CVPR 2022, arXiv 2203.08679",
        summary="target and non-target knowledge distilled by two KL divergences, each with its weight",
        search_space={"temperature": Uniform(1.0, 8.0), "beta": Uniform(0.25, 10.0, log=True)},
        diagnostics=(*gradient_names("cross_entropy", "target", "non_target"), *TEACHER_QUANTITIES),
    ),
)
