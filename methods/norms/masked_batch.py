"""Batch normalization of sequences: base of ``batch-released`` and ``batch-vanilla``."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.norms.moments import BatchMomentsNorm, TokenPass
from methods.norms.sequence import group_scale, narrow, valid_tokens
from methods.norms.steps import StepStatistics, merge_moments
from methods.precision import widen


class MaskedBatchNorm(StepStatistics):
    """Batch normalization over the tokens (T, B, C) that are not padding.

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
        if self.record and not torch.compiler.is_compiling():
            mean, variance = step.before
            references = {"mean": mean, "variance": variance, "mean_square": variance + mean.square()}
            self._deviations.observe(scaled, valid, references)
        token_pass = TokenPass(valid, self.eps, step.turn, self.finishing(), self.fill)
        y, batch, tokens = BatchMomentsNorm.apply(scaled, weight, bias, token_pass)
        self.close_forward(step, batch, tokens, merge_moments, self._updated, y.requires_grad)
        return narrow(y, x)

    def _updated(self, before: Tensor, batch: Tensor, tokens: Tensor) -> Tensor:
        mean, variance = batch
        unbiased = variance * (tokens / (tokens - 1).clamp(min=1))
        return torch.lerp(before, torch.stack((mean, unbiased)).to(before.dtype), self.momentum)
