"""The help set of KNN-MMD: target items labelled by their nearest shots.

No function here takes a hidden label unless the caller sets ``oracle_labels=True``: the arm that measures
the gain of the released code's default mode from the true labels of test items.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from methods.alignment.neighbours import CONFIDENCES, Votes, neighbour_count, vote
from methods.checks import check_choice

MODES: tuple[int, ...] = (0, 1, 2)
SPECTRAL_MARGIN = 1


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """Target items reduced by UMAP.

    Attributes:
        values: (N, d), float32.
        init: initialisation of UMAP: ``spectral``, or ``random`` if d ≥ N − 1.
        random_state: the seed.
    """

    values: NDArray[np.float32]
    init: str
    random_state: int


@dataclass(frozen=True, slots=True, eq=False)
class HelpSet:
    """Target items used in place of labelled ones.

    Attributes:
        places: their places among the items that are not shots, (H,).
        labels: their assigned classes, (H,).
        votes: the KNN's class for *every* such item, (R,): the method's own baseline.
        mode: 0, 1 or 2.
        oracle: true if ``labels`` are the true ones.
    """

    places: NDArray[np.int64]
    labels: NDArray[np.int64]
    votes: NDArray[np.int64]
    mode: int
    oracle: bool


def umap_init(items: int, dimensions: int) -> str:
    """``spectral``, or ``random`` if UMAP lacks d + 1 eigenvectors."""
    return "random" if dimensions >= items - SPECTRAL_MARGIN else "spectral"


def reduce(features: NDArray[np.floating], *, dimensions: int = 128, random_state: int) -> Embedding:
    """Reduce items to ``dimensions`` by UMAP, fitted on them alone.

    McInnes et al. 2018, arXiv 1802.03426.

    Args:
        features: flattened raw items, (N, D); N ≥ 3.
        dimensions: d.
        random_state: required; the same seed gives the same embedding.

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

    init = umap_init(features.shape[0], dimensions)
    reducer = umap.UMAP(
        n_components=dimensions,
        n_neighbors=min(15, features.shape[0] - 1),
        init=init,
        random_state=random_state,
        n_jobs=1,
    )
    with warnings.catch_warnings():
        # A seed makes UMAP run on one thread and warn each time.
        warnings.filterwarnings("ignore", category=UserWarning, module="umap")
        values = reducer.fit_transform(np.ascontiguousarray(features))
    return Embedding(np.asarray(values, dtype=np.float32), init, random_state)


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

    The released pipeline passes the result of ``reduce`` over all target items.

    Args:
        embedding: the items that are not shots, (R, d).
        support: the shots in the same space, (S, d).
        support_labels: the shots' classes, (S,).
        classes: C.
        options: selection of the set; None: the defaults.
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
    return HelpSet(places, labels, votes.labels, options.mode, options.oracle_labels)


def _surest(votes: Votes, classes: int, options: HelpSetOptions) -> NDArray[np.int64]:
    """Places of the items to keep."""
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
    """Replace a share of the labels by other classes.

    The share, the intervention's dose, is rounded to whole items.

    Args:
        labels: (H,).
        share: of the items, in [0, 1].
        classes: C ≥ 2.
        generator: source of the draws.

    Raises:
        ValueError: a share out of range or fewer than two classes.
    """
    if not 0 <= share <= 1 or classes < 2:
        raise ValueError(f"help set: corrupt a share in [0, 1] of two classes or more, got {share} and {classes}")
    corrupted = labels.copy()
    places = generator.permutation(len(labels))[: round(share * len(labels))]
    corrupted[places] = (labels[places] + generator.integers(1, classes, size=len(places))) % classes
    return corrupted
