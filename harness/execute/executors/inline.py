"""Runs one trial after another in this process: for debugging and tests. Deadlines are checked between steps."""

from __future__ import annotations

from collections import deque
from typing import ClassVar

from harness.execute.executors.base import ExecutorOptions, Progress
from harness.execute.outcome import Outcome
from harness.execute.worker import Job, run_job, sealed


class InlineExecutor:
    """The executor ``inline``; it has no limit of memory, since its process is the command's."""

    isolated: ClassVar[bool] = False

    def __init__(self, options: ExecutorOptions | None = None) -> None:
        self._waiting: deque[Job] = deque()
        self._progress: dict[str, Progress] = {}

    @property
    def ahead(self) -> int:
        """None."""
        return 0

    def has_room(self, job: Job) -> bool:
        """One at a time."""
        return not self._waiting

    def submit(self, job: Job) -> None:
        """Queue a job; it runs when outcomes are asked for."""
        self._waiting.append(job)

    def wait(self, timeout: float) -> list[Outcome]:
        """Run the next job to its end."""
        if not self._waiting:
            return []
        job = self._waiting.popleft()

        def beat(step: int, steps: int, loss: float) -> None:
            self._progress[job.trial_id] = Progress(job.trial_id, step, steps, loss)

        outcome = sealed(job, run_job(job, beat))
        self._progress.pop(job.trial_id, None)
        return [outcome]

    def progress(self) -> list[Progress]:
        """The running job's newest heartbeat."""
        return list(self._progress.values())

    def cancel(self, trial_id: str) -> None:
        """Drop a job that has not begun; a running one ends itself at its deadline."""
        self._waiting = deque(job for job in self._waiting if job.trial_id != trial_id)

    def shutdown(self) -> None:
        """Drop what waits."""
        self._waiting.clear()
