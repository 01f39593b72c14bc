"""Instance normalization of feature maps (Ulyanov et al. 2016, arXiv 1607.08022)."""

from __future__ import annotations

from torch import Tensor, nn

from methods.metadata import MethodMetadata
from methods.norms.diagnostics import RegionShift
from methods.norms.regions import ImageNorm


class InstanceNormImage(ImageNorm, nn.InstanceNorm2d):
    """torch's instance normalization (2016, equation 6) with affine map.

    Input (B, C, H, W). Images and channels are normalised separately, without running statistics; hole masks have no
    effect.

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


METADATA = MethodMetadata(
    of=InstanceNormImage,
    title="InstanceNorm",
    paper="Ulyanov, Vedaldi, Lempitsky: Instance Normalization, 2016, arXiv 1607.08022",
    summary="Each image and channel normalised by itself.",
    diagnostics=("hole_share", "mean_shift", "std_ratio"),
)
