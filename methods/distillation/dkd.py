"""DKD: decoupled knowledge distillation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.checks import check_positive
from methods.distillation.diagnostics import TEACHER_QUANTITIES, normalised_kl
from methods.distillation.inputs import DistillationBatch, Objective, gradient_names
from methods.distillation.logits import cross_entropy, target_index, target_log_odds
from methods.metadata import MethodMetadata, Uniform
from methods.precision import widen


def tckd_loss(student: Tensor, teacher: Tensor, label: Tensor, temperature: float = 1.0) -> Tensor:
    """DKD's target term: T²·mean KL of the distributions (target, rest).

    A scalar; Zhao et al. 2022 (arXiv 2203.08679), the term TCKD. Both log-probabilities come from the log-odds,
    so neither is ever log 0.

    Args:
        student: logits (N, C).
        teacher: logits (N, C), without gradient.
        label: indices (N,) or masses (N, C), of which the heaviest class counts.
        temperature: T > 0.
    """
    target = target_index(label)
    odds_s = target_log_odds(widen(student) / temperature, target)
    odds_t = target_log_odds(widen(teacher.detach()) / temperature, target)
    inside = torch.sigmoid(odds_t) * (F.logsigmoid(odds_t) - F.logsigmoid(odds_s))
    outside = torch.sigmoid(-odds_t) * (F.logsigmoid(-odds_t) - F.logsigmoid(-odds_s))
    return temperature**2 * (inside + outside).mean()


def nckd_loss(student: Tensor, teacher: Tensor, label: Tensor, temperature: float = 1.0) -> Tensor:
    """DKD's non-target term NCKD: T²·``normalised_kl`` at temperature T.

    A scalar; arguments as of ``tckd_loss``. The released code subtracts 1000 from the target's logit; here the
    target is omitted, which is the limit.
    """
    return temperature**2 * normalised_kl(widen(student) / temperature, widen(teacher.detach()) / temperature, label)


def dkd_loss(
    student: Tensor, teacher: Tensor, label: Tensor, temperature: float = 1.0, alpha: float = 1.0, beta: float = 0.5
) -> Tensor:
    """alpha·``tckd_loss`` + beta·``nckd_loss``, a scalar; arguments as there."""
    target = tckd_loss(student, teacher, label, temperature)
    return alpha * target + beta * nckd_loss(student, teacher, label, temperature)


class DKD(Objective):
    """Cross-entropy + warm-up·(alpha·target term + beta·non-target term), both T²·KL.

    The warm-up rises linearly to 1 over epochs, as mdistiller does for the CRD pairs (20 of 240 epochs), or over a
    share of the training. alpha 0 leaves NCKD alone.

    Args:
        temperature: T > 0.
        alpha: weight of the binary term.
        beta: weight of the non-target term.
        ce_weight: weight of cross-entropy.
        warmup_epochs: epoch number (from 1) at which the weight reaches 1; 0: no warm-up by epochs.
        warmup_fraction: share of the training after which it does; 0: none. At most one of the two may be set.

    Raises:
        ValueError: a temperature not above 0, a negative warm-up, or both kinds of warm-up.
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


METADATA = MethodMetadata(
    of=DKD,
    title="DKD",
    paper="Zhao, Cui, Song, Qiu, Liang: Decoupled Knowledge Distillation, CVPR 2022, arXiv 2203.08679",
    summary="target and non-target knowledge distilled by two KL divergences, each with its weight",
    search_space={"temperature": Uniform(1.0, 8.0), "beta": Uniform(0.25, 10.0, log=True)},
    diagnostics=(*gradient_names("cross_entropy", "target", "non_target"), *TEACHER_QUANTITIES),
)
