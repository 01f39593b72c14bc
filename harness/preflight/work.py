"""Workloads of a plan: one for all configurations whose network and step are the same."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.data.checksums import sha256_of
from harness.data.locate import is_here
from harness.plan.planning import Plan, Trial
from harness.registry.shipped import fixtures
from harness.registry.user_methods import UserMethod
from harness.trial.recipe import COURSE_KEYS, RUNNING_KEYS, SLOT_KEYS
from harness.trial.spec import Part, TrialSpec

_NO_STEP = {*COURSE_KEYS, *RUNNING_KEYS, *SLOT_KEYS}
"""Recipe keys that decide neither network nor step."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A network to build and to train for a step.

    Attributes:
        key: sha256 of all that decides network and step.
        spec: a trial's content with a micro-batch.
        label: the first configuration that needs it.
        whole: with its diagnostics, mechanisms, artifacts and every split; else the step and one evaluation.
    """

    key: str
    spec: TrialSpec = field(repr=False)
    label: str = ""
    own_methods: tuple[UserMethod, ...] = ()
    whole: bool = True


@dataclass(slots=True)
class Measurement:
    """Sizes and times of a workload; a worker fills it stage by stage.

    Attributes:
        stage: the last one that was reached; where ``error`` is set, the one that failed.
        parameters: trained ones; ``asked_parameters``: those of frozen networks (teachers).
        flops: of the step, two a multiply-add.
        activation_bytes: kept from the forward pass for the backward pass.
        state_bytes: parameters, gradients and the optimizer's state.
        item_bytes: a row of the tables that have one for each training item.
        resident_bytes: the process's highest during the step.
        read_seconds: for which a thread reads one item's files; None where training reads none.
        items_per_epoch: training items; None of a tiny copy.
        untrained: dependencies replaced by their architecture with random weights.
    """

    stage: str = "build"
    error: str | None = None
    parameters: int = 0
    asked_parameters: int = 0
    flops: int = 0
    activation_bytes: int = 0
    state_bytes: int = 0
    item_bytes: int = 0
    resident_bytes: int = 0
    step_seconds: float = 0.0
    read_seconds: float | None = None
    items_per_epoch: int | None = None
    untrained: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PreflightConfiguration:
    """A configuration of a suite or a dependency, with its workload."""

    suite: str
    benchmark: str
    arm: str
    trial: Trial = field(repr=False)
    work: Workload = field(repr=False)
    missing: tuple[str, ...] = ()


def cells_of(plan: Plan, own: tuple[UserMethod, ...] = ()) -> list[PreflightConfiguration]:
    """Every configuration of a plan at its first seed, dependencies first."""
    by_id = {trial.trial_id: trial for trial in plan.trials}
    named = {link.trial_id for link in plan.links}
    first = {(link.benchmark, link.arm): by_id[link.trial_id] for link in reversed(plan.links)}
    trials = [((trial.benchmark, trial.arm), trial) for trial in plan.trials if trial.trial_id not in named]
    trials += [(cell, first[cell]) for cell in plan.cells]
    return [
        PreflightConfiguration(plan.suite, *cell, trial, work_of(trial, own), missing_of(trial))
        for cell, trial in trials
    ]


def work_of(trial: Trial, own_methods: tuple[UserMethod, ...] = ()) -> Workload:
    """A trial's content with a micro-batch, without the reference arm: that is another configuration."""
    recipe = fixtures().trimmed(trial.spec.task, trial.spec.recipe)
    spec = replace(trial.spec, recipe=recipe, reference=None)
    own = tuple(method for method in own_methods if method.name in {part.name for part in spec.slots})
    return Workload(key_of(spec), spec, f"{trial.benchmark}/{trial.arm}", own)


def key_of(spec: TrialSpec) -> str:
    """sha256 of what decides network and step: no seed, no length, no size of a learning rate or of a weight.

    Of a float only whether it is 0, 1, infinite or negative counts: these values switch parts of a method on and off.
    """
    return sha256_of(
        {
            "task": spec.task,
            "data": _without_sizes(spec.data.to_json()),
            "model": spec.model.to_json(),
            "recipe": _without_sizes({k: v for k, v in spec.recipe.items() if k not in _NO_STEP}),
            "slots": {
                slot: _without_sizes({key: item for key, item in value.items() if key != "lr"})
                for slot, value in spec.slots.to_json().items()
            },
            "prerequisites": {
                name: replace(start, trial_id=None, content=None).to_json()
                for name, start in spec.prerequisites.items()
            },
        }
    )


def _without_sizes(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_sizes(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_sizes(item) for item in value]
    if isinstance(value, float) and value not in (0.0, 1.0) and math.isfinite(value):
        return "a number" if value > 0 else "a negative number"
    return value


def missing_of(trial: Trial) -> tuple[str, ...]:
    """Missing data and published weights by name."""
    weights = [start.weights for start in trial.spec.prerequisites.values() if start.weights is not None]
    missing = [f"weights {name}" for name in weights if not is_here(Part(name))]
    data = trial.spec.data
    return tuple(missing if is_here(data) else [f"data {data.name}", *missing])
