"""Inputs and base class of the adaptation losses."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.losses import LossInputs, TrainingLoss
from methods.precision import widen


@dataclass(frozen=True, slots=True, eq=False)
class AdaptationBatch(LossInputs):
    """One training step's embeddings: F wide, C classes.

    There is no field for the target's hidden labels.

    Attributes:
        source_features, source_logits, source_labels: labelled source items, (N, F), (N, C), (N,).
        target_features: embeddings of unlabelled target items, (M, F).
        help_features, help_labels: help-set items, (H, F), and their classes there, (H,).
        support_features, support_logits, support_labels: the labelled target shots, (S, F), (S, C), (S,).
        progress: share of the training that is done, in [0, 1].
    """

    source_features: Tensor
    source_logits: Tensor
    source_labels: Tensor
    target_features: Tensor | None = None
    help_features: Tensor | None = None
    help_labels: Tensor | None = None
    support_features: Tensor | None = None
    support_logits: Tensor | None = None
    support_labels: Tensor | None = None
    progress: float = 0.0

    @property
    def classes(self) -> int:
        """C."""
        return self.source_logits.shape[1]


class Adaptation(TrainingLoss[AdaptationBatch]):
    """A training loss over source and target embeddings."""

    slot, family = "adaptation", "alignment"

    def uses(self) -> frozenset[str]:
        """Fields of the batch, beyond the source's, that the loss reads."""
        return frozenset(self.needs)

    def measure(self, batch: AdaptationBatch) -> dict[str, Tensor]:
        """Each term (``term_<name>``) and the result of ``probe``."""
        with torch.no_grad():
            terms = {f"term_{name}": term for name, term in self.terms(batch).items()}
            return {**terms, **self.probe(batch)}

    def check(self, batch: AdaptationBatch) -> None:
        """Reject a batch with missing inputs or wrong shapes (ValueError)."""
        features, logits, labels = batch.source_features, batch.source_logits, batch.source_labels
        if features.ndim != 2 or logits.ndim != 2 or labels.ndim != 1:
            raise ValueError(
                f"{self.name}: source features, logits and labels must be (items, width), (items, classes), (items,); "
                f"got {tuple(features.shape)}, {tuple(logits.shape)}, {tuple(labels.shape)}"
            )
        if not features.shape[0] == logits.shape[0] == labels.shape[0]:
            raise ValueError(f"{self.name}: source features, logits and labels must have one number of items")
        missing = sorted(name for name in self.uses() if getattr(batch, name) is None)
        if missing:
            raise ValueError(f"{self.name}: the batch lacks {', '.join(missing)}")


def classification(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in float32 or wider."""
    return F.cross_entropy(widen(logits), labels)
