"""Writes what happens to trials into the event log."""

from __future__ import annotations

from collections.abc import Callable

from harness.execute.dispatch import Recorder
from harness.execute.executors.base import Progress
from harness.execute.outcome import Outcome
from harness.execute.worker import Job
from harness.store.events import Event, HeartbeatEvent, LogEvent, OutcomeEvent, StartedEvent


class StoreRecorder(Recorder):
    """Turns the dispatcher's reports into events of one run.

    Args:
        record: writes an event, as ``Writer.record`` does.
        run_id: of the run.
    """

    def __init__(self, record: Callable[[Event], object], run_id: str) -> None:
        self._record, self._run_id = record, run_id

    def started(self, job: Job) -> None:
        """Record that an attempt at a trial began."""
        self._record(StartedEvent(job.trial_id, self._run_id, job.attempt))

    def progressed(self, progress: Progress) -> None:
        """Record a heartbeat."""
        self._record(HeartbeatEvent(progress.trial_id, progress.step, progress.steps, progress.loss))

    def ended(self, outcome: Outcome) -> None:
        """Record the outcome of an attempt, and the energy that its GPU counted."""
        self._record(OutcomeEvent(outcome, self._run_id))
        if outcome.gpu_joules is not None:
            detail = {"trial_id": outcome.trial_id, "joules": {"gpu": outcome.gpu_joules}}
            self._record(LogEvent("energy", detail, self._run_id))

    def retried(self, job: Job, error: str | None) -> None:
        """Record that a trial gets another attempt."""
        detail = {"trial_id": job.trial_id, "attempt": job.attempt, "error": error}
        self._record(LogEvent("retry", detail, self._run_id))
