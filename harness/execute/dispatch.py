"""Runs trials on an executor and journals every outcome: attempts, the watchdog, failures as they happen."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from harness.execute.executors.base import Executor, Outcome, Progress
from harness.execute.worker import Job

POLL_SECONDS = 0.25
BEAT_SECONDS = 1.0
STARTUP_SECONDS = 120.0  # for a worker to import what it needs, before its trial's own time begins


@dataclass(frozen=True, slots=True)
class Policy:
    """How to go on after failures, and when to stop.

    Attributes:
        attempts: tries of a trial whose worker died; an error of the code itself is never tried again.
        fail_fast: begin no further trial after a failure.
        exclusive: one trial at a time, so that its time is a cost.
        stop_at: of ``time.monotonic()``: begin no further trial after it.
    """

    attempts: int = 2
    fail_fast: bool = False
    exclusive: bool = False
    stop_at: float | None = None


class Recorder(Protocol):
    """Takes the journal's events; the store's owner does."""

    def record(self, event: Mapping[str, Any]) -> None:
        """Keep an event."""


class Watch(Protocol):
    """Is told what happens; a terminal table, or nothing."""

    def queued(self, jobs: int) -> None:
        """More jobs wait."""

    def started(self, job: Job) -> None:
        """A trial began."""

    def progressed(self, progress: list[Progress]) -> None:
        """Heartbeats came in."""

    def finished(self, job: Job, outcome: Outcome) -> None:
        """A trial ended for good."""


class Silent:
    """Tells nothing."""

    def queued(self, jobs: int) -> None:
        """Nothing."""

    def started(self, job: Job) -> None:
        """Nothing."""

    def progressed(self, progress: list[Progress]) -> None:
        """Nothing."""

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Nothing."""


