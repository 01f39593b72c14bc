"""PowerNorm: running quadratic means forward, an averaged correction backward.

Shen et al., ICML 2020, arXiv 2003.07845, Algorithm 2. Options with the values ``released`` (the default) and
``paper`` cover differences between the released code and the paper.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from methods.checks import check_choice
from methods.compiled import settle
from methods.metadata import MethodMetadata, Uniform
from methods.norms.sequence import (
    check_groups,
    group_multiply,
    group_rms_inverse,
    group_scale,
    group_scale_backward,
    narrow,
    sum_tokens,
    valid_tokens,
)
from methods.norms.steps import StepStatistics, merge_means, note_backward
from methods.precision import widen

OPTIONS: dict[str, tuple[str, ...]] = {
    "recursion": ("released", "paper"),
    "backward_statistic": ("released", "paper"),
    "running_update": ("released", "paper"),
    "population": ("released", "paper"),
    "warmup_boundary": ("released", "aligned"),
    "warmup_backward": ("released", "exact"),
}


class _Settings(NamedTuple):
    eps: float
    groups: int
    alpha: float
    recursion: str
    backward_statistic: str
    population: str
    exact: bool
    update: bool


class _Average(NamedTuple):
    """The backward pass's state: buffers that it changes in place."""

    value: Tensor
    before: Tensor
    sums: Tensor
    tokens: Tensor
    finished: Tensor


class _Pass(NamedTuple):
    """Arguments of a training forward that have no gradient."""

    valid: Tensor | None  # weights (T, B, 1), 1 = token, 0 = padding; None counts all
    before: Tensor  # the running statistic from before the step, (C,)
    warming: Tensor  # true if the step belongs to the warm-up
    turn: Tensor  # number of the step
    average: _Average
    settings: _Settings


class _PowerNorm(torch.autograd.Function):
    """Group scaling, quadratic mean, gain and bias, with PowerNorm's backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, inputs: _Pass) -> tuple[Tensor, Tensor, Tensor]:
        valid, before, warming, turn, average, settings = inputs
        inverse = group_rms_inverse(x, settings.groups, settings.eps) if settings.groups else None
        scaled = x if inverse is None else group_multiply(x, inverse)
        square = scaled.square()
        positions = torch.full((), x.shape[0] * x.shape[1], dtype=torch.long, device=x.device)
        everywhere = sum_tokens(square)
        if valid is None:
            tokens, total = positions, everywhere
        else:
            tokens, total = valid.sum().to(torch.long), sum_tokens(square * valid)
        batch = torch.where(tokens > 0, total / tokens.clamp(min=1), before)
        divisor = torch.where(warming, batch, before)
        norm = settle((divisor + settings.eps).rsqrt())
        if settings.population == "released":
            mean_square = everywhere / positions.clamp(min=1)
        else:
            mean_square = total / tokens.clamp(min=1)
        ctx.save_for_backward(x, inverse, weight, valid, batch, norm, mean_square, warming, tokens, turn)
        ctx.average, ctx.settings = average, settings
        ctx.mark_non_differentiable(batch, tokens)
        return scaled * settle(norm * weight) + bias, batch, tokens

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, inverse, weight, valid, batch, norm, mean_square, warming, tokens, turn = ctx.saved_tensors
        average, settings = ctx.average, ctx.settings
        by_scaled = grad * (x if inverse is None else group_multiply(x, inverse))
        grad_bias = sum_tokens(grad)
        grad_weight = sum_tokens(by_scaled) * norm
        positions = torch.full_like(tokens, x.shape[0] * x.shape[1])
        if valid is None or settings.population == "released":
            counted, alignment = positions, weight * grad_weight
        else:
            counted, alignment = tokens, weight * sum_tokens(by_scaled * valid) * norm
        sums = torch.stack((alignment, mean_square * norm.square() * counted))
        correction = _update_average(average, settings, turn, sums, counted)

        back = norm if settings.backward_statistic == "paper" else (batch + settings.eps).rsqrt()
        gain, slope = weight * back, correction * norm * back
        if settings.exact:
            through = weight * grad_weight * norm.square() / tokens.clamp(min=1)
            gain = torch.where(warming, weight * norm, gain)
            slope = torch.where(warming, through if valid is None else through * valid, slope)
        else:
            slope = settle(slope)
        from_grad = grad * settle(gain)
        if inverse is None:
            return from_grad - x * slope, grad_weight, grad_bias, None
        grad_x = group_scale_backward(x, inverse, from_grad, slope)
        return grad_x, grad_weight, grad_bias, None


def _update_average(average: _Average, settings: _Settings, turn: Tensor, sums: Tensor, tokens: Tensor) -> Tensor:
    """Advance the averaged correction once a step by sums (2, C) of g·ẑ, ẑ²; return ẑ's coefficient (C,)."""
    first = turn != average.finished
    before = torch.where(first, average.value, average.before)
    keep = 1 - settings.alpha
    sums = torch.where(first, sums, average.sums + sums)
    tokens = torch.where(first, tokens, average.tokens + tokens)
    alignment, square = sums / tokens.clamp(min=1)
    if settings.recursion == "released":
        correction = keep * before
        updated = before + (alignment - correction * square)
    else:
        correction = before
        updated = before * (1 - keep * square) + keep * alignment
    if settings.update:
        # Gradients that a loss scaler is about to discard must not stay in the average.
        sound = torch.isfinite(updated).all()
        average.value.copy_(torch.where(sound, updated, average.value))
        average.before.copy_(before)
        average.sums.copy_(torch.where(sound, sums, torch.where(first, 0, average.sums)))
        average.tokens.copy_(torch.where(sound, tokens, torch.where(first, 0, average.tokens)))
        note_backward(average.finished, turn)
    return correction


