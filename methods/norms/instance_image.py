"""Instance normalization of feature maps.

Ulyanov, Vedaldi, Lempitsky, "Instance Normalization", 2016, arXiv 1607.08022, equation 6.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.cards import MethodCard, defaults_of
from methods.norms.probes import RegionShift
from methods.norms.regions import ImageNorm, hole_mask


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
        if self.record and mask is not None and not torch.compiler.is_compiling():
            self._region_shift.observe(x, hole_mask(self.name, mask, x))
        return nn.InstanceNorm2d.forward(self, x)

    def diagnostics(self) -> dict[str, Tensor | float]:
        """``hole_share``, ``mean_shift`` and ``std_ratio`` of the last forward with a mask and ``record`` true."""
        return dict(self._region_shift.summary())


CARD = MethodCard(
    name="instance-image",
    title="InstanceNorm",
    slot="norm",
    role="baseline",
    family="image",
    paper="Ulyanov, Vedaldi, Lempitsky: Instance Normalization, 2016, arXiv 1607.08022",
    target="InstanceNormImage",
    summary="Each image and channel normalised by itself.",
    defaults=defaults_of(InstanceNormImage),
    diagnostics=("hole_share", "mean_shift", "std_ratio"),
)
