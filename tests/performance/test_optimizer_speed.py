"""Speed of an optimizer's step; ratios are valid within one run.

    MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=2000000000 OMP_NUM_THREADS=2 \\
        pytest tests/performance/test_optimizer_speed.py --benchmark-enable --benchmark-group-by=group

The allocator must be settled first, or page faults triple the figures. Each group is one model and one kind of
gradient: ``firing`` ones are orthogonal to every row of the weight, ``random`` ones are not. Nothing asserts a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from methods.optimizers import SGDP, AdamP

Step = Callable[[], Any]
MODELS = ("resnet18", "resnet50", "transformer")


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
    "adamw foreach": lambda p: torch.optim.AdamW(p, foreach=True).step,
    "adamw fused": lambda p: torch.optim.AdamW(p, fused=True).step,
    "adamp package": lambda p: package("AdamP")(p, weight_decay=1e-2).step,
    "sgdp package": lambda p: package("SGDP")(p, lr=0.1, momentum=0.9, weight_decay=1e-4).step,
    "adamp native": lambda p: AdamP(p, weight_decay=1e-2).step,
    "sgdp native": lambda p: SGDP(p, lr=0.1, momentum=0.9, weight_decay=1e-4).step,
    "adamp eager": lambda p: AdamP(p, weight_decay=1e-2, native=False).step,
    "sgdp eager": lambda p: SGDP(p, lr=0.1, momentum=0.9, weight_decay=1e-4, native=False).step,
    "adamp compiled": lambda p: torch.compile(AdamP(p, weight_decay=1e-2).step),
    "sgdp compiled": lambda p: torch.compile(SGDP(p, lr=0.1, momentum=0.9, weight_decay=1e-4).step),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("gradients", ["firing", "random"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("arm", ARMS)
def test_step(benchmark: Any, arm: str, model: str, gradients: str) -> None:
    if benchmark.disabled:
        pytest.skip("measured with --benchmark-enable only: building the models takes longer than a test should")
    benchmark.group = f"{model}, {gradients} gradients"
    torch._dynamo.reset()
    step = ARMS[arm](parameters(model, gradients))
    for _ in range(3):
        step()
    benchmark.pedantic(step, rounds=30, iterations=1, warmup_rounds=2)
