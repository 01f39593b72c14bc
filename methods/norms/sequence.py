"""Base of the sequence norms: layout, padding masks, precision, group scaling."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from methods.precision import HALF


class SequenceNorm(nn.Module):
    """A norm of (T, B, C) with padding masks; subclasses write ``_normalise``. ``shown`` is for ``print``."""

    name: ClassVar[str]
    slot, family = "norm", "sequence"
    shown: ClassVar[tuple[str, ...]] = ()
    channels: int

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Normalise (T, B, C); the padding mask (B, T) is true at padding.

        The result has the type of x (float32 under autocast); half precision is computed in float32.

        Raises:
            ValueError: another shape of x or mask.
        """
        if x.dim() != 3 or x.shape[-1] != self.channels:
            raise ValueError(f"{self.name}: expected activations (T, B, {self.channels}), got {tuple(x.shape)}")
        if padding_mask is not None and tuple(padding_mask.shape) != (x.shape[1], x.shape[0]):
            raise ValueError(
                f"{self.name}: expected a padding mask (B, T) = ({x.shape[1]}, {x.shape[0]}), true = padding, "
                f"got {tuple(padding_mask.shape)}"
            )
        return self._normalise(x, padding_mask)

    def _normalise(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not define _normalise")

    def diagnostics(self) -> dict[str, Tensor]:
        """Return nothing: tokens share no statistics here."""
        return {}

    def extra_repr(self) -> str:
        """C and the hyper-parameters in ``shown``, else torch's own text."""
        shown = [f"{name}={getattr(self, name)}" for name in self.shown]
        return ", ".join([str(self.channels), *shown]) if shown else super().extra_repr()


def valid_tokens(padding_mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Turn a padding mask (B, T) into token weights (T, B, 1)."""
    if padding_mask is None:
        return None
    return padding_mask.to(torch.bool).logical_not().t().unsqueeze(-1).to(dtype)


def narrow(y: Tensor, like: Tensor) -> Tensor:
    """Cast the result to the input's type, except under autocast."""
    if like.dtype in HALF and not torch.is_autocast_enabled(like.device.type):
        return y.to(like.dtype)
    return y


def check_groups(name: str, channels: int, groups: int) -> None:
    """Reject a number of groups that does not divide the channels (ValueError)."""
    if groups < 1 or channels % groups:
        raise ValueError(f"{name}: groups must divide the {channels} channels, got {groups}")


def group_rms_inverse(x: Tensor, groups: int, eps: float) -> Tensor:
    """1/√(mean of x² over each channel group + eps) of (T, B, C), as (T, B, groups, 1)."""
    return (x.unflatten(-1, (groups, -1)).square().mean(-1, keepdim=True) + eps).rsqrt()


def group_multiply(x: Tensor, factor: Tensor) -> Tensor:
    """Multiply channel groups by their factors (T, B, groups, 1)."""
    return (x.unflatten(-1, (factor.shape[-2], -1)) * factor).flatten(-2)


def group_scale(x: Tensor, groups: int, eps: float) -> Tensor:
    """GroupScaling: divide every token's channel groups by their root mean square, (T, B, C)."""
    return group_multiply(x, group_rms_inverse(x, groups, eps))


def group_scale_backward(x: Tensor, inverse: Tensor, from_grad: Tensor, slope: Tensor) -> Tensor:
    """Gradient of group scaling of x (T, B, C), with r = ``inverse`` (T, B, groups, 1).

    With dh the gradient of h, that of x is r·(dh − h·mean(dh·h)). The parts of dh (``slope``: factor of the second)
    stay apart, so that no intermediate of the size of x has to be kept.
    """
    groups = inverse.shape[-2]
    x, from_grad = x.unflatten(-1, (groups, -1)), from_grad.unflatten(-1, (groups, -1))
    slope = slope.unflatten(-1, (groups, -1))
    first = (from_grad * x).mean(-1, keepdim=True) * inverse
    second = (x.square() * slope).mean(-1, keepdim=True) * inverse.square()
    return (inverse * from_grad - x * (inverse.square() * (slope + (first - second)))).flatten(-2)


def sum_tokens(values: Tensor) -> Tensor:
    """Sum over T and B, the inner first for memory order."""
    return values.sum(1).sum(0)
