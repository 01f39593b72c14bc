"""Predictors without training: nearest shots by three features, and the majority.

``knn-static`` sees no motion, ``knn-motion`` only motion. If the static one wins, a KNN on raw items
reads the recording session, not the action.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from methods.alignment.help_set import neighbour_count, vote
from methods.checks import check_choice
from methods.metadata import MethodMetadata

FEATURES: tuple[str, ...] = ("raw", "static", "motion")


def item_features(items: NDArray[np.floating], kind: str) -> NDArray[np.float64]:
    """Flat features (N, D) of items (N, …, T, S) with last axes time and subcarrier.

    ``raw``: unchanged; ``static``: averaged over time; ``motion``: each subcarrier standardised over time (a constant
    one becomes 0). An unknown kind or too few axes are a ValueError.
    """
    if items.ndim < 3:
        raise ValueError(f"KNN baselines: items must be (N, …, time, subcarrier), got {items.shape}")
    check_choice("KNN baselines", "features", kind, FEATURES)
    wide = items.astype(np.float64)
    if kind == "static":
        wide = wide.mean(axis=-2)
    elif kind == "motion":
        centred = wide - wide.mean(axis=-2, keepdims=True)
        spread = centred.std(axis=-2, keepdims=True)
        wide = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-12)
    return wide.reshape(len(wide), -1)


class KNNPredictor:
    """The class of an item's nearest shots, by ``features``; ``neighbours`` as in ``neighbour_count``."""

    features: ClassVar[str]

    def __init__(self, *, neighbours: int = 0) -> None:
        self.neighbours = neighbours

    def predict(
        self,
        items: NDArray[np.floating],
        support: NDArray[np.floating],
        support_labels: NDArray[np.integer],
        source_labels: NDArray[np.integer],
    ) -> NDArray[np.int64]:
        """Classes (N,) of items (N, …, T, S) by shots (K, …, T, S); the source is not used."""
        shots = int(np.bincount(np.asarray(support_labels, dtype=np.int64)).max())
        return vote(
            item_features(items, self.features),
            item_features(support, self.features),
            support_labels,
            neighbour_count(shots, self.neighbours),
        ).labels


class KNNRaw(KNNPredictor):
    """KNN on raw items."""

    features = "raw"


class KNNStatic(KNNPredictor):
    """KNN on amplitudes averaged over time: no motion."""

    features = "static"


class KNNMotion(KNNPredictor):
    """KNN on items standardised over time: motion alone."""

    features = "motion"


class Majority:
    """The most frequent class of the source (the lowest of equals)."""

    def predict(
        self,
        items: NDArray[np.floating],
        support: NDArray[np.floating],
        support_labels: NDArray[np.integer],
        source_labels: NDArray[np.integer],
    ) -> NDArray[np.int64]:
        """Return one class for all N items, from ``source_labels`` alone (ValueError if empty)."""
        if len(source_labels) == 0:
            raise ValueError("majority: source labels are required")
        winner = np.bincount(np.asarray(source_labels, dtype=np.int64)).argmax()
        return np.full(len(items), winner, dtype=np.int64)


METADATA = (
    *(
        MethodMetadata(
            of=kind,
            name=f"knn-{features}",
            title=f"KNN ({features})",
            slot="adaptation",
            family="alignment",
            paper="Cover, Hart: Nearest Neighbor Pattern Classification, "
            "IEEE Transactions on Information Theory 13, 1967",
            summary=summary,
            needs=("support_set",),
        )
        for kind, features, summary in (
            (KNNRaw, "raw", "nearest shots by the raw items"),
            (KNNStatic, "static", "nearest shots by the time-averaged amplitude: no motion"),
            (KNNMotion, "motion", "nearest shots by the items standardised over time"),
        )
    ),
    MethodMetadata(
        of=Majority,
        name="majority",
        title="majority",
        slot="adaptation",
        family="alignment",
        paper="none: the majority class",
        summary="the source's most frequent class for every item",
    ),
)
