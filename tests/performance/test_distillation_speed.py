"""What NKD and USKD cost, forward and backward, beside plain KD: run with ``--benchmark-enable``.

    MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=2000000000 \\
        pytest tests/performance/test_distillation_speed.py --benchmark-enable -s

Every group is timed in one run, in turns, on fresh logits each turn: a sort of the same numbers again and again
teaches the processor's branch predictor their order and looks three times faster than it is. The last column is the
time of the memory traffic that cannot be avoided, at the bandwidth of a copy measured in the same turns: student and
teacher read, the gradient written.
"""

import random
import time
from statistics import median

import pytest
import torch

from methods.distillation.kd import kd_loss
from methods.distillation.nkd import nkd_loss
from methods.distillation.uskd import uskd_loss

CLASSES = 1000
THREADS = 2
ROUNDS = 60
DRAWS = 12
PASSES = 3


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def logits(items):
    g = torch.Generator().manual_seed(0)
    for _ in range(DRAWS):
        student, other = (2 * torch.randn(items, CLASSES, generator=g) for _ in range(2))
        yield student, other, torch.randint(CLASSES, (items,), generator=g)


def backward(loss):
    def run(student, other, label):
        leaf = student.detach().requires_grad_()
        loss(leaf, other, label).backward()
        return leaf.grad

    return run


def measure(candidates, items, rounds):
    """Wall and processor seconds of each candidate, turn by turn."""
    draws = list(logits(items))
    wall, cpu = {name: [] for name in candidates}, {name: [] for name in candidates}
    for run in candidates.values():
        for _ in range(4):
            run(*draws[0])
    turns = list(candidates.items())
    for number in range(rounds):
        # After a sort the caches are cold: the order changes, and each candidate warms up before it is timed.
        random.Random(number).shuffle(turns)
        for name, run in turns:
            run(*draws[(number + 1) % DRAWS])
            before, busy = time.perf_counter(), time.process_time()
            run(*draws[number % DRAWS])
            wall[name].append(time.perf_counter() - before)
            cpu[name].append(time.process_time() - busy)
    return wall, cpu


def losses(temperature, gamma):
    eager = {
        "KD": lambda s, t, y: kd_loss(s, t, temperature),
        "NKD": lambda s, t, y: nkd_loss(s, t, y, temperature, gamma),
        "USKD": lambda s, w, y: uskd_loss(s, w.detach().requires_grad_(), y),
    }
    compiled = {f"{name}, compiled": torch.compile(loss, dynamic=False) for name, loss in eager.items()}
    return {name: backward(loss) for name, loss in {**compiled, **eager}.items()}


@pytest.mark.parametrize("items", [128, 512])
@pytest.mark.parametrize(("temperature", "gamma"), [(1.0, 1.5), (3.0, 3.5)])
def test_distillation_losses(benchmark, items, temperature, gamma):
    candidates = {
        **losses(temperature, gamma),
        "argsort of the logits": lambda s, t, y: s.argsort(dim=1, descending=True),
        "copy": lambda s, t, y: s.clone(),
    }
    if benchmark.disabled:  # a plain test run: everything runs once, nothing is timed
        student, other, label = next(logits(8))
        for name, run in candidates.items():
            if "compiled" not in name:
                assert run(student, other, label).shape == student.shape
        benchmark(candidates["NKD"], student, other, label)
        return
    wall, cpu = benchmark.pedantic(measure, args=(candidates, items, ROUNDS), rounds=1)
    kd, kd_cpu = wall["KD, compiled"], cpu["KD, compiled"]
    floor = PASSES * min(wall["copy"]) / 2 * 1e3
    print(f"\n{items} items, {CLASSES} classes, T {temperature} ({THREADS} threads; NKD target: 1.0 of KD, compiled)")
    print(f"{'':24}{'best ms':>9}{'median ms':>11}{'best ÷':>8}{'median ÷':>10}{'cpu ÷':>8}{'floor ms':>10}")
    for name, times in wall.items():
        print(
            f"{name:24}{min(times) * 1e3:9.3f}{median(times) * 1e3:11.3f}{min(times) / min(kd):8.2f}"
            f"{median(times) / median(kd):10.2f}{min(cpu[name]) / min(kd_cpu):8.2f}{floor:10.3f}"
        )
    for label, times, value in (("best", wall, min), ("median", wall, median), ("cpu", cpu, min)):
        budget = value(times["KD, compiled"]) + 1.2 * value(times["argsort of the logits"])
        ratio = value(times["USKD, compiled"]) / budget
        print(f"USKD, compiled ÷ (KD + 1.2 argsort), {label}: {ratio:.2f} (target 1.0)")
