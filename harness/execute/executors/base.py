"""The interface of executors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from harness.execute.worker import Job

Outcome = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running trial is."""

    trial_id: str
    step: int
    steps: int
    loss: float


class Executor(Protocol):
    """Runs jobs; an outcome is plain data with at least ``trial_id``, ``status`` and ``error``.

    An outcome with ``crashed: True`` comes from a worker that died: another attempt may succeed.
    """

    def has_room(self, job: Job) -> bool:
        """Whether a job could start now."""
        ...

    def submit(self, job: Job) -> None:
        """Start a job."""
        ...

    def finished(self, wait_seconds: float) -> list[Outcome]:
        """Outcomes that have come in; waits up to ``wait_seconds`` for the first."""
        ...

    def progress(self) -> list[Progress]:
        """The newest heartbeat of each running trial."""
        ...

    def kill(self, trial_id: str) -> None:
        """End a running job at once."""
        ...

    def close(self) -> None:
        """End what still runs and give everything back."""
        ...
