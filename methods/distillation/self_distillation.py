"""Baselines without a teacher: CS-KD, PS-KD, Tf-KD."""

from typing import ClassVar

import torch
from torch import Tensor

from methods.checks import check_choice, check_positive
from methods.distillation.inputs import DistillationBatch, Objective, gradient_names
from methods.distillation.kd import kd_rows
from methods.distillation.logits import class_masses, cross_entropy, target_index
from methods.losses import Loss
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
    """
    partner, paired = partners(target_index(label))
    other = widen(student.detach())[partner] / temperature
    entropy = -(other.softmax(dim=1) * other.log_softmax(dim=1)).sum(dim=1)
    rows = kd_rows(student, student.detach()[partner], temperature) - entropy
    return temperature**2 * torch.where(paired, rows, 0.0).sum() / paired.sum().clamp_min(1)


class CSKD(Objective):
    """Cross-entropy + weight·``cs_kd_loss``; needs batches in which classes repeat."""

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


class PSKD(Objective):
    """Cross-entropy with (1 − a)·label + a·(previous prediction), a = alpha·progress.

    Kim et al. 2021 (arXiv 2006.12000), progressive refinement of targets. The share a grows with every step; the
    released code raises it once an epoch. The table of predictions (items × classes, float32) is part of
    ``state_dict``; an unseen item keeps its label alone. In evaluation mode the table is only read.
    """

    name = "ps-kd"
    needs = ("index",)
    tables: ClassVar[tuple[str, ...]] = ("predictions", "seen")  # buffers with a row a training item

    predictions: Tensor
    seen: Tensor

    def __init__(self, items: int, classes: int, *, alpha: float = 0.8) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ValueError(f"ps-kd: alpha must lie in [0, 1], got {alpha}")
        self.alpha = alpha
        self.register_buffer("predictions", torch.zeros(items, classes))
        self.register_buffer("seen", torch.zeros(items, dtype=torch.bool))

    def losses(self, batch: DistillationBatch) -> Loss:
        """Sum the terms, then store the batch's predictions in the table."""
        loss = super().losses(batch)
        if self.training:
            index = batch.require("index")
            with torch.no_grad():
                self.predictions[index] = widen(batch.logits).softmax(dim=1).to(self.predictions.dtype)
                self.seen[index] = True
        return loss

    def soft_labels(self, batch: DistillationBatch) -> Tensor:
        """Earlier predictions of the items; labels for items not yet seen."""
        wide, index = widen(batch.logits), batch.require("index")
        masses = class_masses(batch.labels, wide.shape[1], wide.dtype)
        return torch.where(self.seen[index, None], self.predictions[index].to(wide.dtype), masses)

    def terms(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """``cross_entropy`` and ``distillation``."""
        share = self.alpha * batch.progress
        return {
            "cross_entropy": (1 - share) * cross_entropy(batch.logits, batch.labels),
            "distillation": share * cross_entropy(batch.logits, self.soft_labels(batch)),
        }

    def probe(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """Non-target masses of the student and of its earlier predictions."""
        wide = widen(batch.logits)
        masses = class_masses(batch.labels, wide.shape[1], wide.dtype)
        outside = 1 - (self.soft_labels(batch) * (masses > 0)).sum(dim=1).mean()
        return {**super().probe(batch), "own_non_target_mass": outside}


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
        student, label, temperature: as in ``logits``.
        correct: the virtual teacher's probability of the label, in (0, 1).
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


GRADIENTS = gradient_names("cross_entropy", "distillation")
METADATA = (
    MethodMetadata(
        of=CSKD,
        title="CS-KD",
        family="self-distillation",
        paper="Yun, Park, Lee, Shin: Regularizing Class-wise Predictions via Self-knowledge Distillation, CVPR 2020, "
        "arXiv 2003.13964",
        summary="predictions of two items of one class drawn together",
        search_space={"temperature": Uniform(1.0, 8.0), "weight": Uniform(0.5, 4.0, log=True)},
        diagnostics=(*GRADIENTS, "student_non_target_mass", "paired_share"),
    ),
    MethodMetadata(
        of=PSKD,
        title="PS-KD",
        family="self-distillation",
        paper="Kim, Ji, Yoon, Hwang: Self-Knowledge Distillation with Progressive Refinement of Targets, ICCV 2021, "
        "arXiv 2006.12000",
        summary="labels mixed ever more with the model's own predictions of the epoch before",
        required=("items", "classes"),
        search_space={"alpha": Uniform(0.3, 0.95)},
        diagnostics=(*GRADIENTS, "student_non_target_mass", "own_non_target_mass"),
    ),
    MethodMetadata(
        of=TfKD,
        title="Tf-KD",
        family="self-distillation",
        paper="Yuan, Tay, Li, Wang, Feng: Revisiting Knowledge Distillation via Label Smoothing Regularization, "
        "CVPR 2020, arXiv 1909.11723",
        summary="distillation from a virtual teacher that is 99 % sure of the label and indifferent otherwise",
        options={"form": FORMS},
        search_space={"temperature": Uniform(5.0, 50.0, log=True), "alpha": Uniform(0.05, 0.95)},
        diagnostics=(*GRADIENTS, "student_non_target_mass"),
    ),
)
