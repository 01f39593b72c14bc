"""A task with known truth, for simulations, sweeps and engine tests.

It is not a proxy benchmark and serves no claim. A scalar descends to ``optimum`` through the real
loop; the reported score is then drawn, not learned::

    score = level + effect + pair_sd · a(seed) + own_sd · b(seed, noise_key) − curvature · (log10(lr) − best_log_lr)²

where a is shared by the arms of a seed (pairing removes it) and b belongs to the arm with that ``noise_key``.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from harness.registry.metadata import TaskMetadata
from harness.trial.contracts import Evaluation, StepResult, Task
from harness.trial.options import option


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticOptions:
    """Options of the task ``synthetic``."""

    level: float = option(50.0, "mean score of an arm without effect")
    effect: float = option(0.0, "true difference of this arm")
    pair_sd: float = option(1.0, "sd of the noise shared by the arms of a seed", low=0)
    own_sd: float = option(1.0, "sd of the arm's own noise", low=0)
    noise_key: str = option("", "arms of one key share their own noise too")
    optimum: float = option(1.0, "target of the scalar's descent")
    curvature: float = option(0.0, "loss of score per squared decade of learning rate", low=0)
    best_log_lr: float = option(-1.0, "log10 of the best learning rate")
    step_seconds: float = option(0.0, "pause in each step, for tests of interruptions", low=0)
    diverges_above: float | None = option(None, "learning rates above this diverge")
    fails: bool = option(False, "raise an error in the first step")


class Synthetic(Task):
    """Reports scores drawn from a known distribution, separately for each split."""

    metadata = TaskMetadata(
        name="synthetic",
        target="Synthetic",
        summary="a score drawn from a known truth, for simulations and tests",
        slots=("optimizer",),
        metrics=("score", "distance"),
        reads=("nothing",),
        options=SyntheticOptions,
    )

    options: SyntheticOptions
    model: nn.Module

    def build(self) -> nn.Module:
        self.context.load_data()
        self.model = self.context.build_model({})
        return self.model

    def steps_per_epoch(self) -> int:
        return 10

    def batches(self, epoch: int) -> Iterator[int]:
        yield from range(10)

    def training_step(self, batch: int, step: int) -> StepResult:
        if self.options.fails:
            raise RuntimeError("this arm fails because its option 'fails' is set")
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


METADATA = Synthetic.metadata
