"""Base of the region norms: masks, per-region statistics, and the exact backward.

Region 0 is the hole (mask 1), region 1 the rest. Sums run over the batch and both spatial dimensions
(``per_image``: over the spatial dimensions alone); per-region tensors are (2, 1, C, 1, 1) or (2, B, C, 1, 1).
"""

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.compiled import settle

HOLE, VALID = 0, 1
REGION_SHIFT = ("hole_share", "mean_shift", "std_ratio")
"""Quantities of ``RegionShift``."""


class RegionShift:
    """Distance between the hole's and the valid region's statistics (last recorded batch)."""

    def __init__(self) -> None:
        self.last: dict[str, Tensor] = {}

    @torch.no_grad()
    def observe(self, x: Tensor, hole: Tensor) -> None:
        """Record the input (B, C, H, W) of a norm; ``hole`` (B, 1, H, W) is above 0 in the hole.

        The shift of the mean is in standard deviations of the valid region; both it and the ratio of deviations are
        means over channels.
        """
        rows = x.detach().float().movedim(1, -1).flatten(0, -2)
        inside = hole.flatten() > 0
        self.last = {"hole_share": inside.float().mean()}
        if inside.sum() < 2 or (~inside).sum() < 2:
            return
        hole_variance, hole_mean = torch.var_mean(rows[inside], 0, correction=0)
        valid_variance, valid_mean = torch.var_mean(rows[~inside], 0, correction=0)
        deviation = valid_variance.sqrt().clamp(min=1e-12)
        self.last["mean_shift"] = ((hole_mean - valid_mean).abs() / deviation).mean()
        self.last["std_ratio"] = (hole_variance.sqrt() / deviation).mean()


class ImageNorm(nn.Module):
    """A norm of maps (B, C, H, W) with optional hole masks; half precision is computed in float32."""

    name: ClassVar[str]
    slot, family = "norm", "image"
    channels: int
    record: bool = False
    _region_shift: RegionShift

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise (B, C, H, W); the mask (B or 1, 1, H', W'), 1 = hole, is resized with nearest.

        Raises:
            ValueError: another shape of x or mask, or a single value where statistics need several.
        """
        if x.dim() != 4 or x.shape[1] != self.channels:
            raise ValueError(f"{self.name}: expected feature maps (B, {self.channels}, H, W), got {tuple(x.shape)}")
        if self.record and mask is not None and not torch.compiler.is_compiling():
            self._region_shift.observe(x, hole_mask(self.name, mask, x))
        return self._normalise(x, mask)

    def diagnostics(self) -> dict[str, Tensor]:
        """``REGION_SHIFT`` of the last recorded forward with a mask."""
        return dict(self._region_shift.last)

    def _normalise(self, x: Tensor, mask: Tensor | None) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not define _normalise")


def hole_mask(name: str, mask: Tensor, x: Tensor) -> Tensor:
    """Resize a mask (B or 1, [1,] H', W') with nearest to a feature map, as (B, 1, H, W) of 1 (hole) and 0.

    Positive or true is the hole.

    Raises:
        ValueError: another number of dimensions, channels or images.
    """
    if mask.dim() == 3:
        mask = mask.unsqueeze(1)
    if mask.dim() != 4 or mask.shape[1] != 1 or mask.shape[0] not in (1, x.shape[0]):
        raise ValueError(
            f"{name}: expected a mask ({x.shape[0]}, 1, H, W), 1 = hole, for features {tuple(x.shape)}, "
            f"got {tuple(mask.shape)}"
        )
    if mask.shape[-2:] != x.shape[-2:]:
        mask = functional.interpolate(mask.to(torch.float32), size=x.shape[-2:], mode="nearest")
    # 1 for positive values, by arithmetic: compiled code reads a stored boolean one element at a time.
    return mask.to(x.dtype).clamp(0, 1).ceil().expand(x.shape[0], -1, -1, -1)


class Rules(NamedTuple):
    """Settings of the normalization of regions.

    Attributes:
        fixed_eps: add eps unchanged; otherwise add eps/f, f the region's share of all positions.
        per_image: take statistics image by image instead of over the batch.
    """

    eps: float
    fixed_eps: bool
    per_image: bool


class Regions(NamedTuple):
    """Statistics of both regions, in float32 or wider; mean and inverse are 0 in an empty region.

    Attributes:
        size: number of positions, (2, 1 or B, 1, 1, 1).
        mean: (2, 1 or B, C, 1, 1).
        inverse: 1/√(variance + eps/f), likewise.
    """

    size: Tensor
    mean: Tensor
    inverse: Tensor


def pick(hole: Tensor, pair: Tensor) -> Tensor:
    """Each position's value of a per-region pair or single value."""
    if pair.shape[0] == 1:
        return pair[0]
    return hole * pair[HOLE] + (1 - hole) * pair[VALID]


IN_ONE_GO = 4096
"""Positions that compiled code sums directly; above, it takes a slower and more exact way."""


def _sum_positions(values: Tensor, per_image: bool) -> Tensor:
    if values.shape[2] * values.shape[3] <= IN_ONE_GO:
        total = values.sum((2, 3), keepdim=True)
    else:
        total = values.sum(3, keepdim=True).sum(2, keepdim=True)
    return total if per_image else total.sum(0, keepdim=True)


def both_sums(hole: Tensor, in_hole: Tensor, in_rest: Tensor, per_image: bool) -> Tensor:
    """Sums over the hole and over the rest, (2, …)."""
    sums = _sum_positions(hole * in_hole, per_image), _sum_positions((1 - hole) * in_rest, per_image)
    return torch.stack(sums)


