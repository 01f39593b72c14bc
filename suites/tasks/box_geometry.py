"""Boxes as corners (left, top, right, bottom): overlap, suppression of doubles."""

from __future__ import annotations

import torch
from torch import Tensor


def overlaps(left: Tensor, right: Tensor) -> Tensor:
    """(N, M) intersection over union of boxes (N, 4) and (M, 4)."""
    corner = torch.maximum(left[:, None, :2], right[None, :, :2])
    other = torch.minimum(left[:, None, 2:], right[None, :, 2:])
    shared = (other - corner).clamp_min(0).prod(dim=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clamp_min(0).prod(dim=1) for boxes in (left, right)]
    return shared / (areas[0][:, None] + areas[1][None] - shared).clamp_min(1e-9)


def corners(boxes: Tensor) -> Tensor:
    """Centre and size (…, 4) to corners."""
    half = boxes[..., 2:] / 2
    return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], dim=-1)


def centred(boxes: Tensor) -> Tensor:
    """Corners (…, 4) to centre and size."""
    return torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], dim=-1)


def suppress(boxes: Tensor, scores: Tensor, classes: Tensor, threshold: float) -> Tensor:
    """Places of the boxes kept, best first: greedily, within each class, none that overlaps a better one by more.

    Args:
        boxes: (N, 4).
        scores, classes: (N,).
        threshold: largest overlap that is kept.
    """
    order = scores.argsort(descending=True, stable=True)
    # Host-side greedy pass over one matrix: a few hundred candidates an image.
    rival = (overlaps(boxes[order], boxes[order]) > threshold) & (classes[order][:, None] == classes[order][None])
    rivals = rival.cpu().numpy()
    alive = [True] * len(order)
    kept = []
    for place in range(len(order)):
        if alive[place]:
            kept.append(place)
            for later in rivals[place, place + 1 :].nonzero()[0]:
                alive[place + 1 + int(later)] = False
    return order[torch.tensor(kept, dtype=torch.long, device=order.device)]
