"""The preflight of plans: each cell's sizes, arithmetic, hours on a device, what is missing, what failed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.plan.planning import Plan
from harness.preflight.devices import Device
from harness.preflight.work import Measurement, PreflightConfiguration, Workload, cells_of
from harness.preflight.workers import measured
from harness.registry.shipped import fixtures
from harness.registry.user_methods import UserMethod
from harness.trial.recipe import recipe_from


@dataclass(frozen=True, slots=True)
class ConfigurationResult:
    """A cell that was built, stepped and scored, or failed.

    Attributes:
        parameters: of everything that is trained.
        asked_parameters: of networks that are only asked: teachers.
        step_gb: highest resident memory of the process that took the step at the micro-batch, GiB.
        batch_gb: estimate for the published batch: parameters, gradients, optimizer state, kept activations, and
            tables with a row an item of the published set, GiB.
        flops: of a step at the published batch, two a multiply-add; matrix products, convolutions and attention.
        steps: of the whole training; None where the size of the training data is not known.
        hours: of those steps on the device at the stated share of its peak; evaluations and data are not in it.
        readers: threads that read files.
        loader_items: a second that they read, each on a core as these are; None: nothing is read from files.
        step_items: a second that its steps take on the device at the stated share of its peak; None: not known.
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
    readers: int
    loader_items: float | None
    step_items: float | None
    missing: tuple[str, ...]
    untrained: tuple[str, ...]
    shared_with: str

    @property
    def headroom(self) -> float | None:
        """How many times faster a device could be before it waits for files; below 1 this one waits."""
        known = self.loader_items is not None and self.step_items
        return self.loader_items / self.step_items if known else None  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class PreflightReport:
    """All cells, and what trying them cost: pieces of work, seconds, the largest process in GiB."""

    cells: tuple[ConfigurationResult, ...]
    device: Device
    utilisation: float
    seconds: float
    works: int
    highest_gb: float

    @property
    def failed(self) -> tuple[ConfigurationResult, ...]:
        """The cells that do not build."""
        return tuple(cell for cell in self.cells if cell.error)

    @property
    def missing(self) -> dict[str, int]:
        """For how many cells each source of data or weights is missing, by name."""
        return dict(sorted(Counter(name for cell in self.cells for name in cell.missing).items()))

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        cells = [{**asdict(cell), "headroom": cell.headroom} for cell in self.cells]
        return {
            **asdict(self),
            "cells": cells,
            "failed": [f"{cell.suite}/{cell.benchmark}/{cell.arm}" for cell in self.failed],
        }


@dataclass(frozen=True, slots=True)
class PreflightSettings:
    """How to try and what to estimate for."""

    device: Device
    utilisation: float = 0.4
    jobs: int = 2
    timeout: float = 300.0


def preflight(
    plans: Sequence[Plan],
    settings: PreflightSettings,
    own_methods: tuple[UserMethod, ...] = (),
    told: Callable[[str, int, int], None] | None = None,
) -> PreflightReport:
    """Build, step and score every cell of the plans; equal work is done once.

    Args:
        told: is called with a label, and how many pieces of work are done and asked for, as they come in.
    """
    started = time.monotonic()
    cells = [cell for plan in plans for cell in cells_of(plan, own_methods)]
    works = works_of(cells)
    measurements: dict[str, Measurement] = {}
    for work, measurement in measured(list(works.values()), settings.jobs, settings.timeout):
        measurements[work.key] = measurement
        if told is not None:
            told(work.label, len(measurements), len(works))
    results = tuple(_result(cell, works[cell.work.key], measurements[cell.work.key], settings) for cell in cells)
    highest = max((result.step_gb for result in results), default=0.0)
    seconds = time.monotonic() - started
    return PreflightReport(results, settings.device, settings.utilisation, seconds, len(works), highest)


def works_of(cells: Sequence[PreflightConfiguration]) -> dict[str, Workload]:
    """What has to be done, by key; a benchmark's first arm also shows its mechanisms, artifacts and every split."""
    works: dict[str, Workload] = {}
    begun: set[tuple[str, str, bool]] = set()
    for cell in cells:
        if cell.work.key not in works:
            kind = (cell.suite, cell.benchmark, cell.arm.startswith("prerequisite:"))
            works[cell.work.key] = replace(cell.work, whole=kind not in begun)
            begun.add(kind)
    return works


def _result(
    cell: PreflightConfiguration, work: Workload, measured: Measurement, settings: PreflightSettings
) -> ConfigurationResult:
    recipe, task = cell.trial.spec.recipe, cell.trial.spec.task
    share, kept = fixtures().shares(task, recipe, work.spec.recipe)
    flops = share * measured.flops
    items = measured.items_per_epoch
    if items is None:
        items = fixtures().training_items(cell.trial.spec.data.name)
    tables = measured.item_bytes * (items or 0)
    batch_gb = (measured.state_bytes + kept * measured.activation_bytes + tables) / 2**30
    steps = None if measured.error else steps_of(cell, measured.flops, measured.items_per_epoch)
    peak = 1e12 * settings.device.peak(str(recipe["precision"])) * settings.utilisation
    step_items = int(recipe.get("batch_size", 0)) * peak / flops if flops else None
    readers = max(1, recipe_from(recipe).readers)  # with none the training reads by itself
    return ConfigurationResult(
        suite=cell.suite,
        benchmark=cell.benchmark,
        arm=cell.arm,
        stage=measured.stage,
        error=f"{measured.stage}: {measured.error}" if measured.error else "",
        parameters=measured.parameters,
        asked_parameters=measured.asked_parameters,
        step_gb=measured.resident_bytes / 2**30,
        batch_gb=batch_gb,
        flops=flops,
        steps=steps,
        hours=None if steps is None else steps * flops / peak / 3600,
        fits=batch_gb <= settings.device.memory_gb,
        step_seconds=measured.step_seconds,
        readers=readers,
        loader_items=readers / measured.read_seconds if measured.read_seconds else None,
        step_items=step_items,
        missing=cell.missing,
        untrained=measured.untrained,
        shared_with="" if f"{cell.benchmark}/{cell.arm}" == work.label else work.label,
    )


def steps_of(cell: PreflightConfiguration, flops: int, items: int | None) -> int | None:
    """Steps of the whole training; 0 where the method takes none, None where the size of the data is unknown."""
    if not flops:
        return 0
    spec, recipe = cell.trial.spec, recipe_from(cell.trial.spec.recipe)
    per_epoch: int | None
    if items is None:
        per_epoch = fixtures().steps_per_epoch(spec.task, spec.data.name, spec.recipe)
    else:
        per_epoch = max(1, items // recipe.batch_size)
    return None if per_epoch is None and recipe.steps is None else recipe.total_steps(per_epoch or 1)
