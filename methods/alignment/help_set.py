"""The help set of KNN-MMD: target items labelled by their nearest shots.

No function here takes a hidden label unless the caller sets ``oracle_labels=True``: the arm that measures
the gain of the released code's default mode from the true labels of test items.
"""

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from methods.checks import check_choice


@dataclass(frozen=True, slots=True, eq=False)
class TargetSplit:
    """Places of a target domain's items: shots class by class (C·k,), and items of recordings without a shot.

    Others are dropped: one second of a recording resembles the next too much to be scored.
    """

    support: NDArray[np.int64]
    rest: NDArray[np.int64]


def choose_support(
    labels: NDArray[np.integer], recordings: Sequence[Hashable], shots: int, generator: np.random.Generator
) -> TargetSplit:
    """Draw ``shots`` items of every class, each from a different recording.

    Only the drawn items' ``labels`` (N,) may be used afterwards. ``generator`` is of the stream ``split``.

    Raises:
        ValueError: lengths that do not fit, or a class with fewer than k recordings (one with none left to score).
    """
    if len(recordings) != len(labels) or shots < 1:
        raise ValueError(
            f"support set: {len(labels)} labels, {len(recordings)} recordings, {shots} shots: one recording a label "
            "and at least one shot are needed"
        )
    names = {name: number for number, name in enumerate(dict.fromkeys(recordings))}
    recording = np.array([names[name] for name in recordings])
    support: list[int] = []
    used: set[int] = set()
    for label in np.unique(labels):
        places = generator.permutation(np.flatnonzero(labels == label))
        chosen: list[int] = []
        for place in places:
            if len(chosen) < shots and int(recording[place]) not in used:
                chosen.append(int(place))
                used.add(int(recording[place]))
        if len(chosen) < shots:
            raise ValueError(f"support set: class {label} has {len(chosen)} separate recordings, needs {shots}")
        support += chosen
    taken = np.isin(recording, list(used))
    return TargetSplit(np.array(support, dtype=np.int64), np.flatnonzero(~taken))


CONFIDENCES: tuple[str, ...] = ("farthest", "nearest")


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """The winning class of each item (N,), of equal votes the lowest, and its distance (smaller is surer)."""

    labels: NDArray[np.int64]
    distances: NDArray[np.float64]


def neighbour_count(shots: int, neighbours: int = 0) -> int:
    """Number of voting neighbours, at most the shots of a class; 0 gives shots//2 + 1."""
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
    """Euclidean K-nearest-neighbour vote of the shots (S, D) on items (N, D).

    ``confidence`` is the agreeing neighbour that measures the distance: ``farthest`` (the released code) or ``nearest``
    (the paper's Algorithm 1 as relayed). ValueError: shapes or options that do not fit.
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


MODES: tuple[int, ...] = (0, 1, 2)
SPECTRAL_MARGIN = 1


@dataclass(frozen=True, slots=True, eq=False)
class HelpSet:
    """Places (H,) of target items, their assigned classes (H,), and the KNN's class for every item (R,)."""

    places: NDArray[np.int64]
    labels: NDArray[np.int64]
    votes: NDArray[np.int64]


def umap_init(items: int, dimensions: int) -> str:
    """``spectral``, or ``random`` if UMAP lacks d + 1 eigenvectors."""
    return "random" if dimensions >= items - SPECTRAL_MARGIN else "spectral"


