"""What the shared loop costs beside one written by hand: the same model, batches and optimizer.

    pytest tests/performance/test_loop_overhead.py -m slow -s

Processor time of the training's thread, in windows of steps; the two take turns in one run. The loop seeds every step,
sets the schedule's rate, looks whether the loss is finite, logs two hundred steps, and looks at the deadline, the
heartbeat and the checkpoint. Its part is told best by a step that does next to nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from loop_trainings import Transformer, cnn, compared, pictures, tokens
from torch import nn

from harness.trial.loop import Loop
from harness.trial.result import MetricSeries

WIDEST = 1.4
"""What the guard allows of a small network's step, where 1.05 is the aim: others may use the machine."""


def next_to_nothing() -> nn.Module:
    """A layer of 4 × 3."""
    return nn.Linear(4, 3)


def few(items: int = 2) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Batches for it."""
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(items, 4, generator=generator), torch.randint(3, (items,), generator=generator)) for _ in range(16)
    ]


def microseconds(call: Callable[[int], object], times: int = 2000) -> float:
    """Of a call, the best of ten rounds; its argument counts."""
    best = float("inf")
    for _ in range(10):
        began = time.thread_time()
        for number in range(times):
            call(number)
        best = min(best, (time.thread_time() - began) / times)
    return 1e6 * best


class Series:
    """What ``Loop._append`` needs of a loop."""

    def __init__(self) -> None:
        self.series: dict[tuple[str, str], MetricSeries] = {}
        self.per_epoch, self.started = 10, time.perf_counter()

    def log(self, step: int) -> None:
        """A scalar."""
        Loop._append(self, "train", "loss", step, 0.5)  # type: ignore[arg-type]


def test_a_step_is_little_more_than_its_work() -> None:
    """A guard with a wide margin; the table below has the figures."""
    ratios: list[float] = []
    while len(ratios) < 3 and min(ratios, default=2.0) >= WIDEST:
        ratios.append(compared(cnn, pictures(32), steps=150, turns=2).best)
    assert min(ratios) < WIDEST


def test_a_scalar_is_logged_by_little_more_than_its_four_numbers() -> None:
    kept: list[list[float]] = [[], [], [], []]

    def bare(step: int) -> None:
        for numbers in kept:
            numbers.append(time.perf_counter())

    series = Series()
    assert min(microseconds(series.log, 500) / microseconds(bare, 500) for _ in range(3)) < 5
    assert len(series.series["train", "loss"].value) == 3 * 10 * 500


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_table(tmp_path: Path) -> None:
    print(f"\n{'':26}{'loop, ms':>10}{'by hand':>10}{'loop ÷ hand, best':>20}{'median':>9}")
    rows = {
        "next to nothing": compared(next_to_nothing, few(), steps=1500, turns=4),
        "a tiny CNN": compared(cnn, pictures(32), steps=500, turns=4),
        "a small Transformer": compared(Transformer, tokens(16), steps=300, turns=4),
        "a CNN of about 100 ms": compared(lambda: cnn(48), pictures(2048), steps=12, turns=3, window=3),
    }
    for name, row in rows.items():
        print(f"{name:26}{row.loop:10.4f}{row.hand:10.4f}{row.best:20.3f}{row.median:9.3f}")
    own = rows["next to nothing"].loop - rows["next to nothing"].hand
    print(f"the loop's own part of a step: {1e3 * own:.1f} µs", end="")
    for name in list(rows)[1:]:
        print(f"; {100 * own / rows[name].hand:.2f} % of {name}", end="")
    print(f"\na scalar logged: {microseconds(Series().log):.2f} µs")
