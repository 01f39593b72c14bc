"""Augmentation of whole batches; its random numbers are drawn on the CPU whatever the device."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from harness.trial.options import option

AUGMENTATIONS = ("none", "shift", "crop-flip", "imagenet", "flip")


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentOptions:
    """Options of the augmentation of training images."""

    augment: str = option("none", "augmentation of training images", choices=AUGMENTATIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class MixingOptions(AugmentOptions):
    """Options of the augmentation and mixing of training images."""

    cutmix: float = option(0.0, "α of CutMix; 0: off", low=0)
    mixup: float = option(0.0, "α of mixup; 0: off", low=0)
    mix_probability: float = option(1.0, "share of mixed batches", low=0, high=1)

    @property
    def mixes(self) -> bool:
        return self.cutmix > 0 or self.mixup > 0


def augment(images: Tensor, kind: str, generator: Generator) -> Tensor:
    """Augmented copies of (B, C, H, W) images.

    ``shift`` moves by up to an eighth of the side, ``crop-flip`` crops from four pixels of padding and mirrors half of
    them (He et al. 2016, section 4.2), ``imagenet`` crops 8–100 % of the area at an aspect of 3/4–4/3, resizes and
    mirrors half (Szegedy et al. 2015), ``flip`` only mirrors half: for photographs, not for letters or digits.
    Another ``kind`` raises ValueError.
    """
    if kind == "none":
        return images
    if kind == "shift":
        return translate(images, max(1, images.shape[-1] // 8), generator)
    if kind == "crop-flip":
        return mirror(translate(images, 4, generator), generator)
    if kind == "imagenet":
        return mirror(resized_crop(images, generator), generator)
    if kind == "flip":
        return mirror(images, generator)
    raise ValueError(f"unknown augmentation '{kind}'; valid: {', '.join(AUGMENTATIONS)}")


def translate(images: Tensor, most: int, generator: Generator) -> Tensor:
    """Move images by up to ``most`` pixels on each axis, zero padded."""
    batch, _, height, width = images.shape
    moves = torch.randint(0, 2 * most + 1, (2, batch), generator=generator).to(images.device)
    padded = F.pad(images, (most, most, most, most))
    rows = moves[0, :, None] + torch.arange(height, device=images.device)
    columns = moves[1, :, None] + torch.arange(width, device=images.device)
    items = torch.arange(batch, device=images.device)[:, None, None]
    # Indexing moves the channels last: (B, H, W, C).
    return padded[items, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def mirror(images: Tensor, generator: Generator) -> Tensor:
    """Mirror each image left to right with probability one half."""
    flipped = mirrored(images.shape[0], generator).to(images.device)
    return torch.where(flipped[:, None, None, None], images.flip(-1), images)


def mirrored(batch: int, generator: Generator) -> Tensor:
    """Draw a mask (B,) of images to mirror, with probability one half."""
    return torch.rand(batch, generator=generator) < 0.5


def crop_boxes(batch: int, generator: Generator) -> Tensor:
    """Random boxes (B, 4) as shares: top, left, height, width; area 8–100 %, aspect 3/4–4/3, cut to the image."""
    area = torch.empty(batch).uniform_(0.08, 1.0, generator=generator)
    aspect = torch.empty(batch).uniform_(math.log(3 / 4), math.log(4 / 3), generator=generator).exp()
    width = (area * aspect).sqrt().clamp(max=1.0)
    height = (area / aspect).sqrt().clamp(max=1.0)
    place = torch.rand(2, batch, generator=generator)
    return torch.stack([place[0] * (1 - height), place[1] * (1 - width), height, width], dim=1)


def resized_crop(images: Tensor, generator: Generator) -> Tensor:
    """Resize a random box of each image (``crop_boxes``) to the whole image."""
    return enlarged(images, crop_boxes(images.shape[0], generator), padding="reflection")


def enlarged(images: Tensor, boxes: Tensor, padding: str) -> Tensor:
    """Resize boxes (B, 4: top, left, height, width as shares) of images bilinearly to the whole image."""
    top, left, height, width = boxes.to(images.device, images.dtype).unbind(1)
    zero = torch.zeros_like(top)
    # affine_grid maps the output's [-1, 1] to the box: scale by its size, shift to its centre.
    rows = ([width, zero, 2 * left + width - 1], [zero, height, 2 * top + height - 1])
    matrix = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def mix_batch(images: Tensor, generator: Generator, options: MixingOptions) -> tuple[Tensor, Tensor, float]:
    """Apply CutMix or mixup with a shuffled copy of the batch (B, C, H, W).

    CutMix draws the kept area from Beta(α, α) (Yun et al. 2019), mixup the weight (Zhang et al. 2018). With both on, a
    coin decides; with both off nothing is drawn. The number of draws does not depend on the outcome. Returns the mixed
    images, the partner (B,) of each item, and the weight of each item's own label.
    """
    if not options.mixes:
        return images, torch.arange(len(images), device=images.device), 1.0
    coins = torch.rand(2, generator=generator)
    partner = torch.randperm(images.shape[0], generator=generator).to(images.device)
    use_cutmix = options.cutmix > 0 and (options.mixup <= 0 or bool(coins[1] < 0.5))
    alpha = options.cutmix if use_cutmix else options.mixup
    weight = float(np.random.default_rng(int(torch.randint(0, 2**62, (1,), generator=generator))).beta(alpha, alpha))
    centre = torch.rand(2, generator=generator)
    if bool(coins[0] >= options.mix_probability):
        return images, partner, 1.0
    if not use_cutmix:
        return images * weight + images[partner] * (1 - weight), partner, weight
    height, width = images.shape[-2:]
    side = math.sqrt(1 - weight)
    rows = _interval(float(centre[0]), side, height)
    columns = _interval(float(centre[1]), side, width)
    mixed = images.clone()
    mixed[:, :, rows, columns] = images[partner][:, :, rows, columns]
    pasted = (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
    return mixed, partner, 1 - pasted


def _interval(centre: float, side: float, length: int) -> slice:
    middle, half = int(centre * length), int(side * length) // 2
    return slice(max(0, middle - half), min(length, middle + half))
