"""Layer normalization of sequences: Ba, Kiros, Hinton 2016, arXiv 1607.06450, equation 4."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.metadata import MethodMetadata
from methods.norms.diagnostics import DEVIATIONS, Deviations
from methods.norms.sequence import SequenceNorm, valid_tokens


class LayerNorm(SequenceNorm, nn.LayerNorm):
    """torch's layer normalization (2016, equation 4) of (T, B, C).

    Each token is normalised by itself, so the padding mask has no effect.

    Args:
        channels: C.
        eps: added to the variance.
    """

    name = "layer"

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__(channels, eps=eps)
        self.channels = channels
        self.record = False
        self._deviations = Deviations()

    def _normalise(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        if self.record and self.training and not torch.compiler.is_compiling():
            self._deviations.observe(x, valid_tokens(padding_mask, torch.float32), {})
        return nn.LayerNorm.forward(self, x)

    def diagnostics(self) -> dict[str, Tensor | float]:
        """Report deviations of the input's batch statistics in recorded training forwards.

        Returns:
            ``batch_{mean,variance,mean_square}_deviation_{median,p99}`` from the recorder's moving average.
        """
        return dict(self._deviations.summary())


METADATA = MethodMetadata(
    of=LayerNorm,
    title="LayerNorm",
    paper="Ba, Kiros, Hinton: Layer Normalization, 2016, arXiv 1607.06450",
    summary="Each token normalised by the mean and variance of its channels.",
    diagnostics=DEVIATIONS,
)
