"""Runs the trials of plans over one executor."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, Self

from harness.app.jobs import arranged, check_data, jobs_of
from harness.app.request import SessionRequest, SharedExecutor
from harness.data.folders import check_folders
from harness.execute.dispatch import Dispatcher, Policy, Recorder, Watch
from harness.execute.executors.base import Progress
from harness.execute.outcome import Outcome
from harness.execute.queue import Sharing
from harness.execute.worker import Job
from harness.plan.planning import Plan, Trial
from harness.plan.remaining import Durations
from harness.store import Writer
from harness.store.events import Event, HeartbeatEvent, LogEvent, OutcomeEvent, PlannedEvent, Rows, StartedEvent
from harness.store.other_sessions import OtherSessions, TrialLocks
from harness.store.paths import StorePaths
from harness.trial.saved import has_trained_weights

LOOK_SECONDS = 1.0
"""Between two looks whether a trial of another command was let go without a result."""


class SharedTrials(Sharing):
    """The part of one session in the trials of a database; make one before asking what is stored.

    ``log_segment`` is the name of the file that this session writes.
    """

    def __init__(self, paths: StorePaths, log_segment: str) -> None:
        self._locks = TrialLocks(paths.sessions / "trial-locks")
        self._others = OtherSessions(paths, log_segment)
        self._elsewhere: dict[str, Job] = {}
        self._next_look = 0.0
        self.taken: set[str] = set()
        """Trials whose result came from another command."""

    def discard(self, trial_ids: Collection[str]) -> None:
        """Ignore what others measured of trials until now: this session deletes them."""
        self._others.discard(trial_ids)

    def take(self, job: Job) -> bool:
        """Lock a trial that starts now; raises as :meth:`TrialLocks.take`."""
        if self._locks.take(job.trial_id):
            # In this order: another command records its result before it releases the trial.
            self._others.look()
            if self._result(job) is None:
                return True
            self._locks.release(job.trial_id)
        self._elsewhere[job.trial_id] = job
        return False

    def release(self, trial_id: str) -> None:
        self._locks.release(trial_id)

    def ended(self) -> Iterator[tuple[Job, Outcome | None]]:
        """Results of trials that were waited for; now and then also those that nobody runs any more, without one."""
        if not self._elsewhere:
            return
        now = time.monotonic()
        due = now >= self._next_look
        if due:
            self._next_look = now + LOOK_SECONDS
        # Before the event log is read: a trial that is free and has no result was given up.
        free = {trial_id for trial_id in self._elsewhere if self._locks.is_free(trial_id)} if due else set()
        self._others.look()
        for trial_id, job in list(self._elsewhere.items()):
            result = self._result(job)
            if result is not None or trial_id in free:
                del self._elsewhere[trial_id]
                if result is not None:
                    self.taken.add(trial_id)
                yield job, result

    def _result(self, job: Job) -> Outcome | None:
        """Return another command's result, if it has the required trained weights."""
        if job.keep_product and not has_trained_weights(job.folder):
            return None
        return self._others.result(job.trial_id)

    @property
    def waiting(self) -> int:
        return len(self._elsewhere)

    @property
    def holder(self) -> str:
        """The other commands that run trials: one of them has what is waited for."""
        return "; ".join(self._others.living())

    def forget_waiting(self) -> None:
        self._elsewhere.clear()
        self._locks.close()


def now() -> str:
    """This moment in UTC, as the store writes it."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat()


class StoreRecorder(Recorder):
    """Records the dispatcher's reports as events of one run."""

    def __init__(self, record: Callable[[Event], object], run_id: str) -> None:
        self._record, self._run_id = record, run_id

    def started(self, job: Job) -> None:
        self._record(StartedEvent(job.trial_id, self._run_id, job.attempt))

    def progressed(self, progress: Progress) -> None:
        self._record(HeartbeatEvent(progress.trial_id, progress.step, progress.steps, progress.loss))

    def ended(self, outcome: Outcome) -> None:
        self._record(OutcomeEvent(outcome, self._run_id))
        if outcome.gpu_joules is not None:
            detail = {"trial_id": outcome.trial_id, "joules": {"gpu": outcome.gpu_joules}}
            self._record(LogEvent("energy", detail, self._run_id))

    def retried(self, job: Job, error: str | None) -> None:
        detail = {"trial_id": job.trial_id, "attempt": job.attempt, "error": error}
        self._record(LogEvent("retry", detail, self._run_id))


