"""Processes that measure work side by side; one that dies fails its own piece of work and is replaced."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pebble import ProcessExpired, ProcessPool

from harness.preflight.work import Measurement, Workload

if TYPE_CHECKING:
    from harness.preflight.measure import Copies


@cache
def _copies(folder: Path) -> Copies:
    """The copies of this process."""
    from harness.preflight.measure import Copies

    return Copies(Path(tempfile.mkdtemp(dir=folder)))


def _measure(work: Workload, folder: Path, threads: int) -> Measurement:
    from harness.preflight.measure import measure

    return measure(work, _copies(folder), threads)


def measured(works: Sequence[Workload], jobs: int, timeout: float) -> Iterator[tuple[Workload, Measurement]]:
    """Every piece of work with its measurement, as it comes in; what still runs at the end is killed."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with tempfile.TemporaryDirectory(prefix="harness-preflight-") as folder:
        pool = ProcessPool(min(jobs, len(works) or 1), context=multiprocessing.get_context("spawn"))
        try:
            asked = {pool.schedule(_measure, (work, Path(folder), threads), timeout=timeout): work for work in works}
            for answer in as_completed(asked):
                try:
                    measurement: Measurement = answer.result()
                except ProcessExpired as died:
                    measurement = Measurement("process", f"the process died (exit {died.exitcode}); out of memory?")
                except TimeoutError:
                    measurement = Measurement("process", f"took longer than {timeout:g} s")
                yield asked[answer], measurement
        finally:
            pool.stop()
            pool.join()
