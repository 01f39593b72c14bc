"""Group scaling alone, the first step of released PowerNorm (arXiv 2003.07845)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.metadata import MethodMetadata
from methods.norms.sequence import SequenceNorm, check_groups, group_scale, narrow
from methods.precision import widen


class GroupRMSNorm(SequenceNorm):
    """GroupScaling of PowerNorm's release (ICML 2020) with gain and bias.

    Input (T, B, C). Each group of channels of each token is divided by √(mean of x² + eps). It separates PowerNorm's
    gain by this scaling from that by its statistics. Tokens are independent; the padding mask has no effect.

    Args:
        channels: C.
        groups: channel groups; set it to the number of attention heads to match the released models.
        eps: added to the mean square.

    Raises:
        ValueError: groups that do not divide C.
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


METADATA = MethodMetadata(
    of=GroupRMSNorm,
    title="GroupScaling",
    paper="Shen et al.: PowerNorm, ICML 2020, arXiv 2003.07845 (group scaling of the released code)",
    summary="PowerNorm's group scaling with gain and bias, without PowerNorm.",
)
