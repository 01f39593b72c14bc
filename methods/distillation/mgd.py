"""MGD: the student's masked feature generates the teacher's."""

from __future__ import annotations

from torch import Tensor, nn

from methods.distillation.inputs import (
    DistillationBatch,
    Objective,
    RandomStream,
    as_map,
    check_channels,
    gradient_names,
)
from methods.distillation.logits import cross_entropy
from methods.metadata import MethodMetadata, Uniform
from methods.precision import widen


class MGD(Objective):
    """Cross-entropy + alpha·Σ(teacher − G(mask·student))²/N.

    Yang et al. 2022 (arXiv 2205.01529), the classification form: the mask covers whole channels, each with probability
    ``mask_ratio``. G is 3×3 convolution, ReLU, 3×3 convolution; a 1×1 convolution brings the student to the teacher's
    channels if they differ. Released: 7e-5, 0.15 (ImageNet), 0.0012, 0.15 (CIFAR-100).

    Args:
        feature_channels: F of the student's last feature map.
        teacher_channels: G of the teacher's.
        alpha: weight of the term; it sums over channels and positions.
        mask_ratio: probability in [0, 1) that a channel is masked.
        mask_seed: seed of the masks' own random stream.

    Raises:
        ValueError: a ratio outside [0, 1).
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


METADATA = MethodMetadata(
    of=MGD,
    title="MGD",
    paper="Yang, Li, Shao, Shi, Yuan, Yuan: Masked Generative Distillation, ECCV 2022, arXiv 2205.01529",
    summary="from a masked student feature a small generator must restore the teacher's feature",
    required=("feature_channels", "teacher_channels"),
    search_space={"alpha": Uniform(1e-5, 1e-2, log=True), "mask_ratio": Uniform(0.0, 0.6)},
    diagnostics=(*gradient_names("cross_entropy", "generation"), "student_non_target_mass"),
)
