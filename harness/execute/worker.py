"""Runs one trial in this process and returns plain data, whatever happens."""

from __future__ import annotations

import math
import resource
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.execute import energy
from harness.execute.environment import environment_id


@dataclass(frozen=True, slots=True)
class Job:
    """A trial to run, as it travels to a worker: plain data and paths.

    ``prerequisites`` has the folders of products by name; ``needs`` the trials that must end before this one begins;
    ``keep_product`` says that others start from its weights. ``own_methods`` describes methods from a user's own
    file (``--arm mine=./my.py:MyAdam``), registered again in the worker's process.
    """

    trial_id: str
    label: str
    spec: Mapping[str, Any]
    folder: Path
    attempt: int = 1
    timeout_seconds: float = math.inf
    prerequisites: Mapping[str, Path] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    keep_product: bool = False
    own_methods: tuple[Mapping[str, Any], ...] = ()

    @property
    def threads(self) -> int:
        """CPUs that it takes."""
        return int(self.spec["recipe"].get("threads", 1))


Beat = Callable[[int, int, float], None]


def run_job(job: Job, beat: Beat, stop_at_deadline: bool = True) -> dict[str, Any]:
    """Run a trial; the outcome's fields are those of the journal's ``outcome`` event.

    Nothing is raised but KeyboardInterrupt and SystemExit: an error is an outcome (``failed``, ``timeout``).
    """
    started, cpu, counters = time.perf_counter(), _cpu_seconds(), energy.reading()
    outcome: dict[str, Any] = {
        "trial_id": job.trial_id,
        "attempts": job.attempt,
        "started_at": datetime.now(UTC).replace(tzinfo=None).isoformat(),
        "environment_id": environment_id(),
        "device": "",
        "error": None,
        "results": [],
        "series": [],
        "artifacts": [],
    }
    try:
        outcome.update(_train(job, beat, stop_at_deadline))
    except Exception as error:
        outcome.update(status=_status_of(error), error=_message(error))
    outcome["wall_seconds"] = time.perf_counter() - started
    outcome["cpu_seconds"] = _cpu_seconds() - cpu
    outcome["peak_memory_mb"] = _peak_memory_mb()
    outcome["joules"] = energy.used(counters, energy.reading())
    return outcome


def _train(job: Job, beat: Beat, stop_at_deadline: bool) -> dict[str, Any]:
    import torch

    from harness import registry
    from harness.data.roots import data_root
    from harness.registry.user_methods import register
    from harness.trial.loop import train
    from harness.trial.runtime import Runtime

    for method in job.own_methods:
        register(method)
    beat(0, 0, math.nan)  # the watchdog's clock begins here, after the imports
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    deadline = time.monotonic() + job.timeout_seconds if stop_at_deadline else math.inf
    runtime = Runtime(
        job.folder, device, registry.load, data_root(), beat, deadline, job.prerequisites, job.keep_product
    )
    done = train(job.spec, runtime)
    return {
        "status": done.status,
        "error": done.error,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "results": [{"split": s, "metric": m, "value": v} for s, m, v in done.results],
        "series": [
            {
                "split": one.split,
                "name": one.name,
                "step": one.step,
                "epoch": one.epoch,
                "value": one.value,
                "elapsed_seconds": one.elapsed_seconds,
            }
            for one in done.series
        ],
        "artifacts": [
            {"name": a.name, "kind": a.kind, "path": str(a.path), "caption": a.caption} for a in done.artifacts
        ],
    }


def _status_of(error: Exception) -> str:
    return "timeout" if type(error).__name__ == "OutOfTimeError" else "failed"


def _message(error: Exception) -> str:
    """The error with the place in our code where it came up; out of memory says so first."""
    kind = type(error).__name__
    if kind == "OutOfMemoryError" or isinstance(error, MemoryError) or "not enough memory" in str(error):
        kind = f"out of memory: {kind}"
    frames = traceback.extract_tb(error.__traceback__)
    where = "".join(f"\n  {Path(f.filename).name}:{f.lineno} in {f.name}: {f.line}" for f in frames[-6:])
    return f"{kind}: {error}{where}"


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_memory_mb() -> float:
    """The process's highest resident memory: an upper bound of the trial's own where workers are reused."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
