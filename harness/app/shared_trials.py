"""Commands that share trials share the work: each runs free trials and takes the others' results.

A trial is locked from its start until its outcome is in the event log, so that commands that start together both find
something to do. The kernel drops the lock when its command dies; then a waiting command runs the trial. No command
holds a trial while it waits for another, so that no two can wait for each other.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator

from harness.execute.outcome import Outcome
from harness.execute.queue import Sharing
from harness.execute.worker import Job
from harness.store.other_sessions import OtherSessions, TrialLocks
from harness.store.paths import StorePaths
from harness.trial.saved import has_trained_weights

LOOK_SECONDS = 1.0
"""Between two looks whether a trial of another command was let go without a result."""


class SharedTrials(Sharing):
    """The part of one session in the trials of a database; make one before asking what is stored.

    Args:
        paths: of the database.
        segment: the log segment that this session writes.
    """

    def __init__(self, paths: StorePaths, segment: str) -> None:
        self._locks = TrialLocks(paths.sessions / "trial-locks")
        self._others = OtherSessions(paths, segment)
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
        """Let others have it."""
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
        """Number of trials that other commands run."""
        return len(self._elsewhere)

    @property
    def holder(self) -> str:
        """The other commands that run trials: one of them has what is waited for."""
        return "; ".join(self._others.living())

    def forget_waiting(self) -> None:
        """Wait for nothing any more, and let everything go: a plan has ended."""
        self._elsewhere.clear()
        self._locks.close()
