"""What the region norms share: masks, per-region statistics, and the exact backward of the normalization.

Region 0 is the hole (mask 1), region 1 the rest. Sums run over the batch and both spatial dimensions
(``per_image``: over the spatial dimensions alone); per-region tensors are (2, 1, C, 1, 1) or (2, B, C, 1, 1).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

HOLE, VALID = 0, 1


def check_image(name: str, x: Tensor, channels: int) -> None:
    """Refuse anything but (B, C, H, W) (ValueError)."""
    if x.dim() != 4 or x.shape[1] != channels:
        raise ValueError(f"{name}: expected feature maps (B, {channels}, H, W), got {tuple(x.shape)}")


def hole_mask(name: str, mask: Tensor, x: Tensor) -> Tensor:
    """A mask at the resolution of a feature map.

    Args:
        name: the norm, for the message.
        mask: (B or 1, 1, H', W') or without the second dimension; positive or true = hole.
        x: the feature map, (B, C, H, W).

    Returns:
        Boolean (B, 1, H, W), resized with nearest (position ⌊i·H'/H⌋).

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
    return (mask > 0).expand(x.shape[0], -1, -1, -1)


class Rules(NamedTuple):
    """How regions are normalised.

    Attributes:
        eps: added to the variance.
        fixed_eps: whether it is added as it is; otherwise eps/f, f the region's share of all positions.
        per_image: whether statistics are taken image by image instead of over the batch.
    """

    eps: float
    fixed_eps: bool
    per_image: bool


class Regions(NamedTuple):
    """Statistics of both regions, in float32 or wider.

    Attributes:
        size: number of positions, (2, 1 or B, 1, 1, 1).
        mean: (2, 1 or B, C, 1, 1); 0 in an empty region.
        inverse: 1/√(variance + eps/f), likewise; 0 in an empty region.
    """

    size: Tensor
    mean: Tensor
    inverse: Tensor


def _axes(per_image: bool) -> tuple[int, ...]:
    return (2, 3) if per_image else (0, 2, 3)


def both_sums(values: Tensor, inside: Tensor, per_image: bool) -> Tensor:
    """Sums of (B, C, H, W) over the hole and over the rest, (2, 1 or B, C or 1, 1, 1)."""
    axes = _axes(per_image)
    hole = torch.where(inside, values, 0).sum(axes, keepdim=True)
    return torch.stack((hole, torch.where(inside, 0, values).sum(axes, keepdim=True)))


def _anchors(x: Tensor, inside: Tensor, per_image: bool) -> Tensor:
    """One value of each channel from within each region, (2, 1 or B, C, 1, 1).

    Sums of squares about it do not cancel, however far the region's mean lies from 0, in one pass.
    """
    channels = x.shape[1]
    flat = inside.flatten(2).to(torch.uint8)
    if per_image:
        places = torch.stack((flat.argmax(-1), (1 - flat).argmax(-1))).expand(-1, -1, 1)
        picked = x.flatten(2).expand(2, -1, -1, -1).gather(-1, places.unsqueeze(-1).expand(-1, -1, channels, -1))
        return picked.unsqueeze(-1)
    flat = flat.flatten()
    places = torch.stack((flat.argmax(), (1 - flat).argmax()))
    positions = x.shape[2] * x.shape[3]
    picked = x.flatten(2)[places // positions, :, places % positions]
    return picked.reshape(2, 1, channels, 1, 1)


def region_statistics(x: Tensor, inside: Tensor, rules: Rules) -> Regions:
    """Size, mean and inverse deviation of both regions.

    Args:
        x: feature maps, (B, C, H, W), float32 or wider.
        inside: true in the hole, (B, 1, H, W).
        rules: eps and pooling.

    Returns:
        The statistics; an empty region has mean and inverse deviation 0.
    """
    size = both_sums(inside.new_ones((), dtype=x.dtype).expand(inside.shape), inside, rules.per_image)
    some = size.clamp(min=1)
    anchor = _anchors(x, inside, rules.per_image)
    centred = x - torch.where(inside, anchor[HOLE], anchor[VALID])
    offset = both_sums(centred, inside, rules.per_image) / some
    variance = (both_sums(centred.square(), inside, rules.per_image) / some - offset.square()).clamp(min=0)
    eps = rules.eps if rules.fixed_eps else rules.eps * size.sum(0, keepdim=True) / some
    present = size > 0
    inverse = torch.where(present, (variance + eps).rsqrt(), 0)
    return Regions(size, torch.where(present, anchor + offset, 0), inverse)


def pick(inside: Tensor, pair: Tensor) -> Tensor:
    """Each position's value of a per-region pair (2, …)."""
    return torch.where(inside, pair[HOLE], pair[VALID])


def core_backward(
    grad: Tensor, core: Tensor, inside: Tensor, regions: Regions, sums: Tensor, by_core: Tensor
) -> Tensor:
    """Exact gradient of the normalization without affine map, as of batch normalization, region by region.

    Args:
        grad: gradient of the normalised maps, (B, C, H, W).
        core: the normalised maps.
        inside: true in the hole, (B, 1, H, W).
        regions: the statistics of the forward pass.
        sums: sums of ``grad`` over each region.
        by_core: sums of ``grad·core`` over each region.

    Returns:
        Gradient of the feature maps: (grad − mean(grad) − core·mean(grad·core))/√(variance + eps/f).
    """
    some = regions.size.clamp(min=1)
    mean, slope = pick(inside, sums / some), pick(inside, by_core / some)
    return (grad - mean - core * slope) * pick(inside, regions.inverse)


class _RegionCore(torch.autograd.Function):
    """Both regions normalised, without affine map."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, inside: Tensor, rules: Rules) -> Tensor:
        regions = region_statistics(x, inside, rules)
        ctx.save_for_backward(x, inside, *regions)
        ctx.rules = rules
        return (x - pick(inside, regions.mean)) * pick(inside, regions.inverse)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, inside, *saved = ctx.saved_tensors
        regions = Regions(*saved)
        core = (x - pick(inside, regions.mean)) * pick(inside, regions.inverse)
        sums = both_sums(grad, inside, ctx.rules.per_image)
        by_core = both_sums(grad * core, inside, ctx.rules.per_image)
        return core_backward(grad, core, inside, regions, sums, by_core), None, None


def normalize_regions(x: Tensor, inside: Tensor, rules: Rules) -> Tensor:
    """Normalise hole and rest by their own mean and variance, without affine map.

    Args:
        x: feature maps, (B, C, H, W), float32 or wider.
        inside: true in the hole, (B, 1, H, W).
        rules: eps and pooling.

    Returns:
        (B, C, H, W): (x−μ_r)/√(σ_r²+eps/f_r) in each region r, differentiable in x.
    """
    return _RegionCore.apply(x, inside, rules)
