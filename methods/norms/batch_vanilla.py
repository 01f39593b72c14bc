"""Batch normalization of sequences: Ioffe, Szegedy, ICML 2015, arXiv 1502.03167, Algorithm 1, over the tokens."""

from __future__ import annotations

from methods.cards import MethodCard, Uniform
from methods.norms.masked_batch import MaskedBatchNorm
from methods.norms.probes import DEVIATIONS


class BatchNormVanilla(MaskedBatchNorm):
    """Masked batch normalization (ICML 2015, Algorithm 1) for (T, B, C): statistics over tokens, not padding.

    Padding is normalised by the tokens' statistics and enters none. See ``MaskedBatchNorm`` for what is kept
    and when.

    Args:
        channels: C.
        momentum: weight of the batch in the running values.
        eps: added to the variance.
    """

    name = "batch-vanilla"

    def __init__(self, channels: int, *, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__(channels, momentum=momentum, eps=eps, scaling=False, fill=False)


CARD = MethodCard(
    of=BatchNormVanilla,
    title="BatchNorm (masked)",
    paper="Ioffe, Szegedy: Batch Normalization, ICML 2015, arXiv 1502.03167",
    summary="Batch normalization over the tokens that are not padding.",
    search_space={"momentum": Uniform(0.01, 0.3, log=True)},
    diagnostics=DEVIATIONS,
)
