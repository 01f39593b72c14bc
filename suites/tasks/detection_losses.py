"""Losses and detections of CenterNet (arXiv 1904.07850) and SSD (ECCV 2016, sections 2.2 and 3)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_convert, box_iou, nms

# Weights of sizes and offsets relative to the heat map's loss, and the overlap below which a centre is not near.
SIZE_WEIGHT, OFFSET_WEIGHT, NEAR = 0.1, 1.0, 0.7
ALPHA, BETA = 2, 4

Target = tuple[Tensor, Tensor]
Detection = tuple[Tensor, Tensor, Tensor]


def radius(height: float, width: float, least: float = NEAR) -> float:
    """Largest corner shift that keeps an overlap of ``least`` with the box (Law & Deng 2018, section 3.2)."""
    total, area = height + width, height * width
    same = (total - math.sqrt(total**2 - 4 * area * (1 - least) / (1 + least))) / 2
    inwards = (total - math.sqrt(total**2 - 4 * area * (1 - least))) / 4
    outwards = (math.sqrt((least * total) ** 2 + 4 * least * area * (1 - least)) - least * total) / (4 * least)
    return max(0.0, min(same, inwards, outwards))


def centre_targets(
    boxes: Sequence[Target], classes: int, side: int, stride: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
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


def centernet_loss(outputs: tuple[Tensor, Tensor, Tensor], boxes: Sequence[Target], stride: int) -> Tensor:
    """Focal loss + 0.1·L1 of sizes + L1 of offsets (equation 4)."""
    logits, sizes, offsets = outputs
    heat, places, wanted_sizes, wanted_offsets = (
        part.to(logits.device) for part in centre_targets(boxes, logits.shape[1], logits.shape[2], stride)
    )
    total = focal(logits, heat)
    if len(places):
        image, row, column = places.T
        count = len(places)
        total = total + SIZE_WEIGHT * (sizes[image, :, row, column] - wanted_sizes).abs().sum() / count
        total = total + OFFSET_WEIGHT * (offsets[image, :, row, column] - wanted_offsets).abs().sum() / count
    return total


def centernet_detections(outputs: tuple[Tensor, Tensor, Tensor], most: int, stride: int) -> list[Detection]:
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


def ssd_loss(outputs: tuple[Tensor, Tensor], boxes: Sequence[Target], defaults: Tensor, size: int) -> Tensor:
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
    """Non-maximum suppression per class above an overlap of ``threshold``; indices of kept boxes, best first."""
    # Not torchvision's batched_nms: it separates the classes by an offset, which rounds the corners.
    kept = torch.zeros_like(classes, dtype=torch.bool)
    for label in classes.unique():
        places = (classes == label).nonzero()[:, 0]
        kept[places[nms(boxes[places], scores[places], threshold)]] = True
    order = scores.argsort(descending=True, stable=True)
    return order[kept[order]]


def ssd_detections(outputs: tuple[Tensor, Tensor], defaults: Tensor, most: int, size: int) -> list[Detection]:
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
