"""Runs trials on an executor and records every outcome: attempts, deadlines, failures as they happen."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from harness.base import process_tree
from harness.execute.executors.base import Executor, Progress
from harness.execute.outcome import Outcome
from harness.execute.queue import JobQueue, Sharing
from harness.execute.resources import OUT_OF_MEMORY
from harness.execute.worker import Job
from harness.vocabulary import Status

POLL_SECONDS = 0.25
BEAT_SECONDS = 1.0
STARTUP_SECONDS = 120.0  # for a worker to import what it needs, before its trial's own time begins


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules for failures and for the end of a run.

    Only a trial whose worker died gets further ``attempts``. ``exclusive`` runs one trial at a time, so that its time
    is a cost. No further trial begins after ``stop_at`` of ``time.monotonic()``, or with ``fail_fast`` after a failure.
    """

    attempts: int = 2
    fail_fast: bool = False
    exclusive: bool = False
    stop_at: float | None = None


class Recorder:
    """Receives the events of trials and drops them; subclasses store them."""

    def started(self, job: Job) -> None:
        """Record that an attempt at a trial began."""

    def progressed(self, progress: Progress) -> None:
        """Record a heartbeat."""

    def ended(self, outcome: Outcome) -> None:
        """Record the outcome of an attempt."""

    def retried(self, job: Job, error: str | None) -> None:
        """Record that a trial gets another attempt."""


class Watch:
    """Receives what happens in a run and shows nothing; subclasses show it."""

    def warned(self, message: str) -> None:
        """Show a warning before anything runs."""

    def queued(self, jobs: Sequence[Job]) -> None:
        """Show that more jobs wait."""

    def started(self, job: Job) -> None:
        """Show that a trial began."""

    def progressed(self, progress: list[Progress]) -> None:
        """Show heartbeats."""

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Show that a trial ended for good."""

    def taken(self, job: Job, outcome: Outcome) -> None:
        """Show that another command measured a trial's result."""

    def elsewhere(self, jobs: int, holder: str, *, idle: bool) -> None:
        """Show how many trials another command runs; ``idle``: this one only waits for ``holder``."""


