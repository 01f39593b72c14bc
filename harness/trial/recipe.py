"""The recipe: options that every benchmark shares, and the learning-rate schedule among them.

A task adds its own options (``TaskMetadata.options``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from harness.errors import HarnessError, choices
from harness.trial.options import Option, Scalar, Values, build, option, options_of


def _constant(recipe: Course, step: int, warm: int, total: int) -> float:
    return 1.0


def _cosine(recipe: Course, step: int, warm: int, total: int) -> float:
    return _towards_last(recipe, 0.5 * (1 + math.cos(math.pi * _progress(step, warm, total))))


def _step(recipe: Course, step: int, warm: int, total: int) -> float:
    return recipe.gamma ** sum(step >= _at(milestone, total) for milestone in recipe.milestones)


def _linear(recipe: Course, step: int, warm: int, total: int) -> float:
    return _towards_last(recipe, 1 - _progress(step, warm, total))


def _inverse_sqrt(recipe: Course, step: int, warm: int, total: int) -> float:
    return math.sqrt(max(1, warm) / max(1, step + 1))


def _progress(step: int, warm: int, total: int) -> float:
    """Finished share of the steps after the warm-up."""
    return (step - warm) / max(1, total - warm)


def _towards_last(recipe: Course, shape: float) -> float:
    """Scale a falling shape (1 to 0) to end at ``min_lr_ratio``."""
    return recipe.min_lr_ratio + (1 - recipe.min_lr_ratio) * shape


SCHEDULES: Mapping[str, Callable[[Course, int, int, int], float]] = MappingProxyType(
    {"constant": _constant, "cosine": _cosine, "step": _step, "linear": _linear, "inverse-sqrt": _inverse_sqrt}
)
"""Factor at a step after the warm-up, by name: of (recipe, step, steps of warm-up, all steps)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotTables:
    """Recipe keys that only planning reads: their content reaches a trial through its slots."""

    slots: Mapping[str, str | Mapping[str, str]] = option(
        {}, "methods for the slots that an arm leaves open: {optimizer: sgd}"
    )
    optimizer: Mapping[str, Mapping[str, Scalar]] = option(
        {}, "hyper-parameters by family or method: {adam: {lr: 1e-3}}"
    )
    norm: Mapping[str, Mapping[str, Scalar]] = option({}, "hyper-parameters by family or method")
    objective: Mapping[str, Mapping[str, Scalar]] = option({}, "hyper-parameters by family or method")
    adaptation: Mapping[str, Mapping[str, Scalar]] = option({}, "hyper-parameters by family or method")


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Keys of the whole training; none changes a single step."""

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
    """The recipe keys that every benchmark shares, beside the task's own (``Task.options``)."""

    batch_size: int = option(32, "items (or sequences) a step, over all devices", low=1)
    eval_batch: int = option(256, "items a batch in evaluation", low=1)
    clip_norm: float | None = option(None, "largest norm of the whole gradient", low=0)
    precision: str = option("float32", "arithmetic of forward and backward", choices=("float32", "bfloat16", "float16"))
    diagnostics: str = option("summary", "mechanism diagnostics", choices=("off", "summary", "layers"))
    threads: int = option(1, "CPU threads of the trial: part of its identity", low=1, high=256)
    devices: int = option(1, "devices of the trial", low=1)
    loader_workers: int | None = option(
        None, "threads that read files ahead of training; null: as many as threads; 0: none", low=0, high=256
    )
    memory_layout: str = option("contiguous", "of images", choices=("contiguous", "channels_last"))

    @property
    def readers(self) -> int:
        """Threads that read files: ``loader_workers``, else as many as the trial's CPUs."""
        return self.threads if self.loader_workers is None else self.loader_workers


_TRAINING = options_of(Recipe)
SLOT_KEYS = tuple(options_of(SlotTables))
COURSE_KEYS = tuple(options_of(Course))
COMMON_KEYS: Mapping[str, Option] = MappingProxyType({**_TRAINING, **options_of(SlotTables)})
"""Every key that a recipe may have whatever its task, by name."""
# How a trial is run, not what it computes: left out of the identity.
RUNNING_KEYS = ("timeout_seconds", "loader_workers")
_NOT_IDENTITY = (*SLOT_KEYS, *RUNNING_KEYS)


def recipe_from(values: Values) -> Recipe:
    """Return the recipe among resolved values."""
    return build(Recipe, Values({name: value for name, value in values.items() if name in _TRAINING}))


def task_values(values: Values) -> Values:
    """Return the task's own among resolved recipe values."""
    return Values({name: value for name, value in values.items() if name not in COMMON_KEYS})


def identity_of(values: Values) -> Values:
    """Return the recipe without the keys of slots and of mere running."""
    return Values({name: value for name, value in values.items() if name not in _NOT_IDENTITY})


def factors(recipe: Course, total: int) -> Callable[[int], float]:
    """The learning rate's factor as a function of the step, from 0.

    ``warmup`` up to 1 is a share of the ``total`` steps, above 1 a number of steps; the factor rises linearly to 1, and
    the schedule runs over the remaining steps. ``inverse-sqrt`` falls as 1/√step after the warm-up (Vaswani et al.
    2017).

    Raises:
        HarnessError: unknown schedule.
    """
    if recipe.schedule not in SCHEDULES:
        raise HarnessError(f"unknown schedule '{recipe.schedule}'; {choices(dict(SCHEDULES), recipe.schedule)}")
    warm = round(recipe.warmup * total) if recipe.warmup <= 1 else int(recipe.warmup)
    after = SCHEDULES[recipe.schedule]
    return lambda step: (step + 1) / warm if step < warm else after(recipe, step, warm, total)


def _at(milestone: float, total: int) -> int:
    """The step of a milestone: up to 1 a share of the steps, above 1 a step."""
    return round(milestone * total) if milestone <= 1 else int(milestone)


def evenly(total: int, count: int) -> set[int]:
    """Evenly spaced steps, ``count`` of them, the last step included."""
    return {max(0, round(total * (k + 1) / count) - 1) for k in range(count)}


def log_spaced(total: int, count: int = 50) -> set[int]:
    """About ``count`` steps, dense at the start, with both ends."""
    if total <= count:
        return set(range(total))
    return {min(total - 1, round(total ** (k / (count - 1))) - 1) for k in range(count)}
