"""USKD: self-knowledge distillation with customised soft labels; tf-NKD, which preceded it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods.checks import check_choice
from methods.distillation.inputs import DistillationBatch, Objective, RandomStream, gradient_names
from methods.distillation.logits import cross_entropy, is_target, others_log_softmax, spearman, target_index
from methods.distillation.ranking import SOURCES, rank_scores, two_heaviest, uniform_masses, zipf_masses
from methods.metadata import MethodMetadata, Uniform
from methods.precision import widen

OPTIONS: dict[str, tuple[str, ...]] = {
    "rank": SOURCES,
    "zero_mass": ("released", "paper"),
    "zipf_over": ("all", "others"),
    "smoothing": ("squared", "linear", "none"),
}
WEAK_SMOOTHING = 0.1
TARGET_LABEL_QUANTITIES = ("target_label_mean", "target_label_max")


@dataclass(frozen=True, slots=True)
class USKDOptions:
    """Construction of USKD's soft labels.

    Attributes:
        rank: source of the order of the non-target classes, one of ``ranking.SOURCES``. ``released`` (default) and
            ``paper`` differ: the released code forms the student's part from log-probabilities.
        zero_mass: with label masses, ``released`` drops the second-heaviest class from the non-target set even if
            its mass is zero, so that a one-hot vector and its index differ; ``paper`` keeps it then.
        zipf_over: ``all`` or ``others``, see ``zipf_masses``.
        smoothing: the target label: s² + v − mean s² (``squared``), s + v − mean s (``linear``), or v (``none``).
        clamp: keep the target label within [0, 1]; neither code nor paper does.
    """

    rank: str = "released"
    zero_mass: str = "released"
    zipf_over: str = "all"
    smoothing: str = "squared"
    clamp: bool = False

    def __post_init__(self) -> None:
        for name, allowed in OPTIONS.items():
            check_choice("uskd", name, getattr(self, name), allowed)


RELEASED = USKDOptions()


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Target classes and masses (N, k), and a mask (N, C) of them."""

    classes: Tensor
    masses: Tensor
    dropped: Tensor


def find_targets(labels: Tensor, logits: Tensor, zero_mass: str = "released") -> Targets:
    """One target for indices (N,), the two heaviest for masses (N, C)."""
    if labels.ndim == 1:
        return Targets(labels[:, None], torch.ones_like(widen(logits[:, :1])), is_target(logits, labels))
    classes, masses = two_heaviest(widen(labels))
    dropped = is_target(logits, classes[:, 0])
    second = is_target(logits, classes[:, 1])
    if zero_mass == "paper":
        second = second & (masses[:, 1:] > 0)
    return Targets(classes, masses, dropped | second)


def target_labels(probability: Tensor, masses: Tensor, smoothing: str = "squared", clamp: bool = False) -> Tensor:
    """Soft labels P of the targets, (N, k), 0 where the mass is 0 (arXiv 2303.13005, section 3.2).

    ``probability`` (N, k) is the student's, ``masses`` (N, k) the labels', 1 for unmixed ones; ``smoothing`` and
    ``clamp`` as of ``USKDOptions``. The mean runs over all rows, those without mass included.
    """
    power = {"squared": probability**2, "linear": probability, "none": torch.zeros_like(probability)}[smoothing]
    soft = power + masses - power.mean(dim=0, keepdim=True)
    return torch.where(masses == 0, 0.0, soft.clamp(0, 1) if clamp else soft)


def target_label_quantities(student: Tensor, targets: Targets, options: USKDOptions) -> dict[str, Tensor]:
    """Mean and largest soft label P, named by ``TARGET_LABEL_QUANTITIES``."""
    probability = widen(student).softmax(dim=1).gather(1, targets.classes)
    soft = target_labels(probability, targets.masses, options.smoothing, options.clamp)[targets.masses > 0]
    return dict(zip(TARGET_LABEL_QUANTITIES, (soft.mean(), soft.max()), strict=True))


def uskd_target_loss(student: Tensor, targets: Targets, options: USKDOptions = RELEASED) -> Tensor:
    """−mean Σ P·log softmax(z) over the targets; P has no gradient."""
    log_p = widen(student).log_softmax(dim=1).gather(1, targets.classes)
    soft = target_labels(log_p.detach().exp(), targets.masses.to(log_p.dtype), options.smoothing, options.clamp)
    return -(soft * log_p).sum(dim=1).mean()


