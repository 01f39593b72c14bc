"""Steps that preflight has taken, kept in the cache: what a plan without stored trials is estimated from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from harness import registry
from harness.data.cache import DiskCache
from harness.execute.environment import environment
from harness.plan.planning import Plan
from harness.preflight.work import Measurement, PreflightCell, cells_of
from harness.registry.shipped import fixtures
from harness.registry.user_methods import UserMethod
from harness.trial.recipe import recipe_from

_STEPS = DiskCache("steps", most=20_000)


def _key(cell: PreflightCell) -> str:
    """A step's work on this kind of machine."""
    return f"{cell.work.key} {environment()['class']}"


def remember(cells: Sequence[PreflightCell], measurements: Mapping[str, Measurement]) -> None:
    """Keep the seconds of each cell's step; of one that failed nothing."""
    for cell in cells:
        measured = measurements[cell.work.key]
        if not measured.error:
            _STEPS.put(_key(cell), [measured.step_seconds, measured.flops, measured.items_per_epoch])
    _STEPS.save()


def step_costs(
    plan: Plan, own: tuple[UserMethod, ...] = (), known: Collection[tuple[str, str]] = ()
) -> tuple[dict[tuple[str, str], float], list[PreflightCell]]:
    """Core-seconds of the training steps of cells whose step was taken, and the cells of which none was.

    Evaluations and the loading of data are not in it; a step is taken at the micro-batch and scaled to the recipe's.

    Args:
        known: cells whose cost is known better, from whole trials; they are left out of both.
    """
    if any(registry.entry("task", trial.spec.task).card.program for trial in plan.trials):
        return {}, []  # of somebody's program no step can be taken
    costs: dict[tuple[str, str], float] = {}
    unknown: list[PreflightCell] = []
    for cell in cells_of(plan, own):
        place = (cell.benchmark, cell.arm)
        if place in known:
            continue
        stored = _STEPS.get(_key(cell))
        seconds = None if stored is None else _whole(cell, *stored)
        if seconds is None:
            unknown.append(cell)
        else:
            costs[place] = seconds
    return costs, unknown


def _whole(cell: PreflightCell, seconds: float, flops: int, items: int | None) -> float | None:
    share, _ = fixtures().shares(cell.trial.spec.task, cell.trial.spec.recipe, cell.work.spec.recipe)
    steps = steps_of(cell, flops, items)
    return None if steps is None else steps * seconds * share * int(cell.trial.spec.recipe.get("threads", 1))


def steps_of(cell: PreflightCell, flops: int, items: int | None) -> int | None:
    """Steps of the whole training; 0 where the arm's method takes none, None where the data's size is not known."""
    if not flops:
        return 0
    spec, recipe = cell.trial.spec, recipe_from(cell.trial.spec.recipe)
    if items is None:
        per_epoch: Any = fixtures().steps_per_epoch(spec.task, spec.data.name, spec.recipe)
    else:
        per_epoch = max(1, items // recipe.batch_size)
    return None if per_epoch is None and recipe.steps is None else recipe.total_steps(per_epoch or 1)
