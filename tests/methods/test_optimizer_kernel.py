"""The C kernel of AdamP and SGDP: the plain loop's numbers, whatever the options, threads, layouts and machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from methods.optimizers import SGDP, AdamP, kernel

SHAPES = [(64, 3, 7, 7), (33, 70), (64,), (10, 64), (), (5, 3, 33), (1, 100)]
KINDS: dict[str, Callable[..., AdamP | SGDP]] = {
    "adamp": lambda params, **kw: AdamP(params, **{"lr": 1e-2, "weight_decay": 0.05, **kw}),
    "sgdp": lambda params, **kw: SGDP(params, **{"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, **kw}),
}
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in KINDS),
    *((kind, {"nesterov": True}) for kind in KINDS),
    *((kind, {"maximize": True}) for kind in KINDS),
    *((kind, {"rows": "each"}) for kind in KINDS),
    *((kind, {"views": "layer"}) for kind in KINDS),
    *((kind, {"views": "channel", "rows": "each"}) for kind in KINDS),
    *((kind, {"project": False}) for kind in KINDS),
    *((kind, {"delta": float("inf")}) for kind in KINDS),
    *((kind, {"delta": 0.0, "wd_ratio": 0.5}) for kind in KINDS),
    ("adamp", {"betas": (0.0, 0.99), "eps": 1e-3}),
    ("sgdp", {"buffer": "paper", "dampening": 0.3}),
    ("sgdp", {"momentum": 0.0}),
]

pytestmark = pytest.mark.skipif(kernel.load() is None, reason="no C compiler with OpenMP: the batched form runs here")


def parameters(seed: int = 1) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(0.1 * torch.randn(shape, generator=generator)) for shape in SHAPES]


def trained(optimizer: AdamP | SGDP, params: list[nn.Parameter], steps: int = 6) -> list[torch.Tensor]:
    """Parameters and fired views after steps of which every other one fires."""
    views = []
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        for p in params:
            g = torch.randn(p.shape, generator=generator)
            if p.ndim > 1 and step % 2:
                w, rows = p.detach().flatten(1), g.flatten(1)
                g = (rows - w * ((rows * w).sum(1) / (w * w).sum(1))[:, None]).view(p.shape)
            p.grad = g
        optimizer.step()
        views += [view.clone() for view in optimizer.fired_views().values()]
    return [*(p.detach().clone() for p in params), torch.stack(views)]


def largest(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
    return max(float((x - y).abs().max()) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=str)
def test_equals_the_plain_loop(kind: str, options: dict[str, Any]) -> None:
    mine, theirs = parameters(), parameters()
    native = trained(KINDS[kind](mine, record=True, **options), mine)
    loop = trained(KINDS[kind](theirs, record=True, foreach=False, **options), theirs)
    assert largest(native, loop) < 2e-6
    assert torch.equal(native[-1], loop[-1])
    if options.get("delta") not in (0.0,) and options.get("views") != "layer":
        assert {0.0, 1.0} <= set(native[-1].tolist()) or options.get("delta") == float("inf")


@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_no_bit(kind: str) -> None:
    result = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        params = parameters()
        result.append(trained(KINDS[kind](params, record=True), params))
    assert all(torch.equal(a, b) for a, b in zip(*result, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_does_not_take_goes_to_the_other_forms(kind: str) -> None:
    def mixed() -> list[nn.Parameter]:
        generator = torch.Generator().manual_seed(3)
        odd = [
            torch.randn(8, 4, 3, 3, generator=generator).contiguous(memory_format=torch.channels_last),
            torch.randn(6, 9, generator=generator, dtype=torch.float64),
            torch.randn(6, 9, generator=generator),
            torch.zeros(0, 4),
            torch.randn(4, 6, generator=generator).t(),
        ]
        return [nn.Parameter(w) for w in odd]

    def steps(params: list[nn.Parameter], **options: Any) -> list[torch.Tensor]:
        optimizer = KINDS[kind](params, record=True, **options)
        for step in range(4):
            generator = torch.Generator().manual_seed(step)
            for p in params:
                p.grad = torch.randn(p.shape, generator=generator).to(p)
            optimizer.step()
        views = [view.double() for view in optimizer.fired_views().values()]
        return [*(p.detach().double() for p in params if p.numel()), torch.stack(views)]

    assert largest(steps(mixed()), steps(mixed(), foreach=False)) < 2e-6


def test_without_a_compiler_the_batched_form_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = parameters(), parameters()
    batched = trained(AdamP(mine, record=True, native=False), mine)
    monkeypatch.setenv("CC", "/no/such/compiler")
    kernel.load.cache_clear()
    try:
        assert kernel.load() is None
        fallen = trained(AdamP(theirs, record=True), theirs)
    finally:
        monkeypatch.undo()
        kernel.load.cache_clear()
    assert all(torch.equal(a, b) for a, b in zip(batched, fallen, strict=True))


def test_it_is_built_once_and_leaves_nothing_half_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiler = "cc"
    first = kernel._built(compiler)
    created = first.stat().st_mtime_ns
    assert kernel._built(compiler) == first
    assert first.stat().st_mtime_ns == created
    assert [path.name for path in first.parent.iterdir()] == [first.name]
    assert first.parent.stat().st_mode & 0o077 == 0, "nobody else may put a library there"


def test_nan_spreads_as_in_the_plain_loop() -> None:
    result = []
    for options in ({}, {"foreach": False}):
        w = nn.Parameter(torch.ones(4, 5))
        w.grad = torch.full((4, 5), float("nan"))
        AdamP([w], lr=0.1, **options).step()
        result.append(torch.isnan(w.detach()))
    assert torch.equal(*result)
    assert result[0].all()