def uskd_non_target_loss(
    student: Tensor,
    weak: Tensor,
    targets: Targets,
    options: USKDOptions = RELEASED,
    teacher: Tensor | None = None,
    noise: Tensor | None = None,
) -> Tensor:
    """−mean Σ Z·log softmax(z over the non-target classes), Z the Zipf labels."""
    log_s = others_log_softmax(widen(student), targets.dropped)
    if options.rank == "uniform":
        soft = uniform_masses(targets.dropped, log_s.dtype)
    else:
        with torch.no_grad():
            scores = rank_scores(student, weak, targets.dropped, options.rank, teacher=teacher, noise=noise)
            soft = zipf_masses(scores, targets.dropped, over=options.zipf_over)
    return -(soft * log_s).sum(dim=1).mean()


def uskd_loss(
    student: Tensor,
    weak: Tensor,
    label: Tensor,
    alpha: float = 1.0,
    beta: float = 0.1,
    mu: float = 0.005,
    options: USKDOptions = RELEASED,
) -> Tensor:
    """USKD without cross-entropy: alpha·target + beta·non-target + mu·weak, a scalar.

    ``weak`` (N, C) are logits of the weak head, whose term is cross-entropy with labels smoothed by 0.1.

    Raises:
        ValueError: a rank by teacher or at random, which needs the module or the terms' functions.
    """
    if options.rank in ("teacher", "random"):
        raise ValueError(f"uskd_loss: rank '{options.rank}' needs more inputs; use USKD or uskd_non_target_loss")
    targets = find_targets(label, student, options.zero_mass)
    target = uskd_target_loss(student, targets, options)
    non_target = uskd_non_target_loss(student, weak, targets, options)
    return alpha * target + beta * non_target + mu * cross_entropy(weak, label, WEAK_SMOOTHING)


