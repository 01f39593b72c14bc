"""Nearest neighbours among labelled shots, with the confidence of the vote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from methods.checks import check_choice

CONFIDENCES: tuple[str, ...] = ("farthest", "nearest")


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """Result of the neighbours' vote on each item.

    Attributes:
        labels: the winning class, (N,); of equal votes the lowest.
        distances: distance to the farthest, or nearest, neighbour that voted for it, (N,): smaller is more confident.
    """

    labels: NDArray[np.int64]
    distances: NDArray[np.float64]


def neighbour_count(shots: int, neighbours: int = 0) -> int:
    """Number of voting neighbours: at most the shots of a class.

    ``neighbours`` 0 gives shots//2 + 1.

    Raises:
        ValueError: fewer than one shot, or a negative number.
    """
    if shots < 1 or neighbours < 0:
        raise ValueError(f"KNN: shots must be at least 1 and neighbours at least 0, got {shots} and {neighbours}")
    return min(neighbours, shots) if neighbours else shots // 2 + 1


def vote(
    items: NDArray[np.floating],
    support: NDArray[np.floating],
    support_labels: NDArray[np.integer],
    neighbours: int,
    confidence: str = "farthest",
) -> Votes:
    """Euclidean K-nearest-neighbour vote.

    Args:
        items: (N, D).
        support: labelled shots, (S, D).
        support_labels: (S,), not negative.
        neighbours: K; at most S.
        confidence: agreeing neighbour that measures the distance: ``farthest`` (the released code) or ``nearest``
            (the paper's Algorithm 1 as relayed).

    Raises:
        ValueError: shapes that do not fit, no support, too many neighbours, an unknown confidence.
    """
    if items.ndim != 2 or support.ndim != 2 or items.shape[1] != support.shape[1]:
        raise ValueError(f"KNN: items and support must share a width, got {items.shape} and {support.shape}")
    if support_labels.shape != support.shape[:1]:
        raise ValueError(f"KNN: {support.shape[0]} support rows have labels of {support_labels.shape}")
    if not 1 <= neighbours <= support.shape[0]:
        raise ValueError(f"KNN: neighbours must lie in 1..{support.shape[0]}, got {neighbours}")
    check_choice("KNN", "confidence", confidence, CONFIDENCES)
    if items.shape[0] == 0:
        return Votes(np.empty(0, np.int64), np.empty(0))
    wide = (torch.from_numpy(np.array(values, dtype=np.float64)) for values in (items, support))
    distances = torch.cdist(*wide, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :neighbours]
    reach = np.take_along_axis(distances, nearest, axis=1)
    voted = support_labels.astype(np.int64)[nearest]
    counts = (voted[:, :, None] == np.arange(voted.max() + 1)).sum(axis=1)
    winner = counts.argmax(axis=1)
    agrees = voted == winner[:, None]
    if confidence == "farthest":
        return Votes(winner, np.where(agrees, reach, -np.inf).max(axis=1))
    return Votes(winner, np.where(agrees, reach, np.inf).min(axis=1))
