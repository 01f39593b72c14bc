"""Quadratic-mean and batch normalization of sequences with exact gradients."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from methods.norms.steps import note_backward


class TokenPass(NamedTuple):
    """Arguments of a forward that have no gradient.

    Attributes:
        valid: weights (T, B, 1), 1 = token, 0 = padding; None counts all.
        turn: number of the step, recorded by the backward in ``finished``; None while nothing may change.
        fill: replace padding by the mean of the tokens and count it.
    """

    valid: Tensor | None
    eps: float
    turn: Tensor
    finished: Tensor | None
    fill: bool = False


def _total(values: Tensor, valid: Tensor | None) -> Tensor:
    return (values if valid is None else values * valid).sum((0, 1))


def count_tokens(x: Tensor, valid: Tensor | None) -> Tensor:
    """Number of counted tokens, an integer tensor without dimensions."""
    if valid is None:
        return torch.full((), x.shape[0] * x.shape[1], dtype=torch.long, device=x.device)
    return valid.sum().to(torch.long)


class QuadraticMeanNorm(torch.autograd.Function):
    """y = x/√(ψ+eps)·weight + bias with exact backward.

    ψ is the mean of x² over the counted tokens. ``apply(x, weight, bias, token_pass)`` returns (y, ψ (1, C), number of
    tokens); the latter two without gradient. Without tokens ψ is 0.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, token_pass: TokenPass
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute y, ψ and the number of tokens."""
        valid = token_pass.valid
        tokens = count_tokens(x, valid)
        psi = _total(x.square(), valid) / tokens.clamp(min=1)
        norm = (psi + token_pass.eps).rsqrt()
        ctx.save_for_backward(x, weight, valid, norm, tokens, token_pass.turn)
        ctx.finished = token_pass.finished
        batch = psi.unsqueeze(0)
        ctx.mark_non_differentiable(batch, tokens)
        return x * (norm * weight) + bias, batch, tokens

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the activations, the gain and the bias."""
        x, weight, valid, norm, tokens, turn = ctx.saved_tensors
        grad_weight = (grad * x).sum((0, 1)) * norm
        through = x * (weight * grad_weight * norm.square() / tokens.clamp(min=1))
        grad_x = grad * (weight * norm) - (through if valid is None else through * valid)
        note_backward(ctx.finished, turn)
        return grad_x, grad_weight, grad.sum((0, 1)), None


class BatchMomentsNorm(torch.autograd.Function):
    """Batch normalization over the counted tokens, with exact backward.

    ``apply(x, weight, bias, token_pass)`` returns (y, mean and biased variance (2, C), number of tokens behind them).
    With ``fill`` the variance is spread over all positions and padding becomes ``bias``. Without tokens mean and
    variance are 0.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, token_pass: TokenPass
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The normalised activations, the statistics and the number of tokens."""
        valid = token_pass.valid
        tokens = count_tokens(x, valid)
        mean = _total(x, valid) / tokens.clamp(min=1)
        centred = x - mean
        if token_pass.fill and valid is not None:
            centred = centred * valid
            counted = count_tokens(x, None)
        else:
            counted = tokens
        variance = _total(centred.square(), valid) / counted.clamp(min=1)
        norm = (variance + token_pass.eps).rsqrt()
        batch = torch.stack((mean, variance))
        ctx.save_for_backward(x, weight, valid, mean, norm, tokens, counted, token_pass.turn)
        ctx.fill, ctx.finished = token_pass.fill, token_pass.finished
        ctx.mark_non_differentiable(batch, counted)
        return centred * (norm * weight) + bias, batch, counted

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the activations, the gain and the bias."""
        x, weight, valid, mean, norm, tokens, counted, turn = ctx.saved_tensors
        core = (x - mean) * norm
        grad_bias = grad.sum((0, 1))
        if ctx.fill and valid is not None:
            core = core * valid
            grad_mean = _total(grad, valid)
        else:
            grad_mean = grad_bias
        grad_weight = (grad * core).sum((0, 1))
        # The mean is taken over the tokens, the variance over the counted positions; they differ with ``fill``.
        shared = grad_mean / tokens.clamp(min=1) + core * (grad_weight / counted.clamp(min=1))
        if valid is None:
            grad_x = grad - shared
        elif ctx.fill:
            grad_x = (grad - shared) * valid
        else:
            grad_x = grad - shared * valid
        note_backward(ctx.finished, turn)
        return grad_x * (norm * weight), grad_weight, grad_bias, None
