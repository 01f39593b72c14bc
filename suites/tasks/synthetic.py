"""A task whose truth is known: for whole-system simulations of the judge, for sweeps, for tests of the engine.

It is no stand-in of any benchmark and serves no paper's claim. A scalar descends to ``optimum`` through the real
loop; the score that it reports is then drawn, not learned::

    score = level + effect + pair_sd · a(seed) + own_sd · b(seed, noise_key) − curvature · (log10(lr) − best_log_lr)²

where a is shared by the arms of a seed (what pairing removes) and b belongs to the arm that names ``noise_key``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from harness.registry.cards import TaskCard
from harness.trial.contracts import Evaluation, StepResult, Task
from harness.trial.options import option


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticOptions:
    """Options of the task ``synthetic``."""

    level: float = option(50.0, "mean score of an arm without effect")
    effect: float = option(0.0, "true difference of this arm")
    pair_sd: float = option(1.0, "sd of the noise that the arms of a seed share", low=0)
    own_sd: float = option(1.0, "sd of the arm's own noise", low=0)
    noise_key: str = option("", "arms of one key share their own noise too")
    optimum: float = option(1.0, "where the scalar descends to")
    curvature: float = option(0.0, "loss of score per squared decade of learning rate", low=0)
    best_log_lr: float = option(-1.0, "log10 of the best learning rate")
    step_seconds: float = option(0.0, "pause in each step, to have time to be interrupted", low=0)
    diverges_above: float | None = option(None, "learning rates above this diverge")
    fails: bool = option(False, "raise an error in the first step")


class Synthetic(Task):
    """Reports a score drawn from a known distribution; ``validation`` and ``test`` have noise of their own."""

    card = TaskCard(
        name="synthetic",
        target="Synthetic",
        summary="a score drawn from a known truth: simulations and tests, no paper's benchmark",
        slots=("optimizer",),
        metrics=("score", "distance"),
        reads=("nothing",),
        options=SyntheticOptions,
    )

    options: SyntheticOptions
    model: nn.Module

    def build(self) -> nn.Module:
        """The scalar."""
        self.context.load_data()
        self.model = self.context.build_model({})
        return self.model

    def steps_per_epoch(self) -> int:
        """Ten, by convention."""
        return 10

    def batches(self, epoch: int) -> Iterator[int]:
        """Numbers of steps."""
        yield from range(10)

    def training_step(self, batch: int, step: int) -> StepResult:
        """Squared distance to the optimum, shape ()."""
        if self.options.fails:
            raise RuntimeError("this arm is told to fail")
        time.sleep(self.options.step_seconds)
        loss = (self.model() - self.options.optimum).square().sum()
        bound = self.options.diverges_above
        return StepResult(loss * math.nan if bound is not None and self._rate() > bound else loss)

    def _rate(self) -> float:
        return float(self.context.slots["optimizer"].hyper_parameters["lr"])

    def evaluate(self, split: str) -> Evaluation:
        """The drawn score and the scalar's distance to its optimum."""
        shared = self.streams.numpy("evaluation", split).standard_normal()
        own = self.streams.numpy("evaluation", split, f"own/{self.options.noise_key}").standard_normal()
        score = self.options.level + self.options.effect + self.options.pair_sd * shared + self.options.own_sd * own
        score -= self.options.curvature * (math.log10(self._rate()) - self.options.best_log_lr) ** 2
        distance = abs(float(self.model().detach()) - self.options.optimum)
        return Evaluation({"score": float(score), "distance": distance})


CARD = Synthetic.card
