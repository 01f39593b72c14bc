"""What the norms cost, forward and backward, beside torch's own: run with ``--benchmark-enable``.

    MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=2000000000 \\
        pytest tests/performance/test_norm_speed.py --benchmark-enable -s

Every group is timed in one run, in turns, so that drift of the machine hits all alike; the table printed at its
end gives ratios to the group's first entry, in wall time and in processor time, which other jobs disturb less.
The last column is the time that the traffic alone would take: what the passes must read and write, at the
bandwidth of a copy measured in the same turns.
"""

import time
from statistics import median

import pytest
import torch
from torch import nn

from methods.norms import (
    BatchNormVanilla,
    GroupRMSNorm,
    PowerNorm,
    PowerNormVanilla,
    RegionNormBasic,
    RegionNormLearned,
)

THREADS = 2
ROUNDS = 40


def step(function, x, grad):
    def run():
        function(x).backward(grad)
        x.grad = None

    return run


def copied(x):
    target = torch.empty_like(x)
    return lambda: target.copy_(x)


def measure(candidates, rounds):
    """Wall and processor seconds of each candidate, turn by turn."""
    wall = {name: [] for name in candidates}
    cpu = {name: [] for name in candidates}
    for run in candidates.values():
        for _ in range(4):
            run()
    for _ in range(rounds):
        for name, run in candidates.items():
            before, busy = time.perf_counter(), time.process_time()
            run()
            wall[name].append(time.perf_counter() - before)
            cpu[name].append(time.process_time() - busy)
    return wall, cpu


def table(title, wall, cpu, passes, target):
    """One line a candidate; ``passes`` counts reads and writes of the activations that cannot be avoided."""
    base, *_ = [name for name in wall if name != "copy"]
    copy = min(wall["copy"]) / 2
    print(f"\n{title} ({THREADS} threads; target {target})")
    print(f"{'':34}{'best ms':>9}{'median ms':>11}{'best ÷':>8}{'median ÷':>10}{'cpu ÷':>8}{'floor ms':>10}")
    for name in wall:
        times, busy = wall[name], cpu[name]
        floor = f"{passes[name] * copy * 1e3:10.2f}" if name in passes else ""
        print(
            f"{name:34}{min(times) * 1e3:9.2f}{median(times) * 1e3:11.2f}{min(times) / min(wall[base]):8.2f}"
            f"{median(times) / median(wall[base]):10.2f}{min(busy) / min(cpu[base]):8.2f}{floor}"
        )


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def sequence_candidates(x, grad):
    mask = torch.zeros(x.shape[1], x.shape[0], dtype=torch.bool)
    mask[:, -8:] = True
    channels = x.shape[-1]
    compiled = {
        "PowerNorm": PowerNorm(channels, warmup_steps=3),
        "PowerNorm, 8 groups": PowerNorm(channels, warmup_steps=3, groups=8),
        "PN-V": PowerNormVanilla(channels),
        "GroupScaling": GroupRMSNorm(channels),
        "BatchNorm, masked": BatchNormVanilla(channels),
    }
    functions = {"nn.LayerNorm": nn.LayerNorm(channels)}
    functions["nn.LayerNorm, compiled"] = torch.compile(nn.LayerNorm(channels))
    for name, norm in compiled.items():
        functions[f"{name}, compiled"] = torch.compile(norm, fullgraph=True)
    masked = torch.compile(PowerNorm(channels, warmup_steps=3), fullgraph=True)
    functions["PowerNorm, padding mask, compiled"] = lambda x: masked(x, mask)
    functions["PowerNorm, eager"] = PowerNorm(channels, warmup_steps=3)
    return {name: step(function, x, grad) for name, function in functions.items()}


def test_sequence_norms(benchmark):
    torch.manual_seed(0)
    shape = (64, 64, 512)
    x, grad = torch.randn(shape, requires_grad=True), torch.randn(shape)
    rounds = ROUNDS if benchmark.enabled else 1
    candidates = (
        sequence_candidates(x, grad)
        if benchmark.enabled
        else {"nn.LayerNorm": step(nn.LayerNorm(512), x, grad), "PowerNorm, compiled": step(PowerNorm(512), x, grad)}
    )
    candidates["copy"] = copied(x.detach())
    wall, cpu = measure(candidates, rounds)
    # forward: read twice (ψ, then y), write; backward: both read twice, write
    passes = {"nn.LayerNorm": 5, "PowerNorm, compiled": 8}
    table(f"sequence norms, (T, B, C) = {shape}, forward and backward", wall, cpu, passes, "PowerNorm ≤ 2.2")
    benchmark.pedantic(candidates["PowerNorm, compiled"], rounds=rounds)


@pytest.mark.parametrize("shape", [(16, 64, 64, 64), (8, 256, 32, 32), (4, 64, 128, 128)])
def test_image_norms(benchmark, shape):
    torch.manual_seed(0)
    x, grad = torch.randn(shape, requires_grad=True), torch.randn(shape)
    mask = (torch.rand(shape[0], 1, *shape[2:]) < 0.3).float()
    rounds = ROUNDS if benchmark.enabled else 1
    channels = shape[1]
    basic, learned = RegionNormBasic(channels), RegionNormLearned(channels)
    functions = {"nn.BatchNorm2d": nn.BatchNorm2d(channels)}
    if benchmark.enabled:
        fast = torch.compile(RegionNormBasic(channels), fullgraph=True)
        functions["nn.BatchNorm2d, compiled"] = torch.compile(nn.BatchNorm2d(channels))
        functions["RN-B, compiled"] = lambda x: fast(x, mask)
        functions["RN-L, compiled"] = torch.compile(learned, fullgraph=True)
    functions["RN-B, eager"] = lambda x: basic(x, mask)
    candidates = {name: step(function, x, grad) for name, function in functions.items()}
    candidates["copy"] = copied(x.detach())
    wall, cpu = measure(candidates, rounds)
    passes = {"nn.BatchNorm2d": 8, "RN-B, compiled": 8}
    table(f"image norms, (B, C, H, W) = {shape}, forward and backward", wall, cpu, passes, "RN-B ≤ 1.3")
    benchmark.pedantic(candidates["RN-B, compiled" if benchmark.enabled else "RN-B, eager"], rounds=rounds)
