"""CenterNet's targets, loss and detections (Zhou et al., arXiv 1904.07850)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# Weights of sizes and offsets relative to the heat map's loss, and the overlap below which a centre is not near.
SIZE_WEIGHT, OFFSET_WEIGHT, NEAR = 0.1, 1.0, 0.7
ALPHA, BETA = 2, 4

Target = tuple[Tensor, Tensor]
Detection = tuple[Tensor, Tensor, Tensor]


def radius(height: float, width: float, least: float = NEAR) -> float:
    """Largest corner shift that keeps an overlap of ``least`` with the box.

    The smallest of three cases (Law & Deng 2018, section 3.2), each as the exact root of its quadratic: both corners
    move inwards, outwards, or the same way.
    """
    total, area = height + width, height * width
    same = (total - math.sqrt(total**2 - 4 * area * (1 - least) / (1 + least))) / 2
    inwards = (total - math.sqrt(total**2 - 4 * area * (1 - least))) / 4
    outwards = (math.sqrt((least * total) ** 2 + 4 * least * area * (1 - least)) - least * total) / (4 * least)
    return max(0.0, min(same, inwards, outwards))


def targets(boxes: Sequence[Target], classes: int, side: int, stride: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Targets of a batch of images: heat maps, places, sizes, offsets.

    Heat maps are (B, classes, side, side) with Gaussian bumps of height 1. Per box (M, 4) in pixels: places (K, 3)
    image, row, column; sizes (K, 2) in map positions of ``stride`` pixels; offsets (K, 2) of the centre within its
    position, x first.
    """
    heat = torch.zeros(len(boxes), classes, side, side)
    places, sizes, offsets = [], [], []
    grid = torch.arange(side, dtype=torch.float32)
    for image, (corners, labels) in enumerate(boxes):
        for box, label in zip((corners / stride).tolist(), labels.tolist(), strict=True):
            width, height = box[2] - box[0], box[3] - box[1]
            x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            column, row = min(int(x), side - 1), min(int(y), side - 1)
            deviation = max(radius(math.ceil(height), math.ceil(width)), 1.0) / 3 + 1 / 6
            bump = torch.exp(-((grid[None] - column) ** 2 + (grid[:, None] - row) ** 2) / (2 * deviation**2))
            heat[image, label] = torch.maximum(heat[image, label], bump)
            places.append((image, row, column))
            sizes.append((width, height))
            offsets.append((x - column, y - row))
    numbers = torch.tensor(places, dtype=torch.long).view(-1, 3)
    return heat, numbers, torch.tensor(sizes).view(-1, 2), torch.tensor(offsets).view(-1, 2)


def focal(logits: Tensor, heat: Tensor) -> Tensor:
    """Penalty-reduced focal loss of heat map logits per centre (equation 1)."""
    log_p, log_n = F.logsigmoid(logits), F.logsigmoid(-logits)
    share = logits.sigmoid()
    centre = heat == 1
    # A mask, not an index: an index would make the device wait for the count.
    hits = torch.where(centre, (1 - share) ** ALPHA * log_p, 0.0).sum()
    misses = torch.where(centre, 0.0, (1 - heat) ** BETA * share**ALPHA * log_n).sum()
    return -(hits + misses) / centre.sum().clamp_min(1)


def loss(outputs: tuple[Tensor, Tensor, Tensor], boxes: Sequence[Target], stride: int) -> Tensor:
    """Focal loss + 0.1·L1 of sizes + L1 of offsets (equation 4)."""
    logits, sizes, offsets = outputs
    heat, places, wanted_sizes, wanted_offsets = (
        part.to(logits.device) for part in targets(boxes, logits.shape[1], logits.shape[2], stride)
    )
    total = focal(logits, heat)
    if len(places):
        image, row, column = places.T
        count = len(places)
        total = total + SIZE_WEIGHT * (sizes[image, :, row, column] - wanted_sizes).abs().sum() / count
        total = total + OFFSET_WEIGHT * (offsets[image, :, row, column] - wanted_offsets).abs().sum() / count
    return total


def detect(outputs: tuple[Tensor, Tensor, Tensor], most: int, stride: int) -> list[Detection]:
    """Boxes in pixels, scores and classes of each image's highest peaks."""
    logits, sizes, offsets = outputs
    share = logits.sigmoid()
    peaks = share * (F.max_pool2d(share, 3, 1, 1) == share)
    batch, classes, height, width = peaks.shape
    scores, flat = peaks.flatten(1).topk(min(most, classes * height * width), dim=1)
    detections = []
    for image in range(batch):
        label, cell = flat[image] // (height * width), flat[image] % (height * width)
        row, column = cell // width, cell % width
        centre = torch.stack([column, row], dim=1) + offsets[image, :, row, column].T
        half = sizes[image, :, row, column].T.clamp_min(0) / 2
        detections.append((stride * torch.cat([centre - half, centre + half], dim=1), scores[image], label))
    return detections
