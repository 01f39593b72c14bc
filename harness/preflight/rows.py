"""What preflight says of each cell: sizes, arithmetic, hours on a device, what is missing, what failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.plan.planning import Plan
from harness.preflight.devices import Device
from harness.preflight.work import Cell, Work, cells_of
from harness.preflight.workers import measured
from harness.registry.shipped import fixtures
from harness.trial.recipe import recipe_from


@dataclass(frozen=True, slots=True)
class Row:
    """One cell.

    Attributes:
        parameters: of everything that is trained.
        asked_parameters: of networks that are only asked: teachers.
        step_gb: highest resident memory of the process that took the step at the micro-batch, GiB.
        batch_gb: estimate for the published batch: parameters, gradients, optimizer state, kept activations, and
            tables with a row an item of the published set, GiB.
        flops: of a step at the published batch, two a multiply-add; matrix products, convolutions and attention.
        steps: of the whole training; None where the size of the training data is not known.
        hours: of those steps on the device at the stated share of its peak; evaluations and data are not in it.
        fits: whether ``batch_gb`` is within the device's memory.
        missing: data and published weights that are not here.
        untrained: prerequisites whose architecture stood in with random weights.
        shared_with: the cell whose step this one's is, where it is not its own.
        error: why it does not build; empty where it does.
    """

    suite: str
    benchmark: str
    arm: str
    stage: str
    error: str
    parameters: int
    asked_parameters: int
    step_gb: float
    batch_gb: float
    flops: float
    steps: int | None
    hours: float | None
    fits: bool
    step_seconds: float
    missing: tuple[str, ...]
    untrained: tuple[str, ...]
    shared_with: str

    @property
    def good(self) -> bool:
        """Whether it was built, stepped and scored."""
        return not self.error


@dataclass(frozen=True, slots=True)
class Preflight:
    """All cells, and what trying them cost."""

    rows: tuple[Row, ...]
    device: Device
    utilisation: float
    seconds: float
    works: int
    highest_gb: float

    @property
    def failed(self) -> tuple[Row, ...]:
        """The cells that do not build."""
        return tuple(row for row in self.rows if not row.good)

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "cells": [asdict(row) for row in self.rows],
            "failed": [f"{row.suite}/{row.benchmark}/{row.arm}" for row in self.failed],
            "device": asdict(self.device),
            "utilisation": self.utilisation,
            "seconds": self.seconds,
            "works": self.works,
            "highest_gb": self.highest_gb,
        }


@dataclass(frozen=True, slots=True)
class Options:
    """How to try and what to estimate for."""

    device: Device
    utilisation: float = 0.4
    jobs: int = 2
    timeout: float = 300.0


def preflight(
    plans: Sequence[Plan],
    options: Options,
    own_methods: tuple[Mapping[str, Any], ...] = (),
    told: Callable[[str, int, int], None] | None = None,
) -> Preflight:
    """Build, step and score every cell of the plans; equal work is done once.

    Args:
        told: is called with a label, and how many pieces of work are done and asked for, as they come in.
    """
    started = time.monotonic()
    cells = [cell for plan in plans for cell in cells_of(plan, own_methods)]
    works = works_of(cells)
    answers: dict[str, Mapping[str, Any]] = {}
    for work, answer in measured(list(works.values()), options.jobs, options.timeout):
        answers[work.key] = answer
        if told is not None:
            told(work.label, len(answers), len(works))
    rows = tuple(_row(cell, works[cell.work.key], answers[cell.work.key], options) for cell in cells)
    highest = max((row.step_gb for row in rows), default=0.0)
    seconds = time.monotonic() - started
    return Preflight(rows, options.device, options.utilisation, seconds, len(works), highest)


def works_of(cells: Sequence[Cell]) -> dict[str, Work]:
    """What has to be done, by key; a benchmark's first arm also shows its mechanisms, artifacts and every split."""
    works: dict[str, Work] = {}
    begun: set[tuple[str, str, bool]] = set()
    for cell in cells:
        if cell.work.key not in works:
            kind = (cell.suite, cell.benchmark, cell.arm.startswith("prerequisite:"))
            works[cell.work.key] = replace(cell.work, whole=kind not in begun)
            begun.add(kind)
    return works


def _row(cell: Cell, work: Work, answer: Mapping[str, Any], options: Options) -> Row:
    recipe, task = cell.trial.spec["recipe"], str(cell.trial.spec["task"])
    share, kept = fixtures().shares(task, recipe, work.spec["recipe"])
    flops = share * float(answer.get("flops", 0))
    tables = float(answer.get("item_bytes", 0)) * (_items(cell, answer) or 0)
    batch_gb = (float(answer.get("state_bytes", 0)) + kept * float(answer.get("activation_bytes", 0)) + tables) / 2**30
    steps = _steps(cell, answer) if not answer["error"] else None
    peak = 1e12 * options.device.peak(str(recipe["precision"])) * options.utilisation
    own = f"{cell.benchmark}/{cell.arm}" == work.label
    return Row(
        cell.suite,
        cell.benchmark,
        cell.arm,
        str(answer["stage"]),
        f"{answer['stage']}: {answer['error']}" if answer["error"] else "",
        int(answer.get("parameters", 0)),
        int(answer.get("asked_parameters", 0)),
        float(answer.get("resident_bytes", 0)) / 2**30,
        batch_gb,
        flops,
        steps,
        None if steps is None else steps * flops / peak / 3600,
        batch_gb <= options.device.memory_gb,
        float(answer.get("step_seconds", 0.0)),
        cell.missing,
        tuple(answer.get("untrained", ())),
        "" if own else work.label,
    )


def _items(cell: Cell, answer: Mapping[str, Any]) -> int | None:
    """Items of the training set; None where its size is not known."""
    read = answer.get("items_per_epoch")
    return fixtures().training_items(str(cell.trial.spec["data"]["name"])) if read is None else int(read)


def _steps(cell: Cell, answer: Mapping[str, Any]) -> int | None:
    """Steps of the whole training; 0 where the arm's method takes none."""
    spec = cell.trial.spec
    recipe = recipe_from(spec["recipe"])
    if not answer["flops"]:
        return 0
    items = answer["items_per_epoch"]
    if items is None:
        per_epoch = fixtures().steps_per_epoch(spec["task"], str(spec["data"]["name"]), spec["recipe"])
    else:
        per_epoch = max(1, items // recipe.batch_size)
    if per_epoch is None and recipe.steps is None:
        return None
    return recipe.total_steps(per_epoch or 1)


def counted(rows: Sequence[Row]) -> Iterator[str]:
    """Lines that sum up: cells, and what is missing for how many of them."""
    missing: dict[str, int] = {}
    for row in rows:
        for name in row.missing:
            missing[name] = missing.get(name, 0) + 1
    for name, count in sorted(missing.items()):
        yield f"missing {name}: {count} cells ('harness data list' says where it comes from)"
