"""Identities of PowerNorm's released code."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from methods.norms.batch_sequence import BatchNormReleased
from methods.norms.powernorm import PowerNorm
from methods.norms.sequence import group_scale
from suites.checks.result import Check

CHANNELS = 8


def _inputs(seed: int, steps: int, shape: Sequence[int] = (6, 4, CHANNELS)) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    draws = [torch.randn(2, *shape, generator=generator, dtype=torch.float64) for _ in range(steps)]
    return [(x * (1 + 0.5 * (step % 3)) + 0.3, gradient) for step, (x, gradient) in enumerate(draws)]


def _norm(**options: Any) -> PowerNorm:
    norm = PowerNorm(CHANNELS, **options).double()
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 1.5, CHANNELS))
    return norm.train()


def _step(norm: nn.Module, x: Tensor, gradient: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    y = norm(x, mask)
    y.backward(gradient)
    assert x.grad is not None
    return y.detach(), x.grad


def nu_recursion(other_decay: float | None = None) -> Check:
    """The released buffer ``ema_gz`` is ν/(1−α): equal gradients over 200 steps."""
    alpha = 0.9
    released = _norm(warmup_steps=0, recursion="released", alpha_bkw=alpha)
    paper = _norm(warmup_steps=0, recursion="paper", alpha_bkw=alpha if other_decay is None else other_decay)
    gradients = buffers = 0.0
    for x, gradient in _inputs(0, 200):
        ours, theirs = (_step(norm, x, gradient)[1] for norm in (released, paper))
        gradients = max(gradients, float((ours - theirs).abs().max()))
        buffers = max(buffers, float(((1 - alpha) * released.ema_gz - paper.nu).abs().max()))
    detail = f"largest difference of gradients {gradients:.1e}, of (1−α)·ema_gz and ν {buffers:.1e}"
    return Check.zero(max(gradients, buffers), 1e-12, detail)


def backward_batch_denominator(backward_statistic: str = "released") -> Check:
    """The released backward divides by the batch's statistic, unlike the forward."""
    norm = _norm(warmup_steps=0, group_scaling=False, backward_statistic=backward_statistic)
    with torch.no_grad():
        norm.running_phi.fill_(4.0)
    x, gradient = _inputs(1, 1)[0]
    y, slope = _step(norm, x, gradient)
    running, batch = (torch.full((CHANNELS,), 4.0).double() + 1e-5).sqrt(), (x.square().mean((0, 1)) + 1e-5).sqrt()
    forward = float((y - x / running * norm.weight.detach()).abs().max())
    # The averaged correction starts at zero, so the first gradient is g over the denominator.
    scaled = gradient * norm.weight.detach()
    by_batch, by_running = (float((slope - scaled / divisor).abs().max()) for divisor in (batch, running))
    divides = float(by_batch < 1e-10 and forward < 1e-10)
    detail = f"forward against the running statistic {forward:.1e}; backward against the batch's {by_batch:.1e}, "
    detail += f"against the running one {by_running:.1e}"
    return Check.exact(divides, 1.0, "boolean", detail)


def running_double_update(running_update: str = "released") -> Check:
    """In warm-up φ ← 0.9(t−1)/t·φ + (0.1 + 0.9/t)·ψ: two updates."""
    norm = _norm(warmup_steps=200, group_scaling=False, running_update=running_update)
    expected = torch.ones(CHANNELS, dtype=torch.float64)
    error = 0.0
    for number, (x, gradient) in enumerate(_inputs(2, 120), start=1):
        _step(norm, x, gradient)
        square = x.square().mean((0, 1))
        expected = 0.9 * (number - 1) / number * expected + (0.1 + 0.9 / number) * square
        error = max(error, float((norm.running_phi - expected).abs().max()))
    late = 0.9 * 99 / 100
    detail = f"120 steps of warm-up: largest error {error:.1e}; weight of the past at step 100 {late:.3f}, plain 0.9"
    return Check.zero(error, 1e-10, detail)


