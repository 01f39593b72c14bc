"""Global MMD: the two domains aligned as wholes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from methods.alignment.inputs import Adaptation, AdaptationBatch, classification
from methods.alignment.mk_mmd import ROOTS, SIGMAS, gaussian_kernels, mk_mmd_loss
from methods.checks import check_choice
from methods.metadata import MethodMetadata, Uniform
from methods.precision import widen


class GlobalMMD(Adaptation):
    """Source cross-entropy + weight·MK-MMD(source, target).

    Args:
        weight: of the discrepancy.
        sigmas: standard deviations of the Gaussian kernels, in the embedding's unit.
        root: ``guarded``, or ``released`` with a NaN gradient if both samples are equal.

    Raises:
        ValueError: an unknown root.
    """

    name = "mmd"
    needs = ("target_features",)

    def __init__(self, *, weight: float = 2.0, sigmas: Sequence[float] = SIGMAS, root: str = "guarded") -> None:
        super().__init__()
        check_choice(self.name, "root", root, ROOTS)
        self.weight, self.sigmas, self.root = weight, tuple(sigmas), root

    def terms(self, batch: AdaptationBatch) -> dict[str, Tensor]:
        """``cross_entropy`` and ``global``."""
        whole = mk_mmd_loss(batch.source_features, batch.require("target_features"), self.sigmas, self.root)
        return {
            "cross_entropy": classification(batch.source_logits, batch.source_labels),
            "global": self.weight * whole,
        }

    def probe(self, batch: AdaptationBatch) -> dict[str, Tensor]:
        """``global_mmd`` and ``mean_kernel`` between the domains."""
        source, target = widen(batch.source_features), widen(batch.require("target_features"))
        return {
            "global_mmd": mk_mmd_loss(source, target, self.sigmas),
            "mean_kernel": gaussian_kernels(source, target, self.sigmas).mean(),
        }


METADATA = MethodMetadata(
    of=GlobalMMD,
    title="MMD (global)",
    paper="Gretton, Borgwardt, Rasch, Schölkopf, Smola: A Kernel Two-Sample Test, JMLR 13, 2012; in training: Long, "
    "Cao, Wang, Jordan: Learning Transferable Features with Deep Adaptation Networks, ICML 2015, arXiv 1502.02791",
    summary="the distributions of source and target embeddings drawn together, whatever their classes",
    options={"root": ROOTS},
    search_space={"weight": Uniform(0.1, 10.0, log=True)},
    needs=("target_data",),
    diagnostics=("term_cross_entropy", "term_global", "global_mmd", "mean_kernel"),
)
