"""Instance normalization of feature maps: Ulyanov, Vedaldi, Lempitsky 2016, arXiv 1607.08022, equation 6."""

from __future__ import annotations

from torch import Tensor, nn

from methods.cards import MethodCard
from methods.norms.probes import RegionShift
from methods.norms.regions import ImageNorm


class InstanceNormImage(ImageNorm, nn.InstanceNorm2d):
    """torch's instance normalization (2016, equation 6) with affine map for (B, C, H, W).

    Each image and channel is normalised by itself, without running statistics; a hole mask changes nothing.

    Args:
        channels: C.
        eps: added to the variance.
    """

    name = "instance-image"

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__(channels, eps=eps, affine=True)
        self.channels = channels
        self._region_shift = RegionShift()

    def _normalise(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return nn.InstanceNorm2d.forward(self, x)


CARD = MethodCard(
    of=InstanceNormImage,
    title="InstanceNorm",
    paper="Ulyanov, Vedaldi, Lempitsky: Instance Normalization, 2016, arXiv 1607.08022",
    summary="Each image and channel normalised by itself.",
    diagnostics=("hole_share", "mean_shift", "std_ratio"),
)
