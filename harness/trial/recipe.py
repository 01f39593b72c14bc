"""The recipe: the options that every benchmark shares; a task adds its own (``TaskMetadata.options``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from harness.trial.options import Option, build, option, options_of
from harness.trial.schedules import SCHEDULES


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotTables:
    """Recipe keys that only planning reads: what of them reaches a trial stands in its slots."""

    slots: Mapping[str, Any] = option({}, "methods for the slots that an arm leaves open: {optimizer: sgd}")
    optimizer: Mapping[str, Any] = option({}, "hyper-parameters by family or method: {adam: {lr: 1e-3}}")
    norm: Mapping[str, Any] = option({}, "hyper-parameters by family or method")
    objective: Mapping[str, Any] = option({}, "hyper-parameters by family or method")
    adaptation: Mapping[str, Any] = option({}, "hyper-parameters by family or method")


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Recipe keys of the whole training: how long, how fast, which of its weights count. None changes a step."""

    steps: int | None = option(None, "optimizer steps; give this or epochs", low=1)
    epochs: float | None = option(None, "passes over the training data; give this or steps", low=0)
    max_steps: int | None = option(None, "cap on the steps, whatever steps and epochs say", low=1)
    schedule: str = option("constant", "learning rate over the steps", choices=tuple(SCHEDULES))
    warmup: float = option(0.0, "share of the steps with linear warm-up (a whole number > 1: steps)", low=0)
    milestones: tuple[float, ...] = option((), "for schedule step: shares of the steps at which gamma is applied")
    gamma: float = option(0.1, "for schedule step: factor at a milestone", low=0)
    min_lr_ratio: float = option(
        0.0, "for cosine and linear: last learning rate as a share of the first", low=0, high=1
    )
    select: str = option(
        "last", "which weights are reported: the last or the best on validation", choices=("last", "best_on_validation")
    )
    selection_metric: str | None = option(None, "metric of select: best_on_validation")
    selection_better: str = option("higher", "its direction", choices=("higher", "lower"))
    evaluations: int = option(5, "evaluations on validation during training, evenly spaced", low=1)
    timeout_seconds: float = option(3600.0, "the watchdog ends the trial after this", low=0)

    def total_steps(self, steps_per_epoch: int) -> int:
        """Optimizer steps of the whole training, at least one."""
        wanted = self.steps if self.steps is not None else round((self.epochs or 1.0) * steps_per_epoch)
        return max(1, min(wanted, self.max_steps) if self.max_steps is not None else wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(Course):
    """How a trial trains: the keys that every benchmark shares, beside the task's own (``Task.options``)."""

    batch_size: int = option(32, "items (or sequences) a step, over all devices", low=1)
    eval_batch: int = option(256, "items a batch in evaluation", low=1)
    clip_norm: float | None = option(None, "largest norm of the whole gradient", low=0)
    precision: str = option("float32", "arithmetic of forward and backward", choices=("float32", "bfloat16", "float16"))
    diagnostics: str = option("summary", "mechanism probes", choices=("off", "summary", "layers"))
    threads: int = option(1, "CPU threads of the trial: part of its identity", low=1, high=256)
    devices: int = option(1, "devices of the trial", low=1)
    loader_workers: int | None = option(
        None, "threads that read files ahead of training; null: as many as threads; 0: none", low=0, high=256
    )
    memory_layout: str = option("contiguous", "of images", choices=("contiguous", "channels_last"))

    @property
    def readers(self) -> int:
        """Threads that read files: what ``loader_workers`` says, else as many as the CPUs that the trial was given."""
        return self.threads if self.loader_workers is None else self.loader_workers


_TRAINING = options_of(Recipe)
SLOT_KEYS = tuple(options_of(SlotTables))
COURSE_KEYS = tuple(options_of(Course))
COMMON_KEYS: Mapping[str, Option] = MappingProxyType({**_TRAINING, **options_of(SlotTables)})
"""Every key that a recipe may have whatever its task, by name."""
# How a trial is run, not what it computes: left out of the identity.
RUNNING_KEYS = ("timeout_seconds", "loader_workers")
_NOT_IDENTITY = (*SLOT_KEYS, *RUNNING_KEYS)


def recipe_from(values: Mapping[str, Any]) -> Recipe:
    """The recipe among resolved values."""
    return build(Recipe, {name: value for name, value in values.items() if name in _TRAINING})


def task_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The task's own among resolved recipe values."""
    return {name: value for name, value in values.items() if name not in COMMON_KEYS}


def identity_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe without what changes only how a trial is run, and without what stands in its slots."""
    return {name: value for name, value in values.items() if name not in _NOT_IDENTITY}