def reduce(features: NDArray[np.floating], *, dimensions: int = 128, random_state: int) -> NDArray[np.float32]:
    """Reduce N ≥ 3 flat items (N, D) to (N, dimensions) by UMAP (arXiv 1802.03426), fitted on them alone.

    Raises:
        ValueError: fewer than three items or dimensions below 1.
        ModuleNotFoundError: umap-learn is not installed.
    """
    if features.ndim != 2 or features.shape[0] < 3 or dimensions < 1:
        raise ValueError(
            f"UMAP: features must be (items, width) with 3 items or more and dimensions 1 or more, "
            f"got {features.shape} and {dimensions}"
        )
    import umap

    reducer = umap.UMAP(
        n_components=dimensions,
        n_neighbors=min(15, features.shape[0] - 1),
        init=umap_init(features.shape[0], dimensions),
        random_state=random_state,
        n_jobs=1,
    )
    with warnings.catch_warnings():
        # A seed makes UMAP run on one thread and warn each time.
        warnings.filterwarnings("ignore", category=UserWarning, module="umap")
        values = reducer.fit_transform(np.ascontiguousarray(features))
    return np.asarray(values, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class HelpSetOptions:
    """Selection of a help set.

    Attributes:
        share: p, the share of items to keep, in (0, 1].
        mode: 0: ⌊R·p/C⌋ of each predicted class at most; 1: the ⌊R·p⌋ surest of all; 2: the surest p of each
            predicted class.
        neighbours: number of voting neighbours, capped at the shots a class; 0: shots//2 + 1.
        confidence: ``farthest`` agreeing neighbour (released) or ``nearest`` (paper, as relayed).
        oracle_labels: True attaches the true labels, as the released code's mode 1 does: a leak, only for the arm
            that measures it. The selection stays the KNN's.
    """

    share: float = 0.5
    mode: int = 0
    neighbours: int = 0
    confidence: str = "farthest"
    oracle_labels: bool = False

    def __post_init__(self) -> None:
        check_choice("help set", "mode", self.mode, MODES)
        check_choice("help set", "confidence", self.confidence, CONFIDENCES)
        if not 0 < self.share <= 1:
            raise ValueError(f"help set: share must lie in (0, 1], got {self.share}")


def make_help_set(
    embedding: NDArray[np.floating],
    support: NDArray[np.floating],
    support_labels: NDArray[np.integer],
    classes: int,
    options: HelpSetOptions | None = None,
    *,
    hidden_labels: NDArray[np.integer] | None = None,
) -> HelpSet:
    """Label items by their nearest shots and keep the most confident.

    Args:
        embedding: the items that are not shots, (R, d); the released pipeline reduces all target items first.
        support, support_labels: the shots in the same space, (S, d), and their classes, (S,).
        hidden_labels: the items' true classes, (R,); accepted only with ``oracle_labels=True``.

    Raises:
        ValueError: shapes that do not fit, hidden labels without ``oracle_labels`` or the reverse.
    """
    options = HelpSetOptions() if options is None else options
    if options.oracle_labels != (hidden_labels is not None):
        raise ValueError(
            "help set: hidden_labels require oracle_labels=True and the reverse: got oracle_labels="
            f"{options.oracle_labels} {'with' if hidden_labels is not None else 'without'} hidden labels"
        )
    shots = int(np.bincount(np.asarray(support_labels, dtype=np.int64), minlength=classes).max())
    voting = neighbour_count(shots, options.neighbours)
    votes = vote(embedding, support, support_labels, voting, options.confidence)
    places = _surest(votes, classes, options)
    labels = votes.labels[places]
    if hidden_labels is not None:
        if hidden_labels.shape != votes.labels.shape:
            raise ValueError(f"help set: {votes.labels.shape[0]} items have hidden labels of {hidden_labels.shape}")
        labels = np.asarray(hidden_labels, dtype=np.int64)[places]
    return HelpSet(places, labels, votes.labels)


def _surest(votes: Votes, classes: int, options: HelpSetOptions) -> NDArray[np.int64]:
    order, share = np.argsort(votes.distances, kind="stable"), options.share
    if options.mode == 1:
        return order[: int(len(order) * share)]
    kept = []
    for label in range(classes):
        members = order[votes.labels[order] == label]
        quota = int(len(order) * share / classes) if options.mode == 0 else int(len(members) * share)
        kept.append(members[:quota])
    return np.concatenate(kept)


def corrupt_labels(
    labels: NDArray[np.int64], share: float, classes: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Replace a share of the labels (H,) by other classes; ValueError: below two classes or no share."""
    if not 0 <= share <= 1 or classes < 2:
        raise ValueError(f"help set: corrupt a share in [0, 1] of two classes or more, got {share} and {classes}")
    corrupted = labels.copy()
    places = generator.permutation(len(labels))[: round(share * len(labels))]
    corrupted[places] = (labels[places] + generator.integers(1, classes, size=len(places))) % classes
    return corrupted
