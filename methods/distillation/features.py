"""Baselines on features: MGD and SRRL."""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from methods.distillation.inputs import (
    DistillationBatch,
    Objective,
    RandomStream,
    as_map,
    check_channels,
    gradient_names,
)
from methods.distillation.logits import TEACHER_QUANTITIES, cross_entropy
from methods.metadata import MethodMetadata, Uniform
from methods.precision import widen


class MGD(Objective):
    """Cross-entropy + alpha·Σ(teacher − G(mask·student))²/N.

    Yang et al. 2022 (arXiv 2205.01529), the classification form: the mask covers whole channels, each with probability
    ``mask_ratio``. G is 3×3 convolution, ReLU, 3×3 convolution; a 1×1 convolution brings the student to the teacher's
    channels if they differ. Released: 7e-5, 0.15 (ImageNet), 0.0012, 0.15 (CIFAR-100).
    """

    name = "mgd"
    needs = ("feature", "teacher_feature")

    def __init__(
        self,
        feature_channels: int,
        teacher_channels: int,
        *,
        alpha: float = 7e-5,
        mask_ratio: float = 0.15,
        mask_seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= mask_ratio < 1:
            raise ValueError(f"mgd: mask_ratio must lie in [0, 1), got {mask_ratio}")
        self.alpha, self.mask_ratio = alpha, mask_ratio
        self.channels = (feature_channels, teacher_channels)
        same = feature_channels == teacher_channels
        self.align = nn.Identity() if same else nn.Conv2d(feature_channels, teacher_channels, kernel_size=1)
        self.generation = nn.Sequential(
            nn.Conv2d(teacher_channels, teacher_channels, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(teacher_channels, teacher_channels, kernel_size=3, padding=1),
        )
        self.noise = RandomStream(mask_seed)

    def check(self, batch: DistillationBatch) -> None:
        """Check as in ``Objective``, and the features' channels and map sizes."""
        super().check(batch)
        check_channels(self.name, batch, *self.channels)
        ours, theirs = batch.require("feature"), batch.require("teacher_feature")
        if as_map(ours).shape[2:] != as_map(theirs).shape[2:]:
            raise ValueError(
                f"mgd: both feature maps must be of one size, got {tuple(ours.shape)} and {tuple(theirs.shape)}"
            )

    def terms(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """``cross_entropy`` and ``generation``."""
        ours, theirs = self.align(as_map(batch.require("feature"))), as_map(batch.require("teacher_feature").detach())
        kept = self.noise.uniform((*ours.shape[:2], 1, 1), ours) >= self.mask_ratio
        generated = self.generation(ours * kept)
        squared = (widen(generated) - widen(theirs)).square().sum() / ours.shape[0]
        return {"cross_entropy": cross_entropy(batch.logits, batch.labels), "generation": self.alpha * squared}


class SRRL(Objective):
    """Cross-entropy + alpha·feature matching + beta·softmax regression.

    Yang, Martinez, Bulat, Tzimiropoulos 2021. A connector (1×1 convolution, BatchNorm, ReLU) brings the student's
    feature into the teacher's space. Feature matching is the mean squared difference of the globally pooled features;
    softmax regression that between the teacher's logits and its own frozen classifier (the batch's ``teacher_head``) on
    the connected feature. Released weights: 1, 1 (ImageNet), 1, 5 (CIFAR-100).
    """

    name = "srrl"
    needs = ("teacher", "feature", "teacher_feature", "teacher_head")

    def __init__(self, feature_channels: int, teacher_channels: int, *, alpha: float = 1.0, beta: float = 1.0) -> None:
        super().__init__()
        self.alpha, self.beta = alpha, beta
        convolution = nn.Conv2d(feature_channels, teacher_channels, kernel_size=1, bias=False)
        nn.init.normal_(convolution.weight, std=math.sqrt(2 / teacher_channels))
        self.connector = nn.Sequential(convolution, nn.BatchNorm2d(teacher_channels), nn.ReLU())
        self.channels = (feature_channels, teacher_channels)

    def check(self, batch: DistillationBatch) -> None:
        """As ``Objective.check``, and the channels of both features."""
        super().check(batch)
        check_channels(self.name, batch, *self.channels)

    def terms(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """``cross_entropy``, ``feature``, ``regression``."""
        pooled = self.connector(as_map(batch.require("feature"))).mean(dim=(2, 3))
        theirs = as_map(batch.require("teacher_feature").detach()).mean(dim=(2, 3))
        head = batch.teacher_head
        if head is None:
            raise ValueError("srrl: the batch lacks teacher_head")
        regressed = head(pooled)
        return {
            "cross_entropy": cross_entropy(batch.logits, batch.labels),
            "feature": self.alpha * F.mse_loss(widen(pooled), widen(theirs)),
            "regression": self.beta * F.mse_loss(widen(regressed), widen(batch.require("teacher_logits").detach())),
        }


METADATA = (
    MethodMetadata(
        of=MGD,
        title="MGD",
        paper="Yang, Li, Shao, Shi, Yuan, Yuan: Masked Generative Distillation, ECCV 2022, arXiv 2205.01529",
        summary="from a masked student feature a small generator must restore the teacher's feature",
        required=("feature_channels", "teacher_channels"),
        search_space={"alpha": Uniform(1e-5, 1e-2, log=True), "mask_ratio": Uniform(0.0, 0.6)},
        diagnostics=(*gradient_names("cross_entropy", "generation"), "student_non_target_mass"),
    ),
    MethodMetadata(
        of=SRRL,
        title="SRRL",
        paper="Yang, Martinez, Bulat, Tzimiropoulos: Knowledge Distillation via Softmax Regression Representation "
        "Learning, ICLR 2021",
        summary="the student's feature, connected to the teacher's space, must serve the teacher's classifier",
        required=("feature_channels", "teacher_channels"),
        search_space={"alpha": Uniform(0.1, 10.0, log=True), "beta": Uniform(0.1, 10.0, log=True)},
        diagnostics=(*gradient_names("cross_entropy", "feature", "regression"), *TEACHER_QUANTITIES),
    ),
)
