"""Cross-entropy, the baseline of every objective here, and label smoothing."""

from torch import Tensor

from methods.distillation.inputs import DistillationBatch, Objective, gradient_names
from methods.distillation.logits import cross_entropy
from methods.metadata import MethodMetadata, Uniform


class CrossEntropy(Objective):
    """Mean cross-entropy: −log softmax(z)[y], or −Σ v·log softmax(z) for mixed labels with masses v."""

    name = "cross-entropy"

    def terms(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """``cross_entropy``."""
        return {"cross_entropy": cross_entropy(batch.logits, batch.labels)}


class LabelSmoothing(Objective):
    """Cross-entropy with (1 − ε)·label + ε/C, ε in [0, 1) (Szegedy et al. 2016)."""

    name = "label-smoothing"

    def __init__(self, *, smoothing: float = 0.1) -> None:
        super().__init__()
        if not 0 <= smoothing < 1:
            raise ValueError(f"label-smoothing: smoothing must lie in [0, 1), got {smoothing}")
        self.smoothing = smoothing

    def terms(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """``cross_entropy``, with the smoothed labels."""
        return {"cross_entropy": cross_entropy(batch.logits, batch.labels, self.smoothing)}


METADATA = (
    MethodMetadata(
        of=CrossEntropy,
        title="cross-entropy",
        paper="the usual classification loss",
        summary="cross-entropy with the labels; no teacher, no smoothing",
        diagnostics=(*gradient_names("cross_entropy"), "student_non_target_mass"),
    ),
    MethodMetadata(
        of=LabelSmoothing,
        title="label smoothing",
        family="self-distillation",
        paper="Szegedy, Vanhoucke, Ioffe, Shlens, Wojna: Rethinking the Inception Architecture for Computer Vision, "
        "CVPR 2016, arXiv 1512.00567",
        summary="cross-entropy with a share ε of each label spread over all classes",
        search_space={"smoothing": Uniform(0.0, 0.3)},
        diagnostics=(*gradient_names("cross_entropy"), "student_non_target_mass"),
    ),
)