class Dispatcher:
    """Feeds jobs to an executor; ``outcomes`` yields each trial's last outcome as it comes in.

    More jobs may be submitted between outcomes: sequential seeds and sweeps ask for the next trials that way.
    """

    def __init__(self, owner: Recorder, run_id: str, executor: Executor, policy: Policy, watch: Watch) -> None:
        self._owner, self._run_id, self._executor = owner, run_id, executor
        self._policy, self._watch = policy, watch
        self._waiting: deque[Job] = deque()
        self._running: dict[str, Job] = {}
        self._began: dict[str, float] = {}
        self._alive: set[str] = set()  # trials whose first heartbeat has come
        self._overdue: set[str] = set()
        self._open: set[str] = set()  # queued or running: what needs them must wait
        self._stopped: str | None = None
        self._last_beat = 0.0

    @property
    def left_over(self) -> list[Job]:
        """Jobs that were not begun (after ``fail_fast``, the time budget or an interruption)."""
        return list(self._waiting)

    def submit(self, jobs: Iterable[Job]) -> None:
        """Queue jobs."""
        new = list(jobs)
        self._waiting.extend(new)
        self._open.update(job.trial_id for job in new)
        self._watch.queued(len(new))

    def outcomes(self) -> Iterator[tuple[Job, Outcome]]:
        """Run until nothing waits and nothing runs."""
        while self._running or (self._waiting and not self._must_stop()):
            self._start_what_fits()
            for outcome in self._executor.finished(POLL_SECONDS):
                job = self._running.pop(outcome["trial_id"])
                if self._try_again(job, outcome):
                    continue
                self._open.discard(job.trial_id)
                yield job, outcome
                if outcome["status"] != "done":
                    yield from self._cancel_dependants(job)
            self._keep_watch()

    def _must_stop(self) -> bool:
        if self._policy.stop_at is not None and time.monotonic() >= self._policy.stop_at:
            self._stopped = self._stopped or "the time budget is used up"
        return self._stopped is not None

    def _start_what_fits(self) -> None:
        while not self._must_stop():
            job = next((job for job in self._waiting if not self._open & set(job.needs)), None)
            if job is None or (self._policy.exclusive and self._running) or not self._executor.has_room(job):
                return
            self._waiting.remove(job)
            self._owner.record(
                {"kind": "started", "run_id": self._run_id, "trial_id": job.trial_id, "attempt": job.attempt}
            )
            self._running[job.trial_id] = job
            self._began[job.trial_id] = time.monotonic()
            self._executor.submit(job)
            self._watch.started(job)

    def _cancel_dependants(self, failed: Job) -> Iterator[tuple[Job, Outcome]]:
        """What starts from a prerequisite that failed cannot run; it is journalled as cancelled, with the reason."""
        for job in [job for job in self._waiting if failed.trial_id in job.needs]:
            self._waiting.remove(job)
            self._open.discard(job.trial_id)
            error = f"its prerequisite {failed.label} ({failed.trial_id[:12]}) did not succeed"
            outcome: Outcome = {"trial_id": job.trial_id, "status": "cancelled", "error": error}
            self._owner.record({"kind": "outcome", "run_id": self._run_id, **outcome})
            self._watch.finished(job, outcome)
            yield job, outcome
            yield from self._cancel_dependants(job)

    def _try_again(self, job: Job, outcome: Outcome) -> bool:
        """Journal an outcome; True where the trial gets another attempt."""
        crashed = bool(outcome.pop("crashed", False))
        joules = outcome.pop("joules", None)
        self._alive.discard(job.trial_id)
        if job.trial_id in self._overdue:
            self._overdue.discard(job.trial_id)
            crashed = False
            seconds = job.timeout_seconds
            outcome.update(status="timeout", error=f"took longer than its {seconds:g} s (timeout_seconds)")
        outcome.setdefault("wall_seconds", time.monotonic() - self._began.get(job.trial_id, time.monotonic()))
        self._owner.record({"kind": "outcome", "run_id": self._run_id, **outcome})
        if joules:
            self._event("energy", {"trial_id": job.trial_id, "joules": joules})
        if crashed and outcome["status"] == "failed" and job.attempt < self._policy.attempts:
            self._event("retry", {"trial_id": job.trial_id, "attempt": job.attempt, "error": outcome["error"]})
            self._waiting.appendleft(replace(job, attempt=job.attempt + 1))
            return True
        if outcome["status"] == "failed" and self._policy.fail_fast:
            self._stopped = f"--fail-fast: {job.label} failed"
        self._watch.finished(job, outcome)
        return False

    def _keep_watch(self) -> None:
        now = time.monotonic()
        if now - self._last_beat >= BEAT_SECONDS and self._running:
            self._last_beat = now
            self._take_beats(now)
        for trial_id, job in self._running.items():
            patience = job.timeout_seconds + (0.0 if trial_id in self._alive else STARTUP_SECONDS)
            if now - self._began[trial_id] > patience and trial_id not in self._overdue:
                self._overdue.add(trial_id)
                self._executor.kill(trial_id)

    def _take_beats(self, now: float) -> None:
        beats = [beat for beat in self._executor.progress() if beat.trial_id in self._running]
        for beat in beats:
            if beat.trial_id not in self._alive:
                self._alive.add(beat.trial_id)
                self._began[beat.trial_id] = now
            if beat.steps:
                event = {"kind": "heartbeat", "trial_id": beat.trial_id, "step": beat.step, "steps": beat.steps}
                self._owner.record({**event, "loss": beat.loss})
        self._watch.progressed(beats)

    def abandon(self) -> None:
        """After an interruption: kill what runs and journal it as cancelled."""
        for trial_id in list(self._running):
            self._executor.kill(trial_id)
            outcome = {"trial_id": trial_id, "status": "cancelled", "error": "interrupted by the user"}
            self._owner.record({"kind": "outcome", "run_id": self._run_id, **outcome})
        self._running.clear()

    @property
    def stopped(self) -> str | None:
        """Why no further trial was begun, or None."""
        return self._stopped

    def _event(self, kind: str, detail: dict[str, Any]) -> None:
        self._owner.record({"kind": "event", "run_id": self._run_id, "event_kind": kind, "detail": detail})
