"""Speed of an optimizer's step beside AdamW's: run with ``--benchmark-enable``.

    MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=2000000000 OMP_NUM_THREADS=2 \\
        pytest tests/performance/test_optimizer_speed.py --benchmark-enable -s

The allocator must be settled first, or page faults triple the figures. Each table is one model and one kind of
gradient: ``firing`` ones are orthogonal to every row of the weight, ``random`` ones are not. All are timed in one run,
in turns, so that drift of the machine hits all alike. The last column is the time that the traffic alone would take,
at the bandwidth of a copy measured in the same turns: AdamW reads w, g, m, v and writes w, m, v; AdamP must know its
row sums before it moves the weight, so that w, m and v are read once more where they have left the cache. Nothing
asserts a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
import torch
from torch import nn

from methods.optimizers import SGDP, AdamP

Step = Callable[[], Any]
MODELS = ("resnet18", "resnet50", "transformer")
THREADS = 2
ROUNDS = 30


def shapes(model: str) -> list[tuple[int, ...]]:
    """Parameter shapes of the model; the Transformer has 6 layers of width 512 and a table of 8,000 tokens."""
    with torch.device("meta"):
        if model == "transformer":
            layer = nn.TransformerEncoderLayer(512, 8, 2048)
            built: nn.Module = nn.ModuleList(
                [nn.Embedding(8000, 512), nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)]
            )
        else:
            built = getattr(pytest.importorskip("torchvision").models, model)()
    return [tuple(p.shape) for p in built.parameters()]


def parameters(model: str, gradients: str) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for shape in shapes(model):
        p = nn.Parameter(torch.randn(shape, generator=generator) * 0.05)
        g = torch.randn(shape, generator=generator) * 0.01
        if gradients == "firing" and p.ndim > 1:
            w, rows = p.detach().flatten(1), g.flatten(1)
            g = (rows - w * ((rows * w).sum(1) / (w * w).sum(1))[:, None]).view(shape)
        p.grad = g
        made.append(p)
    return made


def package(name: str) -> Callable[..., torch.optim.Optimizer]:
    return getattr(pytest.importorskip("adamp"), name)


ARMS: dict[str, Callable[[list[nn.Parameter]], Step]] = {
    "AdamW foreach": lambda p: torch.optim.AdamW(p, foreach=True).step,
    "AdamW fused": lambda p: torch.optim.AdamW(p, fused=True).step,
    "AdamP, C kernel": lambda p: AdamP(p, weight_decay=1e-2).step,
    "AdamP, eager": lambda p: AdamP(p, weight_decay=1e-2, native=False).step,
    "AdamP, compiled": lambda p: torch.compile(AdamP(p, weight_decay=1e-2).step),
    "AdamP of the adamp package": lambda p: package("AdamP")(p, weight_decay=1e-2).step,
    "SGDP, C kernel": lambda p: SGDP(p, lr=0.1, momentum=0.9, weight_decay=1e-4).step,
    "SGDP, eager": lambda p: SGDP(p, lr=0.1, momentum=0.9, weight_decay=1e-4, native=False).step,
    "SGDP, compiled": lambda p: torch.compile(SGDP(p, lr=0.1, momentum=0.9, weight_decay=1e-4).step),
    "SGDP of the adamp package": lambda p: package("SGDP")(p, lr=0.1, momentum=0.9, weight_decay=1e-4).step,
}
PASSES = {"AdamW foreach": 7, "AdamW fused": 7}
PASSES |= {f"AdamP, {form}": 10 for form in ("C kernel", "eager", "compiled")}
PASSES |= {f"SGDP, {form}": 7 for form in ("C kernel", "eager", "compiled")}


def timed(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step, turn by turn; one step before each brings its own tensors back into the cache."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            step()
            before = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - before)
    return times


@pytest.mark.timeout(900)
@pytest.mark.parametrize("gradients", ["firing", "random"])
@pytest.mark.parametrize("model", MODELS)
def test_step(benchmark: Any, model: str, gradients: str) -> None:
    if benchmark.disabled:
        pytest.skip("measured with --benchmark-enable only: building the models takes longer than a test should")
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        steps: dict[str, Step] = {}
        for name, build in ARMS.items():
            torch._dynamo.reset()
            steps[name] = build(parameters(model, gradients))
            for _ in range(3):
                steps[name]()
        size = sum(p.numel() for p in parameters(model, gradients))
        source, target = torch.empty(size), torch.empty(size)
        steps["copy"] = lambda: target.copy_(source)
        times = timed(steps, ROUNDS)
    finally:
        torch.set_num_threads(before)
    one_pass = min(times["copy"]) / 2
    print(f"\n{model}, {size / 1e6:.1f} million parameters, {gradients} gradients ({THREADS} threads)")
    print(f"{'':28}{'best ms':>9}{'median ms':>11}{'best ÷':>8}{'median ÷':>10}{'floor ms':>10}")
    for name, taken in times.items():
        floor = f"{PASSES[name] * one_pass * 1e3:10.2f}" if name in PASSES else ""
        base = times["AdamW foreach"]
        ratios = f"{min(taken) / min(base):8.2f}{median(taken) / median(base):10.2f}"
        print(f"{name:28}{min(taken) * 1e3:9.2f}{median(taken) * 1e3:11.2f}{ratios}{floor}")
    benchmark.pedantic(steps["AdamP, C kernel"], rounds=ROUNDS)
