"""RN-B, basic Region Normalization: hole and rest normalised separately, by mask.

Yu et al., "Region Normalization for Image Inpainting", AAAI 2020, arXiv 1911.10375. Options with the values
``released`` (the default) and ``paper`` cover differences between the released code and the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.checks import check_choice
from methods.metadata import MethodMetadata
from methods.norms.diagnostics import RegionShift
from methods.norms.regions import ImageNorm, Rules, hole_mask, normalize_regions
from methods.precision import widen

OPTIONS: dict[str, tuple[str, ...]] = {
    "shift": ("released", "paper"),
    "epsilon": ("released", "paper"),
    "statistics": ("released", "paper"),
}


class RegionNormBasic(ImageNorm):
    """RN-B (AAAI 2020, section "Basic RN") for maps (B, C, H, W).

    Each region r of the hole mask (hole, rest) is normalised by its own mean and biased variance, per channel, over the
    batch, in evaluation too: (x−μ_r)/√(σ_r²+eps/f_r)·(1+γ_r), f_r the region's share of the positions. Then the
    shift. An image's output therefore depends on its batch. An empty region contributes nothing. No
    statistics are kept, so checkpointing and evaluation mode change nothing. Half-precision inputs are computed
    in float32.

    Args:
        channels: C.
        eps: see above.
        shift: ``released`` adds β_hole + β_valid at every position, ``paper`` each β in its own region.
        epsilon: ``released`` adds eps/f_r, as its way of computing implies, ``paper`` eps.
        statistics: ``released`` pools the batch, ``paper`` normalises image by image, as the paper, which
            presents RN as a generalisation of instance normalization.

    Raises:
        ValueError: an unknown option.
    """

    name = "region-basic"

    def __init__(
        self,
        channels: int,
        *,
        eps: float = 1e-5,
        shift: str = "released",
        epsilon: str = "released",
        statistics: str = "released",
    ) -> None:
        super().__init__()
        for name, value in {"shift": shift, "epsilon": epsilon, "statistics": statistics}.items():
            check_choice(self.name, name, value, OPTIONS[name])
        self.channels, self.shift = channels, shift
        self.rules = Rules(eps, fixed_eps=epsilon == "paper", per_image=statistics == "paper")
        self.hole_gamma = nn.Parameter(torch.zeros(channels))
        self.hole_beta = nn.Parameter(torch.zeros(channels))
        self.valid_gamma = nn.Parameter(torch.zeros(channels))
        self.valid_beta = nn.Parameter(torch.zeros(channels))
        self._region_shift = RegionShift()

    def _normalise(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            raise ValueError(f"{self.name}: needs the mask (B, 1, H, W), 1 = hole; got none")
        wide = widen(x)
        hole = hole_mask(self.name, mask, wide)
        gamma = self._by_region(wide.dtype, self.hole_gamma, self.valid_gamma)
        if self.shift == "released":
            shift = self._by_region(wide.dtype, self.hole_beta + self.valid_beta)
        else:
            shift = self._by_region(wide.dtype, self.hole_beta, self.valid_beta)
        return normalize_regions(wide, hole, self.rules, gamma, shift).to(x.dtype)

    def _by_region(self, dtype: torch.dtype, *vectors: Tensor) -> Tensor:
        return torch.stack(vectors).to(dtype).reshape(len(vectors), 1, self.channels, 1, 1)

    def extra_repr(self) -> str:
        """Hyper-parameters for ``print``."""
        return f"{self.channels}, shift={self.shift}, {self.rules}"


METADATA = MethodMetadata(
    of=RegionNormBasic,
    title="RN-B",
    role="method",
    paper="Yu, Guo, Jin, Wu, Chen, Li, Zhang, Liu: Region Normalization for Image Inpainting, AAAI 2020, "
    "arXiv 1911.10375",
    summary="Hole and rest normalised apart by the given mask, an affine map for each.",
    options=OPTIONS,
    needs=("mask",),
    diagnostics=("hole_share", "mean_shift", "std_ratio"),
)
