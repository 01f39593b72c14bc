"""PS-KD: the model's predictions of the epoch before as soft labels."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from methods.distillation.inputs import DistillationBatch, Objective, gradient_names
from methods.distillation.logits import class_masses, cross_entropy
from methods.losses import Loss
from methods.metadata import MethodMetadata, Uniform
from methods.precision import widen


class PSKD(Objective):
    """Cross-entropy with (1 − a)·label + a·(previous prediction), a = alpha·progress.

    Kim et al. 2021 (arXiv 2006.12000), progressive refinement of targets. The share a grows with every step; the
    released code raises it once an epoch. The table of predictions (items × classes, float32) is part of
    ``state_dict``; an unseen item keeps its label alone. In evaluation mode the table is only read.

    Args:
        items: number of items of the training set.
        classes: C.
        alpha: share of the previous prediction at the end of the training, in [0, 1].

    Raises:
        ValueError: alpha outside [0, 1].
    """

    name = "ps-kd"
    needs = ("index",)
    tables: ClassVar[tuple[str, ...]] = ("predictions", "seen")  # buffers with a row a training item

    predictions: Tensor
    seen: Tensor

    def __init__(self, items: int, classes: int, *, alpha: float = 0.8) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ValueError(f"ps-kd: alpha must lie in [0, 1], got {alpha}")
        self.alpha = alpha
        self.register_buffer("predictions", torch.zeros(items, classes))
        self.register_buffer("seen", torch.zeros(items, dtype=torch.bool))

    def losses(self, batch: DistillationBatch) -> Loss:
        """Sum the terms, then store the batch's predictions in the table."""
        loss = super().losses(batch)
        if self.training:
            index = batch.require("index")
            with torch.no_grad():
                self.predictions[index] = widen(batch.logits).softmax(dim=1).to(self.predictions.dtype)
                self.seen[index] = True
        return loss

    def soft_labels(self, batch: DistillationBatch) -> Tensor:
        """Earlier predictions of the items; labels for items not yet seen."""
        wide, index = widen(batch.logits), batch.require("index")
        masses = class_masses(batch.labels, wide.shape[1], wide.dtype)
        return torch.where(self.seen[index, None], self.predictions[index].to(wide.dtype), masses)

    def terms(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """``cross_entropy`` and ``distillation``."""
        share = self.alpha * batch.progress
        return {
            "cross_entropy": (1 - share) * cross_entropy(batch.logits, batch.labels),
            "distillation": share * cross_entropy(batch.logits, self.soft_labels(batch)),
        }

    def probe(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """Non-target masses of the student and of its earlier predictions."""
        wide = widen(batch.logits)
        masses = class_masses(batch.labels, wide.shape[1], wide.dtype)
        outside = 1 - (self.soft_labels(batch) * (masses > 0)).sum(dim=1).mean()
        return {**super().probe(batch), "own_non_target_mass": outside}


METADATA = MethodMetadata(
    of=PSKD,
    title="PS-KD",
    family="self-distillation",
    paper="Kim, Ji, Yoon, Hwang: Self-Knowledge Distillation with Progressive Refinement of Targets, ICCV 2021, "
    "arXiv 2006.12000",
    summary="labels mixed ever more with the model's own predictions of the epoch before",
    required=("items", "classes"),
    search_space={"alpha": Uniform(0.3, 0.95)},
    diagnostics=(*gradient_names("cross_entropy", "distillation"), "student_non_target_mass", "own_non_target_mass"),
)
