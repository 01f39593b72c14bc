"""Norms that treat each token by itself: LayerNorm, RMSNorm, PowerNorm's group scaling."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.metadata import MethodMetadata
from methods.norms.sequence import SequenceNorm, check_groups, group_scale, narrow
from methods.precision import widen


class LayerNorm(SequenceNorm, nn.LayerNorm):
    """torch's layer normalization of (T, B, C): Ba, Kiros, Hinton 2016, equation 4."""

    name = "layer"

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__(channels, eps=eps)
        self.channels = channels

    def _normalise(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        return nn.LayerNorm.forward(self, x)


class RMSNorm(SequenceNorm):
    """y = x/√(mean x² + eps)·weight over the channels of (T, B, C); Zhang, Sennrich 2019, equation 4."""

    name = "rms"
    shown = ("eps",)

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.channels, self.eps = channels, eps
        self.weight = nn.Parameter(torch.ones(channels))

    def _normalise(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        return functional.rms_norm(x, (self.channels,), self.weight, self.eps)


class GroupRMSNorm(SequenceNorm):
    """GroupScaling of PowerNorm's release, with gain and bias, for (T, B, C).

    Each group of channels of each token is divided by √(mean of x² + eps). It separates PowerNorm's gain by this
    scaling from that by its statistics.

    Args:
        channels: C.
        groups: channel groups, which divide C; the released models have one per attention head.
        eps: added to the mean square.
    """

    name = "group-rms"
    shown = ("groups", "eps")

    def __init__(self, channels: int, *, groups: int = 1, eps: float = 1e-5) -> None:
        super().__init__()
        check_groups(self.name, channels, groups)
        self.channels, self.groups, self.eps = channels, groups, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def _normalise(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        wide = widen(x)
        scaled = group_scale(wide, self.groups, self.eps)
        return narrow(scaled * self.weight.to(wide.dtype) + self.bias.to(wide.dtype), x)


METADATA = (
    MethodMetadata(
        of=LayerNorm,
        title="LayerNorm",
        paper="Ba, Kiros, Hinton: Layer Normalization, 2016, arXiv 1607.06450",
        summary="Each token normalised by the mean and variance of its channels.",
    ),
    MethodMetadata(
        of=RMSNorm,
        title="RMSNorm",
        paper="Zhang, Sennrich: Root Mean Square Layer Normalization, NeurIPS 2019, arXiv 1910.07467",
        summary="Each token divided by the root mean square of its channels, with a gain.",
    ),
    MethodMetadata(
        of=GroupRMSNorm,
        title="GroupScaling",
        paper="Shen et al.: PowerNorm, ICML 2020, arXiv 2003.07845 (group scaling of the released code)",
        summary="PowerNorm's group scaling with gain and bias, without PowerNorm.",
    ),
)
