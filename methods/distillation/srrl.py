"""SRRL: the teacher's classifier on the student's feature."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from methods.distillation.diagnostics import TEACHER_QUANTITIES
from methods.distillation.inputs import DistillationBatch, Objective, as_map, check_channels, gradient_names
from methods.distillation.logits import cross_entropy
from methods.metadata import MethodMetadata, Uniform
from methods.precision import widen


class SRRL(Objective):
    """Cross-entropy + alpha·feature matching + beta·softmax regression.

    Yang, Martinez, Bulat, Tzimiropoulos 2021. A connector (1×1 convolution, BatchNorm, ReLU) brings
    the student's feature into the teacher's space. Feature matching is the mean squared difference of the globally
    pooled features; softmax regression that between the teacher's logits and its own classifier on the connected
    feature. Released weights: 1, 1 (ImageNet), 1, 5 (CIFAR-100).

    Args:
        feature_channels: F of the student's last feature map.
        teacher_channels: G of the teacher's.
        alpha: weight of feature matching.
        beta: weight of softmax regression.

    The batch's ``teacher_head`` maps pooled features (N, G) to logits and must be frozen.
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


METADATA = MethodMetadata(
    of=SRRL,
    title="SRRL",
    paper="Yang, Martinez, Bulat, Tzimiropoulos: Knowledge Distillation via Softmax Regression Representation "
    "Learning, ICLR 2021",
    summary="the student's feature, connected to the teacher's space, must serve the teacher's classifier",
    required=("feature_channels", "teacher_channels"),
    search_space={"alpha": Uniform(0.1, 10.0, log=True), "beta": Uniform(0.1, 10.0, log=True)},
    diagnostics=(*gradient_names("cross_entropy", "feature", "regression"), *TEACHER_QUANTITIES),
)
