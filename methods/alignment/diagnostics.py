"""Diagnostics of alignment from the target's true labels, for evaluation only."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.alignment.mk_mmd import SIGMAS, class_mk_mmd


def purity(labels: NDArray[np.integer], true_labels: NDArray[np.integer]) -> float:
    """Share of correct help-set labels (H,), in [0, 1] (ValueError if empty or unequal)."""
    if labels.shape != true_labels.shape or labels.size == 0:
        raise ValueError(
            f"purity: the lists must be non-empty and of one length, got {labels.shape} and {true_labels.shape}"
        )
    return float((labels == true_labels).mean())


class ClassAlignment(NamedTuple):
    """MK-MMD of each class (C,) between domains, NaN if absent; ``floor``: between halves of the source."""

    mmd: Tensor
    floor: Tensor


def class_alignment(
    source: Tensor,
    source_labels: Tensor,
    target: Tensor,
    target_labels: Tensor,
    classes: int,
    *,
    seed: int = 0,
    sigmas: Sequence[float] = SIGMAS,
) -> ClassAlignment:
    """Per-class MK-MMD with its split-half floor, without gradient.

    The floor is comparable only if classes (labels (N,), (M,) of embeddings (N, F), (M, F)) are of similar size.
    """
    with torch.no_grad():
        between = class_mk_mmd(source, source_labels, target, target_labels, classes, sigmas)
        order = torch.randperm(source.shape[0], generator=torch.Generator().manual_seed(seed)).to(source.device)
        shuffled, labels = source[order], source_labels[order]
        member = labels[:, None] == torch.arange(classes, device=labels.device)
        # Every second item of a class, in random order: halves of equal size class by class.
        place = (member.cumsum(dim=0) - 1).gather(1, labels[:, None]).squeeze(1)
        first = place % 2 == 0
        if not bool((~first).any()):
            return ClassAlignment(_where(between.values, between.present), torch.full_like(between.values, torch.nan))
        halves = class_mk_mmd(shuffled[first], labels[first], shuffled[~first], labels[~first], classes, sigmas)
    return ClassAlignment(_where(between.values, between.present), _where(halves.values, halves.present))


def _where(values: Tensor, present: Tensor) -> Tensor:
    return torch.where(present, values, torch.nan)


def misaligned_share(
    source: Tensor, source_labels: Tensor, target: Tensor, target_labels: Tensor, classes: int
) -> float:
    """Share of target class centroids nearest to another class's source centroid; NaN without common classes."""
    with torch.no_grad():
        ours, in_source = _centroids(source, source_labels, classes)
        theirs, in_target = _centroids(target, target_labels, classes)
        both = in_source & in_target
        if not bool(both.any()):
            return float("nan")
        distances = torch.cdist(theirs, ours).masked_fill(~in_source[None, :], torch.inf)
        nearest = distances.argmin(dim=1)
        wrong = nearest != torch.arange(classes, device=nearest.device)
        return float(wrong[both].double().mean())


def _centroids(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    member = (labels[:, None] == torch.arange(classes, device=labels.device)).double()
    counts = member.sum(dim=0)
    return (member.T @ features.double()) / counts.clamp_min(1)[:, None], counts > 0


def fluctuation(values: Sequence[float], last: int = 50) -> float:
    """Standard deviation (n − 1) of the last epochs' values; NaN for fewer than two."""
    tail = np.asarray(values[-last:], dtype=np.float64)
    return float(tail.std(ddof=1)) if tail.size > 1 else float("nan")
