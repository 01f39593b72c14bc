"""Batch normalization of sequences over tokens (Ioffe, Szegedy, ICML 2015)."""

from __future__ import annotations

from methods.metadata import MethodMetadata, Uniform
from methods.norms.diagnostics import DEVIATIONS
from methods.norms.masked_batch import MaskedBatchNorm


class BatchNormVanilla(MaskedBatchNorm):
    """Masked batch normalization (ICML 2015, Algorithm 1) for (T, B, C).

    Statistics run over tokens; padding is normalised by them and does not enter them. ``MaskedBatchNorm`` describes the
    running values.

    Args:
        channels: C.
        momentum: weight of the batch in the running values.
        eps: added to the variance.
    """

    name = "batch-vanilla"

    def __init__(self, channels: int, *, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__(channels, momentum=momentum, eps=eps, scaling=False, fill=False)


METADATA = MethodMetadata(
    of=BatchNormVanilla,
    title="BatchNorm (masked)",
    paper="Ioffe, Szegedy: Batch Normalization, ICML 2015, arXiv 1502.03167",
    summary="Batch normalization over the tokens that are not padding.",
    search_space={"momentum": Uniform(0.01, 0.3, log=True)},
    diagnostics=DEVIATIONS,
)