def _anchors(x: Tensor, hole: Tensor, per_image: bool) -> Tensor:
    """One value of each channel from each region, (2, …), about which sums of squares do not cancel."""
    channels, positions = x.shape[1], x.shape[2] * x.shape[3]
    flat = hole.flatten(2)
    if per_image:
        places = torch.stack((flat.argmax(-1), flat.argmin(-1))).unsqueeze(-1).expand(-1, -1, channels, -1)
        return x.flatten(2).expand(2, -1, -1, -1).gather(-1, places).unsqueeze(-1)
    places = torch.stack((flat.flatten().argmax(), flat.flatten().argmin()))
    return x.flatten(2)[places // positions, :, places % positions].reshape(2, 1, channels, 1, 1)


def region_statistics(x: Tensor, hole: Tensor, rules: Rules) -> Regions:
    """Statistics of both regions of maps (B, C, H, W); ``hole`` (B, 1, H, W) is 1 in the hole."""
    ones = torch.ones_like(hole)
    size = both_sums(hole, ones, ones, rules.per_image)
    some = size.clamp(min=1)
    anchor = settle(_anchors(x.detach(), hole, rules.per_image))
    from_hole, from_rest = x - anchor[HOLE], x - anchor[VALID]
    offset = both_sums(hole, from_hole, from_rest, rules.per_image) / some
    square = both_sums(hole, from_hole.square(), from_rest.square(), rules.per_image) / some
    variance = (square - offset.square()).clamp(min=0)
    eps = rules.eps if rules.fixed_eps else rules.eps * size.sum(0, keepdim=True) / some
    present = size > 0
    inverse = settle(torch.where(present, (variance + eps).rsqrt(), 0))
    return Regions(size, settle(torch.where(present, anchor + offset, 0)), inverse)


class _RegionNorm(torch.autograd.Function):
    """The normalised regions, with optional gain 1+γ_r and shift, and exact backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, hole: Tensor, rules: Rules, gamma: Tensor | None, shift: Tensor | None) -> Tensor:
        regions = region_statistics(x, hole, rules)
        ctx.save_for_backward(x, hole, gamma, *regions)
        ctx.rules, ctx.shifts = rules, 0 if shift is None else shift.shape[0]
        scale = regions.inverse if gamma is None else settle(regions.inverse * (1 + gamma))
        core = (x - pick(hole, regions.mean)) * pick(hole, scale)
        return core if shift is None else core + pick(hole, shift)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # batch normalization's, region by region: (1+γ)·(grad − mean(grad) − core·mean(grad·core))/√(variance + eps/f)
        x, hole, gamma, *saved = ctx.saved_tensors
        regions, per_image = Regions(*saved), ctx.rules.per_image
        sums = both_sums(hole, grad, grad, per_image)
        in_hole, in_rest = grad * (x - regions.mean[HOLE]), grad * (x - regions.mean[VALID])
        by_core = both_sums(hole, in_hole, in_rest, per_image) * regions.inverse
        some = regions.size.clamp(min=1)
        scale = regions.inverse if gamma is None else regions.inverse * (1 + gamma)
        slope = settle(scale * regions.inverse * by_core / some)
        lift, scale = settle(scale * sums / some), settle(scale)
        centred = x - pick(hole, regions.mean)
        grad_x = grad * pick(hole, scale) - pick(hole, lift) - centred * pick(hole, slope)
        if gamma is None:
            return grad_x, None, None, None, None
        by_gamma, by_shift = by_core.sum(1, keepdim=True), sums.sum(1, keepdim=True)
        return grad_x, None, None, by_gamma, by_shift if ctx.shifts == 2 else by_shift.sum(0, keepdim=True)


def blend_regions(x: Tensor, weight: Tensor, rules: Rules) -> Tensor:
    """Blend the normalizations by two overlapping regions with weighted moments.

    With weights of 0 and 1 this equals ``normalize_regions``. It is not in the paper. ``x`` is (B, C, H, W), float32 or
    wider; ``weight`` of the first region is (B, 1, H, W) in [0, 1], the second has the rest.
    """
    blended = torch.zeros_like(x)
    whole = _sum_positions(torch.ones_like(weight), rules.per_image)
    for region in (weight, 1 - weight):
        size = _sum_positions(region, rules.per_image).clamp(min=1e-6)
        centred = x - _sum_positions(region * x, rules.per_image) / size
        variance = _sum_positions(region * centred.square(), rules.per_image) / size
        eps = rules.eps if rules.fixed_eps else rules.eps * whole / size
        blended = blended + region * centred * (variance + eps).rsqrt()
    return blended


def normalize_regions(
    x: Tensor, hole: Tensor, rules: Rules, gamma: Tensor | None = None, shift: Tensor | None = None
) -> Tensor:
    """Normalise hole and rest by their own mean and variance.

    Args:
        x: feature maps, (B, C, H, W), float32 or wider.
        hole: 1 in the hole, 0 elsewhere, (B, 1, H, W), in the type of x.
        rules: eps and pooling.
        gamma: per region, (2, 1, C, 1, 1), given together with ``shift``; None: no affine map.
        shift: per region, or one for all positions, (2 or 1, 1, C, 1, 1).

    Returns:
        (B, C, H, W): (x−μ_r)/√(σ_r²+eps/f_r)·(1+γ_r) + shift in each region r.
    """
    return _RegionNorm.apply(x, hole, rules, gamma, shift)