class USKD(Objective):
    """Cross-entropy + alpha·target + beta·non-target + mu·weak (arXiv 2303.13005, section 3.2).

    The weak head is a linear layer on the globally pooled feature of the stage before last (of a ViT: the class token
    after block L/2), which is not detached. It trains with the model and is never deployed. Released recipes:
    1.0, 0.1, 0.005 on ImageNet, 0.1, 0.1, 0.1 on CIFAR-100. A weight of 0 switches a term off; the head still ranks.

    Args:
        feature_channels: F of the feature.
        classes: C.
        alpha, beta, mu, ce_weight: weights of the terms.
        rank: see ``USKDOptions``, as for the next four. ``teacher`` (an ablation) needs ``teacher_logits``.
        zero_mass, zipf_over, smoothing, clamp: see there.
        detach: cut the weak head's gradient off from the student (an ablation): the head still learns and ranks, and
            supervises no layer. ``mu`` is then its rate alone.
        rank_seed: seed of the ``random`` rank's own stream.
    """

    name = "uskd"
    needs = ("feature",)

    def __init__(
        self,
        feature_channels: int,
        classes: int,
        *,
        alpha: float = 1.0,
        beta: float = 0.1,
        mu: float = 0.005,
        ce_weight: float = 1.0,
        rank: str = "released",
        zero_mass: str = "released",
        zipf_over: str = "all",
        smoothing: str = "squared",
        clamp: bool = False,
        detach: bool = False,
        rank_seed: int = 0,
    ) -> None:
        super().__init__()
        self.detach = detach
        self.options = USKDOptions(rank, zero_mass, zipf_over, smoothing, clamp)
        self.alpha, self.beta, self.mu, self.ce_weight = alpha, beta, mu, ce_weight
        self.weak_head = nn.Linear(feature_channels, classes)
        self.noise = RandomStream(rank_seed) if rank == "random" else None

    def weak_logits(self, feature: Tensor) -> Tensor:
        """The weak head's logits (N, C) of a feature or map (else ValueError)."""
        pooled = feature.mean(dim=(2, 3)) if feature.ndim == 4 else feature
        if pooled.ndim != 2 or pooled.shape[1] != self.weak_head.in_features:
            raise ValueError(
                f"uskd: feature must be (items, {self.weak_head.in_features}) or "
                f"(items, {self.weak_head.in_features}, height, width), got {tuple(feature.shape)}"
            )
        logits: Tensor = self.weak_head(pooled)
        return logits

    def check(self, batch: DistillationBatch) -> None:
        """Check as in ``Objective``; ranks by teacher need teacher logits."""
        super().check(batch)
        if self.options.rank == "teacher" and batch.teacher_logits is None:
            raise ValueError("uskd: rank 'teacher' needs teacher_logits in the batch")

    def _drawn(self, student: Tensor) -> Tensor | None:
        return None if self.noise is None else self.noise.uniform(tuple(student.shape), student)

    def terms(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """``cross_entropy``, ``target``, ``non_target``, ``weak``."""
        student, labels = batch.logits, batch.labels
        feature = batch.require("feature")
        weak = self.weak_logits(feature.detach() if self.detach else feature)
        targets = find_targets(labels, student, self.options.zero_mass)
        ranked_by = (batch.teacher_logits, self._drawn(student))
        non_target = uskd_non_target_loss(student, weak, targets, self.options, *ranked_by)
        return {
            "cross_entropy": self.ce_weight * cross_entropy(student, labels),
            "target": self.alpha * uskd_target_loss(student, targets, self.options),
            "non_target": self.beta * non_target,
            "weak": self.mu * cross_entropy(weak, labels, WEAK_SMOOTHING),
        }

    def probe(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """Weak accuracy (percent), mean and largest P; with teacher logits agreement over non-target classes.

        ``rank_teacher_spearman`` is of the rank in use, ``weak_teacher_spearman`` of the weak head alone.
        """
        student, labels = batch.logits, batch.labels
        weak = widen(self.weak_logits(batch.require("feature")))
        targets = find_targets(labels, student, self.options.zero_mass)
        hits = weak.argmax(dim=1) == target_index(labels)
        quantities = {
            "weak_accuracy": 100 * hits.float().mean(),
            **target_label_quantities(student, targets, self.options),
            **super().probe(batch),
        }
        if batch.teacher_logits is not None:
            target = is_target(student, target_index(labels))
            teacher = widen(batch.require("teacher_logits"))
            quantities["weak_teacher_spearman"] = spearman(weak, teacher, target).mean()
            if self.options.rank != "uniform":
                noise = self._drawn(student)
                scores = rank_scores(student, weak, targets.dropped, self.options.rank, teacher=teacher, noise=noise)
                quantities["rank_teacher_spearman"] = spearman(scores, teacher, target).mean()
        return quantities


LINEAR = USKDOptions(smoothing="linear")


def tf_nkd_loss(student: Tensor, label: Tensor) -> Tensor:
    """−mean Σ P·log softmax(z)[y], a scalar: USKD's target term with s for s².

    P = s + v − mean s has no gradient; there is no non-target term. Yang et al. 2022 (arXiv 2208.10139), the
    teacher-free form.
    """
    return uskd_target_loss(student, find_targets(label, student), LINEAR)


class TfNKD(Objective):
    """Cross-entropy + alpha·``tf_nkd_loss``; alpha is 1 in the preprint's code."""

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


METADATA = (
    MethodMetadata(
        of=USKD,
        title="USKD",
        role="method",
        family="self-distillation",
        paper="Yang, Zeng, Li, Zhang, Yuan, Li: From Knowledge Distillation to Self-Knowledge Distillation: A Unified "
        "Approach with Normalized Loss and Customized Soft Labels, ICCV 2023, arXiv 2303.13005",
        summary="soft labels without a teacher: the target's from the student, the others' from ranks by Zipf's law",
        required=("feature_channels", "classes"),
        options={**OPTIONS, "clamp": (False, True), "detach": (False, True)},
        search_space={
            "alpha": Uniform(0.05, 2.0, log=True),
            "beta": Uniform(0.02, 1.0, log=True),
            "mu": Uniform(0.001, 0.5, log=True),
        },
        diagnostics=(
            *gradient_names("cross_entropy", "target", "non_target", "weak"),
            "weak_accuracy",
            *TARGET_LABEL_QUANTITIES,
            "student_non_target_mass",
            "weak_teacher_spearman",
            "rank_teacher_spearman",
        ),
    ),
    MethodMetadata(
        of=TfNKD,
        title="tf-NKD",
        family="self-distillation",
        paper="Yang, Li, Gong, Zhang, Lao, Yuan, Li: Rethinking Knowledge Distillation via Cross-Entropy, 2022, "
        "arXiv 2208.10139",
        summary="the target class again, weighted by the student's own probability; the preprint's self-distillation",
        search_space={"alpha": Uniform(0.05, 2.0, log=True)},
        diagnostics=(*gradient_names("cross_entropy", "target"), *TARGET_LABEL_QUANTITIES, "student_non_target_mass"),
    ),
)
