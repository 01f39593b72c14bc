"""Fine-tuning on the shots."""

from __future__ import annotations

from torch import Tensor

from methods.alignment.inputs import Adaptation, AdaptationBatch, classification
from methods.metadata import MethodMetadata, Uniform


class FineTune(Adaptation):
    """Cross-entropy on the source, after ``start`` on the labelled target shots.

    The shots are training data here, so they cannot decide the stopping time.

    Args:
        start: share of the training at which the shots take over, in [0, 1].
        keep_source: weight that the source's cross-entropy keeps afterwards.

    Raises:
        ValueError: a start outside [0, 1] or a negative weight.
    """

    name = "fine-tune"
    needs = ("support_logits", "support_labels")

    def __init__(self, *, start: float = 0.8, keep_source: float = 0.0) -> None:
        super().__init__()
        if not 0 <= start <= 1 or keep_source < 0:
            raise ValueError(
                f"fine-tune: start must lie in [0, 1] and keep_source be at least 0, got {start} and {keep_source}"
            )
        self.start, self.keep_source = start, keep_source

    def terms(self, batch: AdaptationBatch) -> dict[str, Tensor]:
        """``cross_entropy`` of the source and ``support`` of the shots."""
        tuning = batch.progress >= self.start
        source = classification(batch.source_logits, batch.source_labels)
        support = classification(batch.require("support_logits"), batch.require("support_labels"))
        return {
            "cross_entropy": (self.keep_source if tuning else 1.0) * source,
            "support": (1.0 if tuning else 0.0) * support,
        }


METADATA = MethodMetadata(
    of=FineTune,
    title="fine-tuning on the shots",
    paper="common practice; no paper",
    summary="training on the source, then on the few labelled target items",
    search_space={"start": Uniform(0.5, 0.95)},
    needs=("support_set",),
    diagnostics=("term_cross_entropy", "term_support"),
)
