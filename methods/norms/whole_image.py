"""Batch and instance normalization of feature maps, whose statistics ignore the hole."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.checks import check_choice
from methods.metadata import MethodMetadata, Uniform
from methods.norms.regions import REGION_SHIFT, ImageNorm, RegionShift
from methods.norms.steps import backward_under_way

STATISTICS = ("running", "batch")


class BatchNormImage(ImageNorm):
    """Full-spatial batch normalization (ICML 2015) of (B, C, H, W).

    With ``statistics="batch"`` evaluation uses the batch too, as Region Normalization does: the baseline for
    comparisons with it. A forward repeated by gradient checkpointing does not count.
    """

    name = "batch-image"

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, *, eps: float = 1e-5, momentum: float = 0.1, statistics: str = "running") -> None:
        super().__init__()
        check_choice(self.name, "statistics", statistics, STATISTICS)
        self.channels, self.eps, self.momentum, self.statistics = channels, eps, momentum, statistics
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long))
        self._region_shift = RegionShift()

    def _normalise(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if not self.training:
            running = self.statistics == "running"
            mean, variance = (self.running_mean, self.running_var) if running else (None, None)
            return functional.batch_norm(x, mean, variance, self.weight, self.bias, not running, 0.0, self.eps)
        with torch.no_grad():
            counts = ~backward_under_way(x)
            mean, variance = self.running_mean.clone(), self.running_var.clone()
        y = functional.batch_norm(x, mean, variance, self.weight, self.bias, True, self.momentum, self.eps)
        with torch.no_grad():
            self.running_mean.copy_(torch.where(counts, mean, self.running_mean))
            self.running_var.copy_(torch.where(counts, variance, self.running_var))
            self.num_batches_tracked.add_(counts)
        return y

    def extra_repr(self) -> str:
        return f"{self.channels}, statistics={self.statistics}, momentum={self.momentum}, eps={self.eps}"


class InstanceNormImage(ImageNorm, nn.InstanceNorm2d):
    """torch's instance normalization (2016, equation 6) of (B, C, H, W), with affine map."""

    name = "instance-image"

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__(channels, eps=eps, affine=True)
        self.channels = channels
        self._region_shift = RegionShift()

    def _normalise(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return nn.InstanceNorm2d.forward(self, x)


METADATA = (
    MethodMetadata(
        of=BatchNormImage,
        title="BatchNorm",
        paper="Ioffe, Szegedy: Batch Normalization, ICML 2015, arXiv 1502.03167",
        summary="Full-spatial batch normalization; evaluation by running or by batch statistics.",
        options={"statistics": STATISTICS},
        search_space={"momentum": Uniform(0.01, 0.3, log=True)},
        diagnostics=REGION_SHIFT,
    ),
    MethodMetadata(
        of=InstanceNormImage,
        title="InstanceNorm",
        paper="Ulyanov, Vedaldi, Lempitsky: Instance Normalization, 2016, arXiv 1607.08022",
        summary="Each image and channel normalised by itself.",
        diagnostics=REGION_SHIFT,
    ),
)
