"""AdamW with AdamP's norms: directions of AdamW, norms of AdamP, nothing where the projection would not fire."""

import pytest
import torch
from torch import Tensor, nn

from methods.optimizers import AdamP
from methods.optimizers.baselines import adamw
from methods.optimizers.matched_norms import AdamWMatchedNorms

OPTIONS = {"lr": 1e-2, "weight_decay": 0.3}


def weight(seed: int = 0, shape: tuple[int, ...] = (6, 3, 3, 3)) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tangent(at: Tensor, seed: int, rows: int) -> Tensor:
    """A gradient orthogonal to each row, or to all of ``at``."""
    raw, flat = weight(seed, tuple(at.shape)).reshape(rows, -1), at.reshape(rows, -1)
    radial = (raw * flat).sum(1, keepdim=True) / flat.square().sum(1, keepdim=True)
    return (raw - radial * flat).reshape(at.shape)


def stepped(make: object, start: Tensor, rows: int, steps: int) -> tuple[Tensor, Tensor]:
    """The last two weights, under gradients orthogonal to the weight."""
    w = nn.Parameter(start.clone())
    optimizer = make([w])  # type: ignore[operator]
    before = start
    for step in range(steps):
        before = w.detach().clone()
        w.grad = tangent(before, 10 + step, rows)
        optimizer.step()
    return w.detach(), before


def norms(w: Tensor, rows: int) -> Tensor:
    return w.reshape(rows, -1).norm(dim=1)


@pytest.mark.parametrize("rows", [6, 1])
def test_one_step_has_the_norms_of_adamp_and_the_direction_of_adamw(rows: int) -> None:
    start = weight()
    ours, _ = stepped(lambda p: AdamWMatchedNorms(p, **OPTIONS), start, rows, 1)
    projected, _ = stepped(lambda p: AdamP(p, **OPTIONS), start, rows, 1)
    plain, _ = stepped(lambda p: adamw(p, **OPTIONS), start, rows, 1)
    torch.testing.assert_close(norms(ours, rows), norms(projected, rows), rtol=1e-6, atol=0)
    assert (norms(plain, rows) / norms(projected, rows) - 1).abs().max() > 1e-4
    cosine = nn.functional.cosine_similarity(ours.reshape(rows, -1), plain.reshape(rows, -1), dim=1)
    torch.testing.assert_close(cosine, torch.ones_like(cosine), rtol=1e-12, atol=1e-12)


def test_momentum_no_longer_grows_the_norm() -> None:
    start, steady = weight(), {"lr": 5e-2, "weight_decay": 0.0}

    def growth(make: object) -> float:
        w = nn.Parameter(start.clone())
        optimizer = make([w])  # type: ignore[operator]
        goal = weight(9)
        for _ in range(200):
            flat = w.flatten(1)
            loss = -(nn.functional.cosine_similarity(flat, goal.flatten(1), dim=1)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(w.detach().norm() / start.norm())

    matched, plain = growth(lambda p: AdamWMatchedNorms(p, **steady)), growth(lambda p: adamw(p, **steady))
    projected = growth(lambda p: AdamP(p, **steady))
    assert plain > 1.05 * projected
    assert matched == pytest.approx(projected, rel=0.02)


def test_where_the_projection_does_not_fire_it_is_adamw() -> None:
    shapes = [(6, 3, 3, 3), (8,), (4, 5)]
    ours, theirs = ([nn.Parameter(weight(i, shape)) for i, shape in enumerate(shapes)] for _ in range(2))
    optimizers = AdamWMatchedNorms(ours, **OPTIONS), adamw(theirs, **OPTIONS)
    for step in range(3):
        for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            a.grad = b.detach() + 0.1 * weight(50 + 7 * step + index, tuple(b.shape))
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_delta_zero_is_adamw_and_a_bad_option_is_refused() -> None:
    start = weight()
    ours, _ = stepped(lambda p: AdamWMatchedNorms(p, **OPTIONS, delta=0.0), start, 6, 3)
    plain, _ = stepped(lambda p: adamw(p, **OPTIONS), start, 6, 3)
    torch.testing.assert_close(ours, plain, rtol=0, atol=0)
    with pytest.raises(ValueError, match="delta must be at least 0"):
        AdamWMatchedNorms([nn.Parameter(start)], delta=-1.0)


def test_a_closure_is_called_and_its_loss_returned() -> None:
    w = nn.Parameter(weight())

    def closure() -> Tensor:
        w.grad = tangent(w.detach(), 3, 6)
        return torch.tensor(2.5)

    assert float(AdamWMatchedNorms([w], **OPTIONS).step(closure)) == 2.5
