"""The interface of executors, in the words of ``concurrent.futures`` where they fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from harness.execute.outcome import Outcome
from harness.execute.worker import Job


@dataclass(frozen=True, slots=True)
class ExecutorOptions:
    """What executors are made with; each takes of it what it needs.

    Attributes:
        state: a folder for notes that outlive the process.
        address: a cluster to join: ``auto`` or ``HOST:PORT``; None: this machine.
        gpus_per_trial: the share of a GPU that a trial asks for; None: one where there is one.
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

    Attributes:
        isolated: every trial has a process of its own, which ``cancel`` can end and whose death ends no other.
        ahead: of the jobs that were submitted, so many are more than there are places for: they begin without delay
            when others end. Their time has not begun.
    """

    isolated: ClassVar[bool]

    @property
    def ahead(self) -> int:
        """See the class."""
        ...

    def has_room(self, job: Job) -> bool:
        """Whether a job could start now, or soon: see ``ahead``."""
        ...

    def submit(self, job: Job) -> None:
        """Start a job."""
        ...

    def wait(self, timeout: float) -> list[Outcome]:
        """Outcomes of jobs that have ended; waits up to ``timeout`` seconds for the first."""
        ...

    def progress(self) -> list[Progress]:
        """The newest heartbeat of each running trial."""
        ...

    def cancel(self, trial_id: str) -> None:
        """End a job: one that runs at once where the executor is isolated, else one that has not begun."""
        ...

    def shutdown(self) -> None:
        """End what still runs and give everything back."""
        ...