def warmup_off_by_one(boundary: str = "released") -> Check:
    """Steps between the last batch-statistic forward and the last cumulative update."""
    warmup = 5
    norm = _norm(warmup_steps=warmup, group_scaling=False, warmup_boundary=boundary)
    last_forward = last_cumulative = 0
    for number, (x, gradient) in enumerate(_inputs(3, 8), start=1):
        before = norm.running_phi.clone()
        y, _ = _step(norm, x, gradient)
        square = x.square().mean((0, 1))
        if torch.allclose(y, x / (square + 1e-5).sqrt() * norm.weight.detach(), atol=1e-10):
            last_forward = number
        if not torch.allclose(norm.running_phi, 0.9 * before + 0.1 * square, atol=1e-10):
            last_cumulative = number
    detail = f"warm-up {warmup}: the batch's statistic to step {last_forward}, cumulative to step {last_cumulative}"
    return Check.exact(last_forward - last_cumulative, 1, "count", detail)


def warmup_backward_approximate(backward: str = "released") -> Check:
    """The gradient during warm-up is not the derivative (released: 0)."""
    norm = _norm(warmup_steps=10, group_scaling=False, warmup_backward=backward)
    *early, (x, gradient) = _inputs(4, 3)
    for earlier, its_gradient in early:
        _step(norm, earlier, its_gradient)
    _, slope = _step(norm, x, gradient)
    exact = x.clone().requires_grad_()
    y = exact / (exact.square().mean((0, 1)) + 1e-5).sqrt() * norm.weight.detach() + norm.bias.detach()
    y.backward(gradient)
    assert exact.grad is not None
    distance = float((slope - exact.grad).norm() / exact.grad.norm())
    detail = f"relative distance from the exact gradient {distance:.1e}"
    return Check.exact(float(distance < 1e-8), 0.0, "boolean", detail)


def groupscaling_unit_mean(groups: int = 4) -> Check:
    """After group scaling the mean of x² over each group is 1."""
    x = _inputs(5, 1)[0][0] * torch.linspace(0.2, 5.0, CHANNELS, dtype=torch.float64)
    means = group_scale(x, groups, 1e-5).unflatten(-1, (4, -1)).square().mean(-1)
    worst = float(means.flatten()[(means - 1).abs().argmax()])
    detail = f"{means.numel()} groups, farthest {worst:.6f}"
    return Check(ours=worst, theirs=1.0, tolerance=1e-2, unit="ratio", detail=detail)


def pad_populations_differ(population: str = "released") -> Check:
    """Forward and backward average over different tokens: 0 for the released code."""
    mask = torch.zeros(4, 6, dtype=torch.bool)
    mask[1:, 4:] = True
    x, gradient = _inputs(6, 1)[0]
    padding = mask.t().unsqueeze(-1)
    results = []
    for value in (1.0, 3.0):
        norm = _norm(warmup_steps=0, group_scaling=False, population=population)
        _step(norm, torch.where(padding, value, x), gradient, mask)
        results.append((norm.running_phi.clone(), norm.ema_gz.clone()))
    (running, average), (running_other, average_other) = results
    statistic = float((running - running_other).abs().max())
    correction = float((average - average_other).abs().max())
    detail = f"padding 1 and 3: running statistic moves by {statistic:.1e}, averaged correction by {correction:.1e}"
    return Check.exact(float(statistic < 1e-12 and correction < 1e-12), 0.0, "boolean", detail)


def counter_per_forward(training: bool = True) -> Check:
    """The counter advances once for each training forward with its backward."""
    norm = _norm(warmup_steps=10)
    norm.train(training)
    parts = _inputs(7, 6)
    for x, gradient in parts:
        _step(norm, x, gradient)
    steps = len(parts) // 2
    detail = f"{int(norm.iteration)} counted in {steps} optimizer steps of two batches"
    return Check.exact(int(norm.iteration) / len(parts), 1.0, "per forward", detail)


def bn_arm_has_rms(scaling: str = "released") -> Check:
    """The released BatchNorm equals token scaling and torch's batch normalization."""
    norm = BatchNormReleased(CHANNELS, scaling=scaling).double().train()
    plain = nn.BatchNorm1d(CHANNELS, momentum=0.05).double().train()
    x, _ = _inputs(8, 1)[0]
    scaled = x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
    theirs = plain(scaled.flatten(0, 1)).view_as(x)
    vanilla = nn.BatchNorm1d(CHANNELS).double().train()(x.flatten(0, 1)).view_as(x)
    ours = norm(x)
    error, away = (float((ours - other).detach().abs().max()) for other in (theirs, vanilla))
    return Check.zero(error, 1e-10, f"from scaling and batch norm {error:.1e}, from batch norm alone {away:.2f}")
