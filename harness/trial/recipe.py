"""The recipe keys that every benchmark shares; a task adds its own (``TaskCard.keys``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from harness.trial.options import Key

# One table serves validation, `harness list tasks` and the docs.
COMMON_KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "steps": Key("int", None, "optimizer steps; give this or epochs", low=1, optional=True),
        "epochs": Key("float", None, "passes over the training data; give this or steps", low=0, optional=True),
        "max_steps": Key("int", None, "cap on the steps, whatever steps and epochs say", low=1, optional=True),
        "batch_size": Key("int", 32, "items (or sequences) a step, over all devices", low=1),
        "eval_batch": Key("int", 256, "items a batch in evaluation", low=1),
        "slots": Key("dict", {}, "methods for the slots that an arm leaves open: {optimizer: sgd}"),
        "optimizer": Key("dict", {}, "hyper-parameters by family or method: {adam: {lr: 1e-3}}"),
        "norm": Key("dict", {}, "hyper-parameters by family or method"),
        "objective": Key("dict", {}, "hyper-parameters by family or method"),
        "adaptation": Key("dict", {}, "hyper-parameters by family or method"),
        "schedule": Key(
            "str",
            "constant",
            "learning rate over the steps",
            choices=("constant", "cosine", "step", "linear", "inverse-sqrt"),
        ),
        "warmup": Key("float", 0.0, "share of the steps with linear warm-up (a whole number > 1: steps)", low=0),
        "milestones": Key("list", [], "for schedule step: shares of the steps at which gamma is applied"),
        "gamma": Key("float", 0.1, "for schedule step: factor at a milestone", low=0),
        "min_lr_ratio": Key(
            "float", 0.0, "for cosine and linear: last learning rate as a share of the first", low=0, high=1
        ),
        "clip_norm": Key("float", None, "largest norm of the whole gradient", low=0, optional=True),
        "precision": Key(
            "str", "float32", "arithmetic of forward and backward", choices=("float32", "bfloat16", "float16")
        ),
        "select": Key(
            "str",
            "last",
            "which weights are reported: the last or the best on validation",
            choices=("last", "best_on_validation"),
        ),
        "selection_metric": Key("str", None, "metric of select: best_on_validation", optional=True),
        "selection_better": Key("str", "higher", "its direction", choices=("higher", "lower")),
        "evaluations": Key("int", 5, "evaluations on validation during training, evenly spaced", low=1),
        "diagnostics": Key("str", "summary", "mechanism probes", choices=("off", "summary", "layers")),
        "threads": Key("int", 1, "CPU threads of the trial: part of its identity", low=1, high=256),
        "devices": Key("int", 1, "devices of the trial", low=1),
        "memory_layout": Key("str", "contiguous", "of images", choices=("contiguous", "channels_last")),
        "timeout_seconds": Key("float", 3600.0, "the watchdog ends the trial after this", low=0),
    }
)

# What of these reaches a trial stands in its slots.
SLOT_KEYS = ("slots", "optimizer", "norm", "objective", "adaptation")
# How a trial is run, not what it computes: left out of the identity.
_NOT_IDENTITY = (*SLOT_KEYS, "timeout_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A complete recipe: every common key (see ``COMMON_KEYS`` for meanings) and the task's own under ``task``."""

    steps: int | None = None
    epochs: float | None = None
    max_steps: int | None = None
    batch_size: int = 32
    eval_batch: int = 256
    schedule: str = "constant"
    warmup: float = 0.0
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    min_lr_ratio: float = 0.0
    clip_norm: float | None = None
    precision: str = "float32"
    select: str = "last"
    selection_metric: str | None = None
    selection_better: str = "higher"
    evaluations: int = 5
    diagnostics: str = "summary"
    threads: int = 1
    devices: int = 1
    memory_layout: str = "contiguous"
    timeout_seconds: float = 3600.0
    task: Mapping[str, Any] = field(default_factory=dict)

    def total_steps(self, steps_per_epoch: int) -> int:
        """Optimizer steps of the whole training, at least one."""
        wanted = self.steps if self.steps is not None else round((self.epochs or 1.0) * steps_per_epoch)
        return max(1, min(wanted, self.max_steps) if self.max_steps is not None else wanted)


def recipe_from(values: Mapping[str, Any]) -> Recipe:
    """A recipe from resolved values, the task's own keys gathered under ``task``."""
    common = {name: value for name, value in values.items() if name in COMMON_KEYS and name not in SLOT_KEYS}
    if "milestones" in common:
        common["milestones"] = tuple(common["milestones"])
    return Recipe(**common, task={name: value for name, value in values.items() if name not in COMMON_KEYS})


def identity_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe without what changes only how a trial is run, and without what stands in its slots."""
    return {name: value for name, value in values.items() if name not in _NOT_IDENTITY}


assert {f.name for f in fields(Recipe)} == {*COMMON_KEYS, "task"} - set(SLOT_KEYS)