class Dispatcher:
    """Feeds jobs to an executor; ``outcomes`` yields each trial's last outcome as it arrives.

    More jobs may be submitted between outcomes: sequential seeds and sweeps do so. ``stopped`` is the reason why no
    further trial was begun, or None. Results of trials that ``sharing`` leaves to another command are among the
    outcomes.
    """

    def __init__(
        self, recorder: Recorder, executor: Executor, policy: Policy, watch: Watch, sharing: Sharing | None = None
    ) -> None:
        self._recorder, self._executor, self._policy, self._watch = recorder, executor, policy, watch
        self._sharing = Sharing() if sharing is None else sharing
        self._elsewhere = (0, False)
        self._waiting = JobQueue()
        self._running: dict[str, Job] = {}
        self._began: dict[str, float] = {}
        self._alive: set[str] = set()  # trials whose first heartbeat has come
        self._overdue: set[str] = set()
        self._pids: dict[str, int] = {}
        self._over_memory: dict[str, float] = {}  # MiB of trials that were ended above their limit
        self.stopped: str | None = None
        self._last_beat = 0.0

    def submit(self, jobs: Iterable[Job]) -> None:
        new = list(jobs)
        self._waiting.add(new)
        self._watch.queued(new)

    def outcomes(self) -> Iterator[tuple[Job, Outcome]]:
        """Run until nothing waits and nothing runs."""
        while self._running or ((self._waiting or self._sharing.waiting) and not self._must_stop()):
            yield from self._from_others()
            self._start_what_fits()
            for ended in self._next_ended():
                job = self._running.pop(ended.trial_id)
                outcome = self._settled(job, ended)
                if self._try_again(job, outcome):
                    continue
                yield from self._passed_on(job, outcome)
                self._sharing.release(job.trial_id)
            self._keep_watch()

    def _passed_on(self, job: Job, outcome: Outcome) -> Iterator[tuple[Job, Outcome]]:
        """Yield a trial's last outcome and those of its cancelled dependants."""
        if outcome.status == Status.DONE:
            self._waiting.ended(job.trial_id)
        yield job, outcome
        if outcome.status != Status.DONE:
            yield from self._cancel_dependants(job)

    def _from_others(self) -> Iterator[tuple[Job, Outcome]]:
        """Yield results of other commands; a trial that they gave up is queued before all others."""
        for job, outcome in self._sharing.ended():
            if outcome is None:
                self._waiting.again(job)
            else:
                self._watch.taken(job, outcome)
                yield from self._passed_on(job, outcome)

    def _next_ended(self) -> list[Outcome]:
        """Return outcomes of running trials; without any, pause while others run the rest."""
        jobs, idle = elsewhere = (self._sharing.waiting, not self._running)
        if elsewhere != self._elsewhere and (jobs or self._elsewhere[0]):
            self._watch.elsewhere(jobs, self._sharing.holder if jobs and idle else "", idle=idle)
        self._elsewhere = elsewhere
        if self._running:
            return self._executor.wait(POLL_SECONDS)
        if self._sharing.waiting:
            time.sleep(POLL_SECONDS)
        return []

    def _must_stop(self) -> bool:
        if self._policy.stop_at is not None and time.monotonic() >= self._policy.stop_at:
            self.stopped = self.stopped or "the time budget is used up"
        return self.stopped is not None

    def _start_what_fits(self) -> None:
        while not self._must_stop():
            job = self._waiting.first()
            if job is None or (self._policy.exclusive and self._running) or not self._executor.has_room(job):
                return
            self._waiting.take()
            if not self._sharing.take(job):
                continue
            self._recorder.started(job)
            self._running[job.trial_id] = job
            self._began[job.trial_id] = time.monotonic()
            self._executor.submit(job)
            self._watch.started(job)

    def _cancel_dependants(self, failed: Job) -> Iterator[tuple[Job, Outcome]]:
        for job in self._waiting.failed(failed.trial_id):
            error = f"its dependency {failed.label} ({failed.trial_id[:12]}) did not succeed"
            outcome = Outcome(job.trial_id, Status.CANCELLED, error=error)
            self._recorder.ended(outcome)
            self._watch.finished(job, outcome)
            yield job, outcome
            yield from self._cancel_dependants(job)

    def _settled(self, job: Job, outcome: Outcome) -> Outcome:
        """Complete an executor's outcome: a trial that the watchdog ended is a timeout, and each has a duration."""
        self._alive.discard(job.trial_id)
        self._pids.pop(job.trial_id, None)
        held = self._over_memory.pop(job.trial_id, None)
        if held is not None:
            error = (
                f"{OUT_OF_MEMORY} the trial held {held:,.0f} MiB with the processes that it started, more than its "
                f"limit of {job.memory_mib:,.0f} MiB; --memory-per-trial MIB gives it more"
            )
            outcome = replace(outcome, status=Status.FAILED, error=error, crashed=False, peak_memory_mb=held)
        elif job.trial_id in self._overdue:
            self._overdue.discard(job.trial_id)
            error = f"took longer than its {job.timeout_seconds:g} s (timeout_seconds)"
            outcome = replace(outcome, status=Status.TIMEOUT, error=error, crashed=False)
        if outcome.wall_seconds is None:
            outcome = replace(outcome, wall_seconds=time.monotonic() - self._began[job.trial_id])
        return outcome

    def _try_again(self, job: Job, outcome: Outcome) -> bool:
        """Record an outcome; True where the trial gets another attempt."""
        self._recorder.ended(outcome)
        if outcome.crashed and outcome.status == Status.FAILED and job.attempt < self._policy.attempts:
            self._recorder.retried(job, outcome.error)
            self._waiting.again(replace(job, attempt=job.attempt + 1))
            return True
        if outcome.status == Status.FAILED and self._policy.fail_fast:
            self.stopped = f"--fail-fast: {job.label} failed"
        self._watch.finished(job, outcome)
        return False

    def _keep_watch(self) -> None:
        now = time.monotonic()
        if now - self._last_beat >= BEAT_SECONDS and self._running:
            self._last_beat = now
            self._take_beats(now)
            self._check_memory()
        silent = (trial_id for trial_id in reversed(self._running) if trial_id not in self._alive)
        for trial_id in islice(silent, self._executor.ahead):
            self._began[trial_id] = now  # it waits for its place: its time has not begun
        for trial_id, job in self._running.items():
            patience = job.timeout_seconds + (0.0 if trial_id in self._alive else STARTUP_SECONDS)
            if now - self._began[trial_id] > patience and trial_id not in self._overdue:
                self._overdue.add(trial_id)
                self._executor.cancel(trial_id)

    def _take_beats(self, now: float) -> None:
        beats = [beat for beat in self._executor.progress() if beat.trial_id in self._running]
        for beat in beats:
            if beat.trial_id not in self._alive:
                self._alive.add(beat.trial_id)
                self._began[beat.trial_id] = now
            if beat.pid is not None:
                self._pids[beat.trial_id] = beat.pid
            if beat.steps:
                self._recorder.progressed(beat)
        self._watch.progressed(beats)

    def _check_memory(self) -> None:
        for trial_id, pid in self._pids.items():
            limit = self._running[trial_id].memory_mib
            if limit is None or trial_id in self._over_memory:
                continue
            held = process_tree.held_mib(process_tree.tree(pid), limit)
            if held > limit:
                self._over_memory[trial_id] = held
                self._executor.cancel(trial_id)

    def abandon(self) -> None:
        """After an interruption: kill running trials and record them as cancelled."""
        for trial_id in list(self._running):
            self._executor.cancel(trial_id)
            outcome = Outcome(trial_id, Status.CANCELLED, error="interrupted by the user")
            self._recorder.ended(outcome)
        self._running.clear()
