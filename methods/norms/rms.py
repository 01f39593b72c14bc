"""Root-mean-square normalization of sequences: Zhang, Sennrich, NeurIPS 2019, arXiv 1910.07467, equation 4."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.metadata import MethodMetadata
from methods.norms.sequence import SequenceNorm


class RMSNorm(SequenceNorm):
    """RMSNorm (NeurIPS 2019, equation 4) over the channels of (T, B, C).

    y = x/√(mean x² + eps)·weight, without bias. Each token is normalised by itself, so the padding mask has no effect.

    Args:
        channels: C.
        eps: added to the mean square.
    """

    name = "rms"
    shown = ("eps",)

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.channels, self.eps = channels, eps
        self.weight = nn.Parameter(torch.ones(channels))

    def _normalise(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        return functional.rms_norm(x, (self.channels,), self.weight, self.eps)


METADATA = MethodMetadata(
    of=RMSNorm,
    title="RMSNorm",
    paper="Zhang, Sennrich: Root Mean Square Layer Normalization, NeurIPS 2019, arXiv 1910.07467",
    summary="Each token divided by the root mean square of its channels, with a gain.",
)
