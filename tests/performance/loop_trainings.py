"""Trainings by the shared loop and by one written by hand: the same model, batches and optimizer. Imported by tests."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.registry.cards import TaskCard
from harness.trial.contracts import Evaluation, Slot, StepResult, Task, TrialContext
from harness.trial.loop import Loop, settle
from harness.trial.recipe import Recipe
from harness.trial.runtime import Component, Runtime
from harness.trial.seeds import Streams, seed_torch

BATCHES = 16
WINDOW = 50
"""Steps that are timed together: the best of many short windows tells most where others use the machine too."""
Batch = tuple[Tensor, Tensor]
CPU = torch.device("cpu")


def cnn(width: int = 8) -> nn.Module:
    """Two convolutions with BatchNorm, for pictures of 8 × 8 × 1."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * width, 10),
    )


class Transformer(nn.Module):
    """Two layers of width 32 with dropout over 64 tokens; its classes are the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(64, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 64)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (N, T) to logits of the last place (N, 64)."""
        return self.head(self.layers(self.table(tokens))[:, -1])


def pictures(items: int, size: int = 8) -> list[Batch]:
    """Batches of random pictures (N, 1, S, S) and labels (N,)."""
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(items, 1, size, size, generator=generator), torch.randint(10, (items,), generator=generator))
        for _ in range(BATCHES)
    ]


def tokens(items: int) -> list[Batch]:
    """Batches of random tokens (N, 16) and what follows (N,)."""
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randint(64, (items, 16), generator=generator), torch.randint(64, (items,), generator=generator))
        for _ in range(BATCHES)
    ]


class Clock:
    """Processor seconds of this thread, noted before every ``window`` steps."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.noted: list[float] = []

    def batches(self, given: list[Batch], steps: int) -> Iterator[Batch]:
        """So many batches, in turns."""
        for step in range(steps):
            if step % self.window == 0:
                self.noted.append(time.thread_time())
            yield given[step % len(given)]
        self.noted.append(time.thread_time())

    @property
    def spans(self) -> list[float]:
        """Milliseconds a step, window by window."""
        return [1e3 * (end - begin) / self.window for begin, end in itertools.pairwise(self.noted)]


class Given(Task):
    """A model on batches that lie ready: what a step takes beside them is the loop's."""

    card: ClassVar[TaskCard] = TaskCard(
        name="given", target="Given", summary="batches that lie ready", slots=("optimizer",), metrics=(), reads=()
    )

    def __init__(self, context: TrialContext, model: nn.Module, given: list[Batch], clock: Clock) -> None:
        super().__init__(context)
        self.model, self.given, self.clock = model, given, clock

    def build(self) -> nn.Module:
        """The model itself."""
        return self.model

    def steps_per_epoch(self) -> int:
        """All steps."""
        return int(self.recipe.steps or 0)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """In order."""
        return self.clock.batches(self.given, self.steps_per_epoch())

    def training_step(self, batch: Batch, step: int) -> StepResult:
        """Cross-entropy."""
        return StepResult(F.cross_entropy(self.model(batch[0]), batch[1]))

    def evaluate(self, split: str) -> Evaluation:
        """Nothing: only steps are timed."""
        return Evaluation({})


def by_the_loop(model: nn.Module, given: list[Batch], steps: int, window: int) -> list[float]:
    """Milliseconds a step of a training by the shared loop, window by window."""
    recipe = Recipe(steps=steps, schedule="cosine", evaluations=1, diagnostics="off")
    slots = {"optimizer": Slot("adam", torch.optim.Adam, {"lr": 1e-3, "fused": True})}
    context = TrialContext(
        recipe=recipe,
        options=None,
        load_data=lambda: None,
        build_model=lambda facts: model,
        slots=slots,
        streams=Streams(0),
        device=CPU,
        scale="mini",
        folder=Path(),
        load_prerequisite=lambda name, facts: model,
    )
    clock = Clock(window)
    loop = Loop(Given(context, model, given, clock), model, Runtime(Path("nowhere"), CPU, nothing, Path()))
    assert loop.run().status == "done"
    return clock.spans


def by_hand(model: nn.Module, given: list[Batch], steps: int, window: int) -> list[float]:
    """Milliseconds a step of a loop that does nothing else."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    clock = Clock(window)
    for inputs, labels in clock.batches(given, steps):
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
    return clock.spans


def nothing(kind: str, name: str) -> Component:
    """There is no component."""
    raise KeyError(name)


class Compared(NamedTuple):
    """Milliseconds a step by the loop and by hand: the best windows, the median ones; and the ratio of each."""

    loop: float
    hand: float
    best: float
    median: float


def compared(
    make: Callable[[], nn.Module], given: list[Batch], steps: int, turns: int, window: int = WINDOW
) -> Compared:
    """The two in turns, in an order that alternates; the first window of each training warms up."""
    settle(Recipe())
    taken: dict[str, list[float]] = {"loop": [], "hand": []}
    for turn in range(turns):
        for name in ("loop", "hand") if turn % 2 else ("hand", "loop"):
            seed_torch(0)
            taken[name] += (by_the_loop if name == "loop" else by_hand)(make(), given, steps, window)[1:]
    loop, hand = min(taken["loop"]), min(taken["hand"])
    return Compared(loop, hand, loop / hand, median(taken["loop"]) / median(taken["hand"]))
