"""Source only: nothing of the target is used."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from methods.alignment.inputs import Adaptation, AdaptationBatch, classification
from methods.cards import MethodCard


class SourceOnly(Adaptation):
    """Cross-entropy on the source: what a network knows of a domain that it has never seen."""

    name: ClassVar[str] = "source-only"

    def terms(self, batch: AdaptationBatch) -> dict[str, Tensor]:
        """``cross_entropy``."""
        return {"cross_entropy": classification(batch.source_logits, batch.source_labels)}


CARD = MethodCard(
    name="source-only",
    title="source only",
    slot="adaptation",
    role="baseline",
    family="alignment",
    paper="the usual classification loss",
    target="SourceOnly",
    summary="cross-entropy on the labelled source, nothing else",
    diagnostics=("term_cross_entropy",),
)