def resolve_warmup(norm: str, steps: int, fraction: float | None, total: int | None) -> int:
    """Steps of a warm-up: ``steps``, or a fraction of ``total`` (ValueError where out of range)."""
    if fraction is None:
        if steps < 0:
            raise ValueError(f"{norm}: warmup_steps must be at least 0, got {steps}")
        return steps
    if not 0 <= fraction <= 1:
        raise ValueError(f"{norm}: warmup_fraction must lie in [0, 1], got {fraction}")
    if total is None:
        raise ValueError(f"{norm}: warmup_fraction needs total_steps, the number of steps of the run")
    return round(fraction * total)


class PowerNorm(StepStatistics):
    """PowerNorm (ICML 2020, Algorithm 2) for (T, B, C), with group scaling.

    In training, step k (from 1), ψ the per-channel mean of h² over the tokens that are not padding and h the
    group-scaled input: ẑ = h/√(ψ+eps) while k ≤ ``warmup_steps`` and h/√(running+eps) afterwards, with the
    running value from before the step; y = weight·ẑ + bias. Backward, with g = grad·weight and the average ν:
    g̃ = g − (1−α_b)·ν·ẑ, ν ← ν + mean(g̃·ẑ), grad_h = g̃/√(ψ+eps). This is not the exact gradient, by design.
    In evaluation the running value alone is used, and the gradient is exact.

    Running value, ν and counter change once a step, however often checkpointing repeats the forward and however
    many places share the module (see ``StepStatistics``; with ``use_reentrant=True`` a shared module counts each
    call). They are per rank under DistributedDataParallel; build it with ``broadcast_buffers=False``. Set
    ``update_statistics = False`` to inspect a training-mode forward without changing state. A loss scaler's factor is
    part of ν; after it changes, ν needs a few steps to follow, and steps with infinite gradients leave ν as it is.

    Args:
        channels: C.
        warmup_steps: steps that divide by the batch's own statistic. The released class has 10,000, its recipes
            8,000 and, for the encoder's last norm, 1,000. 0: Algorithm 2 as in the paper.
        warmup_fraction: the warm-up as a share of ``total_steps`` instead; 0.1 below published scales, since a run
            shorter than its warm-up never uses the running statistic. Steps are training forwards.
        total_steps: steps of the run, needed with ``warmup_fraction``.
        alpha_fwd: decay of the running statistic.
        alpha_bkw: decay of the averaged correction.
        eps: inside every square root.
        groups: channel groups of the scaling; the released models use one per head, the class 1.
        group_scaling: scale at all (the paper's text does not).
        recursion: ``released`` keeps ``ema_gz``, ``paper`` keeps ``nu`` = (1−α_b)·ema_gz; equal gradients.
        backward_statistic: ``released`` divides gradients by the batch's statistic, ``paper`` by the statistic
            of the forward.
        running_update: during warm-up ``released`` applies a cumulative mean and then the moving average,
            ``paper`` the moving average alone.
        population: ``released`` averages the backward's products over all positions, ``paper`` over the same
            tokens as ψ.
        warmup_boundary: ``released`` stops the cumulative mean one step before the batch's statistic leaves the
            forward; ``aligned`` stops both together.
        warmup_backward: ``released`` uses the approximation during warm-up too, ``exact`` the exact gradient.
    """

    name = "power"
    shown = ("warmup_steps", "groups", "alpha_fwd", "alpha_bkw", "eps")

    running_phi: Tensor

    def __init__(
        self,
        channels: int,
        *,
        warmup_steps: int = 10_000,
        warmup_fraction: float | None = None,
        total_steps: int | None = None,
        alpha_fwd: float = 0.9,
        alpha_bkw: float = 0.9,
        eps: float = 1e-5,
        groups: int = 1,
        group_scaling: bool = True,
        recursion: str = "released",
        backward_statistic: str = "released",
        running_update: str = "released",
        population: str = "released",
        warmup_boundary: str = "released",
        warmup_backward: str = "released",
    ) -> None:
        super().__init__(channels, {"running_phi": 1.0})
        choices = {
            "recursion": recursion,
            "backward_statistic": backward_statistic,
            "running_update": running_update,
            "population": population,
            "warmup_boundary": warmup_boundary,
            "warmup_backward": warmup_backward,
        }
        for name, value in choices.items():
            check_choice(self.name, name, value, OPTIONS[name])
        check_groups(self.name, channels, groups)
        self.warmup_steps = resolve_warmup(self.name, warmup_steps, warmup_fraction, total_steps)
        self.alpha_fwd, self.alpha_bkw, self.eps = alpha_fwd, alpha_bkw, eps
        self.groups, self.group_scaling = groups, group_scaling
        self.running_update, self.warmup_boundary = running_update, warmup_boundary
        scaled, exact = groups if group_scaling else 0, warmup_backward == "exact"
        self._settings = _Settings(eps, scaled, alpha_bkw, recursion, backward_statistic, population, exact, True)
        self._average_name = "ema_gz" if recursion == "released" else "nu"
        self.register_buffer(self._average_name, torch.zeros(channels))
        self.register_buffer("_backward_before", torch.zeros(channels), persistent=False)
        self.register_buffer("_backward_sums", torch.zeros(2, channels), persistent=False)
        self.register_buffer("_backward_tokens", torch.zeros((), dtype=torch.long), persistent=False)

    def _normalise(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        wide = widen(x)
        weight, bias = self.weight.to(wide.dtype), self.bias.to(wide.dtype)
        if not self.training:
            scaled = group_scale(wide, self.groups, self.eps) if self.group_scaling else wide
            norm = (self.running_phi.to(wide.dtype) + self.eps).rsqrt()
            return narrow(scaled * (norm * weight) + bias, x)

        step = self.open_step()
        valid = valid_tokens(padding_mask, wide.dtype)
        before = step.before[0].to(wide.dtype)
        settings = self._settings._replace(update=self.update_statistics)
        warming = step.number <= self.warmup_steps
        inputs = _Pass(valid, before, warming, step.turn, self._average(), settings)
        y, batch, tokens = _PowerNorm.apply(wide, weight, bias, inputs)
        updated = self._updated_for(step.number)
        self.close_forward(step, batch.unsqueeze(0), tokens, merge_means, updated, y.requires_grad)
        return narrow(y, x)

    def _average(self) -> _Average:
        value: Tensor = getattr(self, self._average_name)
        return _Average(value, self._backward_before, self._backward_sums, self._backward_tokens, self._finished)

    def _updated_for(self, number: Tensor) -> Any:
        def updated(before: Tensor, batch: Tensor, _: Tensor) -> Tensor:
            running = before
            if self.running_update == "released":
                last = self.warmup_steps - (self.warmup_boundary == "released")
                cumulative = before + (batch - before) / number
                running = torch.where(number <= last, cumulative, before)
            return running + (1 - self.alpha_fwd) * (batch - running)

        return updated

    def diagnostics(self) -> dict[str, Tensor]:
        """``nu_median``, ``nu_p99`` of |(1−α_b)·ema_gz| over channels; ``after_warmup_share`` of the steps so far."""
        scale = 1 - self.alpha_bkw if self._average_name == "ema_gz" else 1.0
        nu: Tensor = getattr(self, self._average_name).detach().float().abs() * scale
        median, high = torch.quantile(nu, nu.new_tensor((0.5, 0.99))).unbind()
        steps = self.iteration.float()
        after = (steps - self.warmup_steps).clamp(min=0) / steps.clamp(min=1)
        return {"nu_median": median, "nu_p99": high, "after_warmup_share": after}


METADATA = MethodMetadata(
    of=PowerNorm,
    title="PowerNorm",
    role="method",
    paper="Shen, Yao, Gholami, Mahoney, Keutzer: PowerNorm: Rethinking Batch Normalization in Transformers, "
    "ICML 2020, arXiv 2003.07845",
    summary="Running quadratic mean forward, averaged correction backward, group scaling first.",
    options=OPTIONS,
    search_space={
        "warmup_fraction": Uniform(0.01, 0.3, log=True),
        "alpha_fwd": Uniform(0.8, 0.99),
        "alpha_bkw": Uniform(0.8, 0.99),
    },
    diagnostics=("nu_median", "nu_p99", "after_warmup_share"),
)
