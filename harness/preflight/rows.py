"""The preflight of plans: sizes, arithmetic, hours, missing data and errors of each configuration."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pebble import ProcessExpired, ProcessPool

from harness.plan.planning import Plan
from harness.preflight.devices import Device
from harness.preflight.work import Measurement, PreflightConfiguration, Workload, cells_of
from harness.registry.shipped import fixtures
from harness.registry.user_methods import UserMethod
from harness.trial.recipe import recipe_from

if TYPE_CHECKING:
    from harness.preflight.measure import Copies


@dataclass(frozen=True, slots=True)
class ConfigurationResult:
    """The row of a configuration.

    Attributes:
        parameters: trained ones; ``asked_parameters``: those of frozen networks (teachers).
        step_gb: highest resident memory of the process that took the step at the micro-batch, GiB.
        batch_gb: estimate for the published batch: parameters, gradients, optimizer state, kept activations, and
            tables with a row an item of the published set, GiB.
        flops: of a step at the published batch, two a multiply-add; matrix multiplications, convolutions, attention.
        steps: of the whole training; None where the size of the training data is unknown.
        hours: of those steps on the device at the stated share of its peak; evaluations and data are not in it.
        loader_items: items that ``readers`` threads read in a second; None: nothing is read from files.
        step_items: items that the steps take in a second on the device; None: unknown.
        fits: ``batch_gb`` is within the device's memory.
        missing: names of data and published weights.
        untrained: dependencies replaced by their architecture with random weights.
        shared_with: the configuration whose workload this one shares; empty where it has a separate one.
        error: empty where it builds.
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
        """Factor of speed at which a device would wait for files; below 1 this one waits."""
        if self.loader_items is None or not self.step_items:
            return None
        return self.loader_items / self.step_items


@dataclass(frozen=True, slots=True)
class PreflightReport:
    """All rows; the number of workloads, seconds, and the largest process in GiB."""

    cells: tuple[ConfigurationResult, ...]
    device: Device
    utilisation: float
    seconds: float
    works: int
    highest_gb: float

    @property
    def failed(self) -> tuple[ConfigurationResult, ...]:
        """The configurations that do not build."""
        return tuple(cell for cell in self.cells if cell.error)

    @property
    def missing(self) -> dict[str, int]:
        """Configurations that lack a source of data or weights, counted by name."""
        return dict(sorted(Counter(name for cell in self.cells for name in cell.missing).items()))


@dataclass(frozen=True, slots=True)
class PreflightSettings:
    """Device to estimate for, share of its peak, processes and their timeout."""

    device: Device
    utilisation: float = 0.4
    jobs: int = 2
    timeout: float = 300.0


def preflight(
    plans: Sequence[Plan],
    settings: PreflightSettings,
    own_methods: tuple[UserMethod, ...] = (),
    on_progress: Callable[[str, int, int], None] | None = None,
) -> PreflightReport:
    """Build, step and score every configuration of the plans; equal workloads run once.

    Args:
        on_progress: called with a label, and the numbers of finished and of all workloads.
    """
    started = time.monotonic()
    cells = [cell for plan in plans for cell in cells_of(plan, own_methods)]
    works = works_of(cells)
    measurements: dict[str, Measurement] = {}
    for work, measurement in measured(list(works.values()), settings.jobs, settings.timeout):
        measurements[work.key] = measurement
        if on_progress is not None:
            on_progress(work.label, len(measurements), len(works))
    results = tuple(_result(cell, works[cell.work.key], measurements[cell.work.key], settings) for cell in cells)
    highest = max((result.step_gb for result in results), default=0.0)
    seconds = time.monotonic() - started
    return PreflightReport(results, settings.device, settings.utilisation, seconds, len(works), highest)


def works_of(cells: Sequence[PreflightConfiguration]) -> dict[str, Workload]:
    """Workloads by key; a benchmark's first arm also runs its mechanisms, artifacts and every split."""
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
    per_epoch: int | None = None if items is None else max(1, items // recipe.batch_size)
    if items is None:
        per_epoch = fixtures().steps_per_epoch(spec.task, spec.data.name, spec.recipe)
    return None if per_epoch is None and recipe.steps is None else recipe.total_steps(per_epoch or 1)


@cache
def _copies(folder: Path) -> Copies:
    """The copies of this process."""
    from harness.preflight.measure import Copies

    return Copies(Path(tempfile.mkdtemp(dir=folder)))


def _measure(work: Workload, folder: Path, threads: int) -> Measurement:
    from harness.preflight.measure import measure

    return measure(work, _copies(folder), threads)


def measured(works: Sequence[Workload], jobs: int, timeout: float) -> Iterator[tuple[Workload, Measurement]]:
    """Measure workloads in processes side by side; yields each as it ends.

    A process that dies fails its workload and is replaced; what still runs at the end is killed.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with tempfile.TemporaryDirectory(prefix="harness-preflight-") as folder:
        pool = ProcessPool(min(jobs, len(works) or 1), context=multiprocessing.get_context("spawn"))
        try:
            running = {pool.schedule(_measure, (work, Path(folder), threads), timeout=timeout): work for work in works}
            for answer in as_completed(running):
                try:
                    measurement: Measurement = answer.result()
                except ProcessExpired as died:
                    measurement = Measurement("process", f"the process died (exit {died.exitcode}); out of memory?")
                except TimeoutError:
                    measurement = Measurement("process", f"took longer than {timeout:g} s")
                yield running[answer], measurement
        finally:
            pool.stop()
            pool.join()
