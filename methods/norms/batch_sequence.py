"""Batch normalization of sequences over the tokens that are not padding."""

import torch
from torch import Tensor

from methods.checks import check_choice
from methods.metadata import MethodMetadata, Uniform
from methods.norms.moments import BatchMomentsNorm, TokenPass
from methods.norms.sequence import group_scale, narrow, valid_tokens
from methods.norms.steps import StepStatistics, merge_moments
from methods.precision import widen

OPTIONS: dict[str, tuple[str, ...]] = {"scaling": ("released", "paper"), "padding": ("released", "paper")}


class MaskedBatchNorm(StepStatistics):
    """Base of the batch norms of (T, B, C).

    Training: mean and biased variance of the batch; the running values move by ``momentum`` once a step (see
    ``StepStatistics``), the variance unbiased as in torch. Evaluation: running values only. A batch of padding
    alone, or of one token, gives the bias, not NaN, and the former leaves the running values as they are.

    Args:
        channels: C.
        momentum: weight of the batch in the running values.
        eps: added to the variance (and to the mean square of the scaling).
        scaling: divide each token by its root mean square first.
        fill: replace padding by the mean of the tokens and count it in the variance.
    """

    shown = ("momentum", "eps")

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, *, momentum: float, eps: float, scaling: bool, fill: bool) -> None:
        super().__init__(channels, {"running_mean": 0.0, "running_var": 1.0})
        self.momentum, self.eps = momentum, eps
        self.scaling, self.fill = scaling, fill

    def _normalise(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        wide = widen(x)
        scaled = group_scale(wide, 1, self.eps) if self.scaling else wide
        weight, bias = self.weight.to(wide.dtype), self.bias.to(wide.dtype)
        if not self.training:
            norm = (self.running_var.to(wide.dtype) + self.eps).rsqrt() * weight
            return narrow((scaled - self.running_mean.to(wide.dtype)) * norm + bias, x)
        step = self.open_step()
        valid = valid_tokens(padding_mask, wide.dtype)
        token_pass = TokenPass(valid, self.eps, step.turn, self.finishing(), self.fill)
        y, batch, tokens = BatchMomentsNorm.apply(scaled, weight, bias, token_pass)
        self.close_forward(step, batch, tokens, merge_moments, self._updated, y.requires_grad)
        return narrow(y, x)

    def _updated(self, before: Tensor, batch: Tensor, tokens: Tensor) -> Tensor:
        mean, variance = batch
        unbiased = variance * (tokens / (tokens - 1).clamp(min=1))
        return torch.lerp(before, torch.stack((mean, unbiased)).to(before.dtype), self.momentum)


class BatchNormVanilla(MaskedBatchNorm):
    """Masked batch normalization (ICML 2015, Algorithm 1) for (T, B, C); arguments as there."""

    name = "batch-vanilla"

    def __init__(self, channels: int, *, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__(channels, momentum=momentum, eps=eps, scaling=False, fill=False)


class BatchNormReleased(MaskedBatchNorm):
    """BN as in PowerNorm's released code (Shen et al., ICML 2020) for (T, B, C).

    Evaluation normalises padding like any token.

    Args:
        channels, momentum, eps: as of ``MaskedBatchNorm``.
        scaling: ``released`` divides each token by its root mean square first, ``paper`` does not.
        padding: ``released`` replaces padding by the mean of the tokens and counts it in the variance (padding
            becomes the bias), ``paper`` leaves it out.
    """

    name = "batch-released"

    def __init__(
        self,
        channels: int,
        *,
        momentum: float = 0.05,
        eps: float = 1e-5,
        scaling: str = "released",
        padding: str = "released",
    ) -> None:
        check_choice(self.name, "scaling", scaling, OPTIONS["scaling"])
        check_choice(self.name, "padding", padding, OPTIONS["padding"])
        super().__init__(
            channels, momentum=momentum, eps=eps, scaling=scaling == "released", fill=padding == "released"
        )


METADATA = (
    MethodMetadata(
        of=BatchNormVanilla,
        title="BatchNorm (masked)",
        paper="Ioffe, Szegedy: Batch Normalization, ICML 2015, arXiv 1502.03167",
        summary="Batch normalization over the tokens that are not padding.",
        search_space={"momentum": Uniform(0.01, 0.3, log=True)},
    ),
    MethodMetadata(
        of=BatchNormReleased,
        title="BatchNorm (PowerNorm's release)",
        paper="Shen et al.: PowerNorm, ICML 2020, arXiv 2003.07845 (the released BN arm)",
        summary="Token RMS, then batch normalization with padding filled by the mean: BN as PowerNorm's code has it.",
        options=OPTIONS,
        search_space={"momentum": Uniform(0.01, 0.3, log=True)},
    ),
)
