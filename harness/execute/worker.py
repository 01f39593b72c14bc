"""Runs one trial in this process and returns its outcome, whatever happens."""

import math
import platform
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from harness.base.folders import seal, unseal
from harness.base.process_tree import ending_children
from harness.errors import OutOfTimeError
from harness.execute.environment import environment_id
from harness.execute.outcome import Outcome
from harness.execute.resources import OUT_OF_MEMORY, gpu_joules, peak_memory_bytes
from harness.registry.user_methods import UserMethod, register
from harness.trial.spec import TrialSpec
from harness.vocabulary import Status

CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Job:
    """A trial to run, as it travels to a worker: plain data and paths.

    ``prerequisites`` has folders of trained weights by name, ``needs`` the trials that must end before. Other trials
    start from its weights where ``keep_product``. ``own_methods`` are registered again in the worker's process,
    ``code`` is the fingerprint in its identity (empty: not compared), ``data`` the run's data folder (None: this
    machine's). At least ``checkpoint_seconds`` lie between two checkpoints. Above ``memory_mib`` the dispatcher ends
    it.
    """

    trial_id: str
    benchmark: str
    arm: str
    spec: TrialSpec
    folder: Path
    attempt: int = 1
    timeout_seconds: float = math.inf
    prerequisites: Mapping[str, Path] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    keep_product: bool = False
    own_methods: tuple[UserMethod, ...] = ()
    code: str = ""
    data: Path | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    memory_mib: float | None = None

    @property
    def label(self) -> str:
        return f"{self.benchmark}/{self.arm}/{self.spec.seed}"

    @property
    def threads(self) -> int:
        """CPUs of the trial: computing threads, or reading threads where these are more."""
        recipe = self.spec.recipe
        return max(int(recipe.get("threads", 1)), int(recipe.get("loader_workers") or 0))


Beat = Callable[[int, int, float], None]
"""Receives (steps done, steps in all, loss)."""


def run_job(job: Job, beat: Beat, stop_at_deadline: bool = True) -> Outcome:
    """Run a trial in this process.

    Raises nothing but KeyboardInterrupt: an error is an outcome (``failed``, ``timeout``), and so is ``sys.exit``.
    """
    started_at = datetime.now(UTC).replace(tzinfo=None).isoformat()
    wall, cpu, joules = time.perf_counter(), time.process_time(), gpu_joules()
    unseal(job.folder)
    try:
        with ending_children():
            outcome = _train(job, beat, stop_at_deadline)
    except OutOfTimeError as error:
        outcome = Outcome(job.trial_id, Status.TIMEOUT, device="", error=_message(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        outcome = Outcome(job.trial_id, Status.FAILED, device="", error=_message(error))
    joules_after = gpu_joules()
    return replace(
        outcome,
        attempts=job.attempt,
        started_at=started_at,
        environment_id=environment_id(),
        node=platform.node(),
        wall_seconds=time.perf_counter() - wall,
        cpu_seconds=time.process_time() - cpu,
        peak_memory_mb=peak_memory_bytes() / 2**20,  # an upper bound where a worker ran other trials before
        gpu_joules=None if joules is None or joules_after is None else joules_after - joules,
    )


def sealed(job: Job, outcome: Outcome) -> Outcome:
    """Write-protect the files of a trial with a result."""
    if outcome.status.final:
        seal(job.folder)
    return outcome


def _train(job: Job, beat: Beat, stop_at_deadline: bool) -> Outcome:
    import torch

    from harness import registry
    from harness.data.roots import data_root
    from harness.trial.runtime import Runtime

    for method in job.own_methods:
        register(method)
    beat(0, 0, math.nan)  # the watchdog's clock begins here, after the imports
    _remove_parts(job.folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    until = time.monotonic() + job.timeout_seconds if stop_at_deadline else math.inf
    data = job.data or data_root()
    runtime = Runtime(
        job.folder,
        device,
        registry.load,
        data,
        beat,
        until,
        job.prerequisites,
        job.keep_product,
        job.checkpoint_seconds,
    )
    if registry.entry("task", job.spec.task).metadata.program:
        ended = registry.load("task", job.spec.task).target(job.spec, runtime)
    else:
        from harness.trial.loop import train

        ended = train(job.spec, runtime)
    return Outcome(
        job.trial_id,
        Status(ended.status),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        error=ended.error,
        results=tuple(ended.results),
        series=tuple(ended.series),
        artifacts=tuple(ended.artifacts),
    )


def _remove_parts(folder: Path) -> None:
    """Remove half-written files of killed attempts: checkpoints are as large as their networks."""
    import psutil

    for part in folder.glob("*.part"):
        pid = part.suffixes[-2].removeprefix(".") if len(part.suffixes) > 1 else ""
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            part.unlink(missing_ok=True)


NO_MEMORY = ("not enough memory", "can't allocate memory")
"""Messages of torch's allocators."""
LONGEST = 4000
"""Characters of an error's text that are kept."""


def _text_of(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as other:
        return f"(its text cannot be made: {type(other).__name__})"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def _message(error: BaseException) -> str:
    """The error with its place in the code; one about memory begins with ``OUT_OF_MEMORY``."""
    kind = type(error).__name__
    text = _text_of(error)
    if kind == "OutOfMemoryError" or isinstance(error, MemoryError) or any(phrase in text for phrase in NO_MEMORY):
        kind = f"{OUT_OF_MEMORY} {kind}"
    frames = traceback.extract_tb(error.__traceback__)
    where = "".join(f"\n  {Path(f.filename).name}:{f.lineno} in {f.name}: {f.line}" for f in frames[-6:])
    return f"{kind}: {text}{where}"
