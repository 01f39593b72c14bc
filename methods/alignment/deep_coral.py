"""Deep CORAL: the covariances of the two domains' embeddings made equal."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.alignment.inputs import Adaptation, AdaptationBatch, classification
from methods.metadata import MethodMetadata, Uniform
from methods.precision import widen


def covariance(features: Tensor) -> Tensor:
    """Sample covariance (F, F) of rows; zero for a single row."""
    centred = features - features.mean(dim=0)
    with torch.autocast(features.device.type, enabled=False):
        return centred.T @ centred / max(1, features.shape[0] - 1)


def coral_loss(source: Tensor, target: Tensor) -> Tensor:
    """‖cov(source) − cov(target)‖²_F/(4F²); Sun, Saenko 2016 (arXiv 1607.01719), the CORAL loss.

    Args:
        source: (N, F), any floating type; computed in float32 or wider.
        target: (M, F).

    Returns:
        A scalar.
    """
    difference = covariance(widen(source)) - covariance(widen(target))
    return difference.square().sum() / (4 * source.shape[1] ** 2)


class DeepCORAL(Adaptation):
    """Source cross-entropy + weight·CORAL loss of the embeddings.

    Args:
        weight: of the CORAL loss.
    """

    name = "deep-coral"
    needs = ("target_features",)

    def __init__(self, *, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def terms(self, batch: AdaptationBatch) -> dict[str, Tensor]:
        """``cross_entropy`` and ``coral``."""
        return {
            "cross_entropy": classification(batch.source_logits, batch.source_labels),
            "coral": self.weight * coral_loss(batch.source_features, batch.require("target_features")),
        }


METADATA = MethodMetadata(
    of=DeepCORAL,
    title="Deep CORAL",
    paper="Sun, Saenko: Deep CORAL: Correlation Alignment for Deep Domain Adaptation, ECCV workshops 2016, "
    "arXiv 1607.01719",
    summary="second moments of source and target embeddings made equal",
    search_space={"weight": Uniform(0.1, 100.0, log=True)},
    needs=("target_data",),
    diagnostics=("term_cross_entropy", "term_coral"),
)
