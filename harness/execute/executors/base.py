"""The interface of executors, and the executor ``inline``."""

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from harness.execute.outcome import Outcome
from harness.execute.worker import Job, run_job, sealed


@dataclass(frozen=True, slots=True)
class ExecutorOptions:
    """Arguments of executors: a folder for notes that outlive the process, a cluster to join, a share of a GPU.

    ``address`` is ``auto`` or ``HOST:PORT`` (None: this machine); ``gpus_per_trial`` None is one where there is one.
    """

    state: Path
    address: str | None = None
    gpus_per_trial: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """The newest heartbeat of a running trial; ``pid`` of its process where that is on this machine."""

    trial_id: str
    step: int
    steps: int
    loss: float
    pid: int | None = None


class Executor(Protocol):
    """Runs jobs. An outcome that ``crashed`` comes from a worker that died: another attempt may succeed.

    ``isolated``: every trial has its own process, which ``cancel`` can end and whose death ends no other.
    """

    isolated: ClassVar[bool]

    @property
    def ahead(self) -> int:
        """Number of jobs beyond the free places: they begin when others end, and their time has not begun."""

    def has_room(self, job: Job) -> bool:
        """True if a job could start now, or soon: see ``ahead``."""

    def submit(self, job: Job) -> None:
        """Start a job."""

    def wait(self, timeout: float) -> list[Outcome]:
        """Outcomes of jobs that have ended; waits up to ``timeout`` seconds for the first."""

    def progress(self) -> list[Progress]:
        """The newest heartbeat of each running trial."""

    def cancel(self, trial_id: str) -> None:
        """End a job: a running one at once where the executor is isolated, else one that has not begun."""

    def shutdown(self) -> None:
        """End running jobs and release everything."""


class InlineExecutor:
    """Runs one trial after another in this process, without a memory limit: for debugging and tests.

    Deadlines are checked between steps.
    """

    isolated: ClassVar[bool] = False
    ahead = 0

    def __init__(self, options: ExecutorOptions | None = None) -> None:
        self._waiting: deque[Job] = deque()
        self._progress: dict[str, Progress] = {}

    def has_room(self, job: Job) -> bool:
        return not self._waiting

    def submit(self, job: Job) -> None:
        self._waiting.append(job)

    def wait(self, timeout: float) -> list[Outcome]:
        if not self._waiting:
            return []
        job = self._waiting.popleft()

        def beat(step: int, steps: int, loss: float) -> None:
            self._progress[job.trial_id] = Progress(job.trial_id, step, steps, loss)

        outcome = sealed(job, run_job(job, beat))
        self._progress.pop(job.trial_id, None)
        return [outcome]

    def progress(self) -> list[Progress]:
        return list(self._progress.values())

    def cancel(self, trial_id: str) -> None:
        """Drop a job that has not begun; a running one ends itself at its deadline."""
        self._waiting = deque(job for job in self._waiting if job.trial_id != trial_id)

    def shutdown(self) -> None:
        self._waiting.clear()
