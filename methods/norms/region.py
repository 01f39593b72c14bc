"""Region Normalization: RN-B by the hole mask, RN-L by a learned map.

Yu et al., "Region Normalization for Image Inpainting", AAAI 2020, arXiv 1911.10375. Options with the values
``released`` (the default) and ``paper`` cover differences between the released code and the paper.
"""

import torch
from torch import Tensor, nn

from methods.checks import check_choice
from methods.metadata import MethodMetadata, Uniform
from methods.norms.regions import (
    REGION_SHIFT,
    ImageNorm,
    RegionShift,
    Rules,
    blend_regions,
    hole_mask,
    normalize_regions,
)
from methods.precision import widen

FORMS = ("released", "paper")
BASIC: dict[str, tuple[str, ...]] = {"shift": FORMS, "epsilon": FORMS, "statistics": FORMS}
LEARNED: dict[str, tuple[str, ...]] = {"epsilon": FORMS, "statistics": FORMS, "mask": ("hard", "soft")}


class RegionNormBasic(ImageNorm):
    """RN-B (section "Basic RN") for maps (B, C, H, W).

    Each region r of the hole mask (hole, rest) is normalised by its own mean and biased variance, per channel, over the
    batch, in evaluation too: (x−μ_r)/√(σ_r²+eps/f_r)·(1+γ_r), f_r the region's share of the positions. Then the
    shift. An image's output therefore depends on its batch; an empty region contributes nothing.

    Args:
        channels: C.
        eps: see above.
        shift: ``released`` adds β_hole + β_valid at every position, ``paper`` each β in its own region.
        epsilon: ``released`` adds eps/f_r, as its way of computing implies, ``paper`` eps.
        statistics: ``released`` pools the batch, ``paper`` normalises image by image, as the paper, which
            presents RN as a generalisation of instance normalization.
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
            check_choice(self.name, name, value, BASIC[name])
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
        return f"{self.channels}, shift={self.shift}, {self.rules}"


class RegionNormLearned(ImageNorm):
    """RN-L (section "Learnable RN") for maps (B, C, H, W), without mask.

    map = sigmoid(conv7×7([mean over C, max over C])), without bias; the region is map ≥ ``threshold``,
    which passes no gradient. Both regions are normalised as in RN-B without affine map; then
    out = core·(1+γ)+β with pixel-wise γ and β from two 7×7 convolutions of the map. While no position reaches
    the threshold this is batch normalization with batch statistics, then the pixel-wise map.

    The released network passes its ``threshold`` to the residual blocks' layers only; the decoder's keep 0.8. The
    released initialisation (weights ×0.1, biases from N(1e-4, 1)) belongs to the network.

    Args:
        channels: C.
        threshold: at or above it a position belongs to the region.
        eps, epsilon, statistics: as of ``RegionNormBasic``.
        mask: ``soft`` (an ablation) takes the map itself as the share that a position has in the region, and lets
            gradients through; the threshold then only defines the reported region.
    """

    name = "region-learned"

    kernel = 7

    def __init__(
        self,
        channels: int,
        *,
        threshold: float = 0.8,
        eps: float = 1e-5,
        epsilon: str = "released",
        statistics: str = "released",
        mask: str = "hard",
    ) -> None:
        super().__init__()
        for name, value in {"epsilon": epsilon, "statistics": statistics, "mask": mask}.items():
            check_choice(self.name, name, value, LEARNED[name])
        self.channels, self.threshold, self.soft = channels, threshold, mask == "soft"
        self.rules = Rules(eps, fixed_eps=epsilon == "paper", per_image=statistics == "paper")
        padding = self.kernel // 2
        self.attention = nn.Conv2d(2, 1, self.kernel, padding=padding, bias=False)
        self.gamma_conv = nn.Conv2d(1, 1, self.kernel, padding=padding)
        self.beta_conv = nn.Conv2d(1, 1, self.kernel, padding=padding)
        self._region_shift = RegionShift()
        self._region: dict[str, Tensor] = {}

    def _normalise(self, x: Tensor, mask: Tensor | None) -> Tensor:
        summary = torch.cat((x.mean(1, keepdim=True), x.max(1, keepdim=True).values), 1)
        attention = torch.sigmoid(self.attention(summary))
        wide = widen(x)
        # attention ≥ threshold as 1 and 0, by arithmetic for compiled code (see ``hole_mask``).
        region = 1 - (self.threshold - attention.detach().to(wide.dtype)).sign().clamp(min=0)
        if self.record and not torch.compiler.is_compiling():
            self._observe_region(wide, region > 0, mask)
        if self.soft:
            core = blend_regions(wide, attention.to(wide.dtype), self.rules)
        else:
            core = normalize_regions(wide, region, self.rules)
        return (core * (1 + self.gamma_conv(attention)) + self.beta_conv(attention)).to(x.dtype)

    @torch.no_grad()
    def _observe_region(self, x: Tensor, inside: Tensor, mask: Tensor | None) -> None:
        self._region = {"region_share": inside.float().mean()}
        if mask is None:
            self._region_shift.observe(x, inside)
            return
        hole = hole_mask(self.name, mask, x) > 0
        for name, other in (("hole_iou", hole), ("valid_iou", ~hole)):
            union = (inside | other).sum()
            self._region[name] = (inside & other).sum() / union.clamp(min=1)

    def diagnostics(self) -> dict[str, Tensor]:
        """Quantities of the last recorded forward.

        ``region_share`` (of positions at or above the threshold); with a mask ``hole_iou`` and ``valid_iou`` (overlap
        of the learned region with the hole and with its complement); and ``REGION_SHIFT`` of the hole, or of the
        learned region without a mask.
        """
        return {**super().diagnostics(), **self._region}

    def extra_repr(self) -> str:
        return f"{self.channels}, threshold={self.threshold}, {self.rules}"


METADATA = (
    MethodMetadata(
        of=RegionNormBasic,
        title="RN-B",
        role="method",
        paper="Yu, Guo, Jin, Wu, Chen, Li, Zhang, Liu: Region Normalization for Image Inpainting, AAAI 2020, "
        "arXiv 1911.10375",
        summary="Hole and rest normalised apart by the given mask, an affine map for each.",
        options=BASIC,
        needs=("mask",),
        diagnostics=REGION_SHIFT,
    ),
    MethodMetadata(
        of=RegionNormLearned,
        title="RN-L",
        role="method",
        paper="Yu, Guo, Jin, Wu, Chen, Li, Zhang, Liu: Region Normalization for Image Inpainting, AAAI 2020, "
        "arXiv 1911.10375",
        summary="Regions from a thresholded attention map normalised apart, then a pixel-wise affine map.",
        options=LEARNED,
        search_space={"threshold": Uniform(0.3, 0.9)},
        diagnostics=("region_share", "hole_iou", "valid_iou", *REGION_SHIFT),
    ),
)
