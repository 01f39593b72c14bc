"""SSD's matching, loss and detections (Liu et al., SSD, ECCV 2016, sections 2.2 and 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_convert, box_iou, nms

from suites.tasks.centre_points import Detection, Target

MATCH, NEGATIVES, DOUBLES = 0.5, 3, 0.45
# divisors of the offsets, as in the published code
VARIANCES = (0.1, 0.2)
LEAST_SCORE, CANDIDATES = 0.01, 200


def match(defaults: Tensor, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Match default boxes (A, 4) with true ones: class (A,) and box (A, 4).

    Default boxes are centre and size, true ones (M, 4) corners. Class 0 is background. Every true box has its best
    default box, and further ones overlapping it by over a half.
    """
    if not len(boxes):
        return torch.zeros(len(defaults), dtype=torch.long, device=defaults.device), _corners(defaults)
    shared = box_iou(_corners(defaults), boxes)
    best, which = shared.max(dim=1)
    favourite = shared.argmax(dim=0)
    best[favourite], which[favourite] = 2.0, torch.arange(len(boxes), device=defaults.device)
    classes = torch.where(best > MATCH, labels[which] + 1, torch.zeros_like(which))
    return classes, boxes[which]


def encode(boxes: Tensor, defaults: Tensor) -> Tensor:
    """Offsets (A, 4) from default boxes to corner boxes (equation 2)."""
    wanted = box_convert(boxes, "xyxy", "cxcywh")
    place = (wanted[..., :2] - defaults[..., :2]) / defaults[..., 2:] / VARIANCES[0]
    return torch.cat([place, (wanted[..., 2:] / defaults[..., 2:]).clamp_min(1e-6).log() / VARIANCES[1]], dim=-1)


def decode(offsets: Tensor, defaults: Tensor) -> Tensor:
    """Corners (…, A, 4) of offsets: the inverse of ``encode``."""
    place = defaults[..., :2] + offsets[..., :2] * VARIANCES[0] * defaults[..., 2:]
    size = defaults[..., 2:] * (offsets[..., 2:] * VARIANCES[1]).clamp(max=5.0).exp()
    return _corners(torch.cat([place, size], dim=-1))


def loss(outputs: tuple[Tensor, Tensor], boxes: Sequence[Target], defaults: Tensor, size: int) -> Tensor:
    """Cross-entropy with the hardest three negatives plus smooth L1, per positive."""
    logits, offsets = outputs
    matched = [match(defaults, corner.to(logits.device) / size, label.to(logits.device)) for corner, label in boxes]
    classes = torch.stack([classes_of for classes_of, _ in matched])
    wanted = encode(torch.stack([box for _, box in matched]), defaults)
    positive = classes > 0
    count = positive.sum().clamp_min(1)
    # A mask, not an index: an index would make the device wait for the count.
    away = F.smooth_l1_loss(offsets, wanted, reduction="none")
    places = torch.where(positive[..., None], away, 0.0).sum()
    each = F.cross_entropy(logits.flatten(0, 1), classes.flatten(), reduction="none").view_as(classes)
    hardness = each.detach().masked_fill(positive, -torch.inf)
    rank = hardness.argsort(dim=1, descending=True, stable=True).argsort(dim=1, stable=True)
    # An image without boxes still trains the background, with a few of its hardest negatives.
    quota = (NEGATIVES * positive.sum(dim=1)).clamp_min(NEGATIVES)
    chosen = positive | ((rank < quota[:, None]) & ~positive)
    return (places + torch.where(chosen, each, 0.0).sum()) / count


def suppress(boxes: Tensor, scores: Tensor, classes: Tensor, threshold: float) -> Tensor:
    """Non-maximum suppression per class; indices of kept boxes, best first.

    ``threshold`` is the largest overlap with a better box of the class.
    """
    # Not torchvision's batched_nms: it separates the classes by an offset, which rounds the corners.
    kept = torch.zeros_like(classes, dtype=torch.bool)
    for label in classes.unique():
        places = (classes == label).nonzero()[:, 0]
        kept[places[nms(boxes[places], scores[places], threshold)]] = True
    order = scores.argsort(descending=True, stable=True)
    return order[kept[order]]


def detect(outputs: tuple[Tensor, Tensor], defaults: Tensor, most: int, size: int) -> list[Detection]:
    """Boxes (K, 4) in pixels, scores and classes per image, best first."""
    logits, offsets = outputs
    scores = logits.softmax(dim=-1)[..., 1:]
    boxes = decode(offsets, defaults) * size
    classes = scores.shape[-1]
    detections = []
    for image in range(len(scores)):
        flat = scores[image].flatten()
        best, place = flat.topk(min(CANDIDATES, len(flat)))
        place, best = place[best > LEAST_SCORE], best[best > LEAST_SCORE]
        box, label = boxes[image, place // classes], place % classes
        kept = suppress(box, best, label, DOUBLES)[:most]
        detections.append((box[kept], best[kept], label[kept]))
    return detections


def _corners(boxes: Tensor) -> Tensor:
    """Centre and size (…, 4) as left, top, right, bottom."""
    return box_convert(boxes, "cxcywh", "xyxy")