class Session:
    """Runs plans for one writer; use as a context manager, which ends the executor.

    The executor is created for the first trial that must run.
    """

    def __init__(self, owner: Writer, request: SessionRequest, policy: Policy, watch: Watch) -> None:
        self.owner, self.request, self.policy, self.watch = owner, request, policy, watch
        self.run_id = str(owner.run_id)
        self.durations = Durations()
        self._stack = ExitStack()
        self._executor = request.shared or SharedExecutor(self._stack)
        self._dispatcher: Dispatcher | None = None
        self._shared: SharedTrials | None = None
        self._ran: set[str] = set()  # by this session; a later plan finds them stored, which is not reuse

    def __enter__(self) -> Self:
        self._stack.push(self._abandon)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._stack.__exit__(kind, error, trace)

    def _abandon(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Record running trials as cancelled after an interruption."""
        if self._dispatcher is not None and isinstance(error, KeyboardInterrupt):
            self._dispatcher.abandon()

    @property
    def stopped(self) -> str | None:
        return None if self._dispatcher is None else self._dispatcher.stopped

    @property
    def taken(self) -> AbstractSet[str]:
        """Trials whose outcome another command measured while this one waited for it."""
        return frozenset() if self._shared is None else self._shared.taken

    def _sharing(self) -> SharedTrials:
        if self._shared is None:
            self._shared = SharedTrials(self.owner.paths, self.owner.journal.segment)
            self._stack.callback(self._shared.forget_waiting)
        return self._shared

    def stored(self, plan: Plan) -> dict[str, str]:
        """The trials of a plan that have a result, with their status.

        Raises:
            HarnessError: a data source is missing, or a folder of the user cannot be read.
        """
        check_data(plan)
        self._sharing()  # first: a trial that another command finishes from here on is in one of the two answers
        stored = self.owner.finished([trial.trial_id for trial in plan.trials])
        check_folders(trial.spec for trial in plan.trials if trial.trial_id not in stored)
        return stored

    def discard(self, trial_ids: Collection[str]) -> None:
        self._sharing().discard(trial_ids)

    def run(self, plan: Plan, stored: Mapping[str, str] | None = None) -> Iterator[tuple[Job, Outcome]]:
        """Record a plan and run its trials; yields the last outcome of each as it comes in.

        Args:
            stored: trials that have a result and do not run, with their status; None: those of :meth:`stored`.

        Raises:
            HarnessError: the executor cannot be started, or as :meth:`stored`.
        """
        stored = self.stored(plan) if stored is None else stored
        complete = stored.keys() - self.owner.nameless(stored)
        self.owner.record(planned(self.run_id, plan, stored.keys() - self._ran, complete))
        if jobs := jobs_of(plan, stored, self.request):
            recorder = StoreRecorder(self.owner.record, self.run_id)
            shared = self._sharing()
            self._dispatcher = self._dispatching(arranged(jobs, self.durations), recorder, self.watch, shared)
            self.owner.release()  # a command that is stopped while a trial runs must not hold the file
            for job, outcome in self._dispatcher.outcomes():
                if job.trial_id not in shared.taken:
                    self._ran.add(job.trial_id)
                if outcome.wall_seconds is not None:
                    self.durations.ended(job.benchmark, job.arm, outcome.wall_seconds)
                yield job, outcome
            shared.forget_waiting()

    def repeat(self, jobs: Iterable[Job], watch: Watch | None = None) -> Iterator[tuple[Job, Outcome]]:
        """Rerun jobs without recording anything; only ``watch`` sees them."""
        if waiting := list(jobs):
            yield from self._dispatching(waiting, Recorder(), watch or Watch()).outcomes()

    def _dispatching(
        self, jobs: Sequence[Job], recorder: Recorder, watch: Watch, sharing: Sharing | None = None
    ) -> Dispatcher:
        executor = self._executor.get(self.request.executor, self.request.executor_options)
        dispatcher = Dispatcher(recorder, executor, self.policy, watch, sharing)
        dispatcher.submit(jobs)
        return dispatcher


def planned(run_id: str, plan: Plan, reused: Iterable[str], complete: Collection[str] = ()) -> PlannedEvent:
    """The event that links a run to its trials; trials in ``complete`` have their whole row already."""
    reused = set(reused)
    links = [
        {"trial_id": link.trial_id, "benchmark": link.benchmark, "arm": link.arm, "reused": link.trial_id in reused}
        for link in plan.links
    ]
    return planned_trials(run_id, [trial for trial in plan.trials if trial.trial_id not in complete], links)


def planned_trials(run_id: str, trials: Iterable[Trial], links: Rows = ()) -> PlannedEvent:
    """The event that adds the rows of trials before they run."""
    rows = [
        {
            "trial_id": trial.trial_id,
            "spec_id": trial.spec_id,
            "fingerprint": trial.fingerprint,
            "suite": trial.suite,
            "benchmark": trial.benchmark,
            "arm": trial.arm,
            "seed": trial.seed,
            "scale": trial.scale,
            "stand_in": list(trial.stand_in),
            "spec": trial.spec.to_json(),
        }
        for trial in trials
    ]
    return PlannedEvent(run_id, rows, links)
