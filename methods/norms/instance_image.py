"""Instance normalization of feature maps.

Ulyanov, Vedaldi, Lempitsky, "Instance Normalization", 2016, arXiv 1607.08022, equation 6.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.cards import MethodCard, defaults_of
from methods.norms.probes import RegionShift
from methods.norms.regions import check_image, hole_mask


class InstanceNormImage(nn.InstanceNorm2d):
    """torch's instance normalization (2016, equation 6) with affine map for (B, C, H, W).

    Each image and channel is normalised by itself, without running statistics; a hole mask changes nothing.

    Args:
        channels: C.
        eps: added to the variance.

    Attributes:
        record: whether forwards record what ``diagnostics`` reports.
    """

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__(channels, eps=eps, affine=True)
        self.record = False
        self._region_shift = RegionShift()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise.

        Args:
            x: feature maps, (B, C, H, W).
            mask: (B or 1, 1, H', W'), 1 = hole; only the diagnostics read it.

        Returns:
            (B, C, H, W).

        Raises:
            ValueError: another shape of x, or one position an image.
        """
        check_image("instance-image", x, self.num_features)
        if self.record and mask is not None and not torch.compiler.is_compiling():
            self._region_shift.observe(x, hole_mask("instance-image", mask, x))
        return super().forward(x)

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
