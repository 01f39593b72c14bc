"""Source only: training without the target."""

from __future__ import annotations

from torch import Tensor

from methods.alignment.inputs import Adaptation, AdaptationBatch, classification
from methods.metadata import MethodMetadata


class SourceOnly(Adaptation):
    """Cross-entropy on the source alone."""

    name = "source-only"

    def terms(self, batch: AdaptationBatch) -> dict[str, Tensor]:
        """``cross_entropy``."""
        return {"cross_entropy": classification(batch.source_logits, batch.source_labels)}


METADATA = MethodMetadata(
    of=SourceOnly,
    title="source only",
    paper="the usual classification loss",
    summary="cross-entropy on the labelled source, nothing else",
    diagnostics=("term_cross_entropy",),
)
