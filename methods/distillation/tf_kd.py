"""Tf-KD: distillation from a hand-made virtual teacher."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.checks import check_choice, check_positive
from methods.distillation.inputs import DistillationBatch, Objective, gradient_names
from methods.distillation.logits import class_masses, cross_entropy
from methods.metadata import MethodMetadata, Uniform
from methods.precision import widen

FORMS: tuple[str, ...] = ("released", "paper")


def virtual_teacher(labels: Tensor, classes: int, correct: float, dtype: torch.dtype) -> Tensor:
    """Probabilities (N, C): ``correct`` at the label, the rest spread evenly."""
    masses = class_masses(labels, classes, dtype)
    return masses * correct + (1 - masses) * ((1 - correct) / (classes - 1))


def tf_kd_loss(
    student: Tensor, label: Tensor, temperature: float = 20.0, correct: float = 0.99, form: str = "released"
) -> Tensor:
    """KL(virtual teacher‖student), summed over classes, mean over items, a scalar.

    Yuan et al. 2020 (arXiv 1909.11723), the term of Tf-KD_reg.

    Args:
        student: logits (N, C), any floating type; computed in float32 or wider.
        label: indices (N,) or masses (N, C).
        temperature: T > 0.
        correct: the virtual teacher's probability of the label.
        form: ``released`` softens the teacher by a softmax of its *probabilities* over T and the student not at all;
            ``paper`` softens both, the teacher's logits being its log-probabilities.
    """
    wide = widen(student)
    teacher = virtual_teacher(label, wide.shape[1], correct, wide.dtype)
    if form == "released":
        log_t, log_s = (teacher / temperature).log_softmax(dim=1), wide.log_softmax(dim=1)
    else:
        log_t, log_s = (teacher.log() / temperature).log_softmax(dim=1), (wide / temperature).log_softmax(dim=1)
    return (log_t.exp() * (log_t - log_s)).sum(dim=1).mean()


class TfKD(Objective):
    """(1 − alpha)·cross-entropy + alpha·scale·``tf_kd_loss`` (the regularisation form, Tf-KD_reg).

    The released code averages the KL over items *and* classes and multiplies by 100, which on CIFAR-100 is its sum
    over classes: ``multiplier`` None keeps that sum for any number of classes.

    Args:
        temperature: T > 0.
        alpha: weight in [0, 1].
        correct: the virtual teacher's probability of the label, in (0, 1).
        multiplier: factor on the mean over items and classes; None: C.
        form: ``released`` or ``paper``, see ``tf_kd_loss``.

    Raises:
        ValueError: a value out of range, an unknown form.
    """

    name = "tf-kd"

    def __init__(
        self,
        *,
        temperature: float = 20.0,
        alpha: float = 0.1,
        correct: float = 0.99,
        multiplier: float | None = None,
        form: str = "released",
    ) -> None:
        super().__init__()
        check_positive("tf-kd", temperature=temperature)
        check_choice("tf-kd", "form", form, FORMS)
        if not 0 <= alpha <= 1 or not 0 < correct < 1:
            raise ValueError(f"tf-kd: alpha must lie in [0, 1] and correct in (0, 1), got {alpha} and {correct}")
        self.temperature, self.alpha, self.correct = temperature, alpha, correct
        self.multiplier, self.form = multiplier, form

    def terms(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """``cross_entropy`` and ``distillation``."""
        scale = 1.0 if self.multiplier is None else self.multiplier / batch.logits.shape[1]
        loss = tf_kd_loss(batch.logits, batch.labels, self.temperature, self.correct, self.form)
        return {
            "cross_entropy": (1 - self.alpha) * cross_entropy(batch.logits, batch.labels),
            "distillation": self.alpha * scale * loss,
        }


METADATA = MethodMetadata(
    of=TfKD,
    title="Tf-KD",
    family="self-distillation",
    paper="Yuan, Tay, Li, Wang, Feng: Revisiting Knowledge Distillation via Label Smoothing Regularization, CVPR 2020, "
    "arXiv 1909.11723",
    summary="distillation from a virtual teacher that is 99 % sure of the label and indifferent otherwise",
    options={"form": FORMS},
    search_space={"temperature": Uniform(5.0, 50.0, log=True), "alpha": Uniform(0.05, 0.95)},
    diagnostics=(*gradient_names("cross_entropy", "distillation"), "student_non_target_mass"),
)
