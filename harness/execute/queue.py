"""Jobs that wait for each other, and the permission to run them."""

import heapq
import itertools
from collections.abc import Iterable, Iterator

from harness.execute.outcome import Outcome
from harness.execute.worker import Job


class JobQueue:
    """Jobs in order of arrival, those that wait for others aside.

    A job waits for those of its ``needs`` that are queued or running here; the others have their trained weights.
    """

    def __init__(self) -> None:
        self._ready: list[tuple[int, Job]] = []
        self._places = itertools.count()
        self._first = -1
        self._open: set[str] = set()  # queued or running
        self._blocked: dict[str, tuple[int, Job, set[str]]] = {}
        self._dependants: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._ready or self._blocked)

    def add(self, jobs: Iterable[Job]) -> None:
        new = list(jobs)
        self._open.update(job.trial_id for job in new)
        for job in new:
            place, missing = next(self._places), self._open & set(job.needs)
            if missing:
                self._blocked[job.trial_id] = (place, job, missing)
                for need in missing:
                    self._dependants.setdefault(need, []).append(job.trial_id)
            else:
                heapq.heappush(self._ready, (place, job))

    def first(self) -> Job | None:
        """Return the first job that may start; None where all wait for others."""
        return self._ready[0][1] if self._ready else None

    def take(self) -> Job:
        """Remove the first job that may start; it counts as running."""
        return heapq.heappop(self._ready)[1]

    def again(self, job: Job) -> None:
        """Queue another attempt at a job, before all others."""
        heapq.heappush(self._ready, (self._first, job))
        self._first -= 1

    def ended(self, trial_id: str) -> None:
        """Make dependants ready, in their old places, after a success."""
        self._open.discard(trial_id)
        for name in self._dependants.pop(trial_id, ()):
            if name in self._blocked:
                place, job, missing = self._blocked[name]
                missing.discard(trial_id)
                if not missing:
                    del self._blocked[name]
                    heapq.heappush(self._ready, (place, job))

    def failed(self, trial_id: str) -> list[Job]:
        """Remove and return, in order, the dependants of a failed trial."""
        self._open.discard(trial_id)
        names = [name for name in self._dependants.pop(trial_id, ()) if name in self._blocked]
        gone = sorted((self._blocked.pop(name) for name in names), key=lambda entry: entry[0])
        for _, job, _ in gone:
            self._open.discard(job.trial_id)
        return [job for _, job, _ in gone]


class Sharing:
    """Decides which trials this command runs, and which another one; here it runs all."""

    @property
    def waiting(self) -> int:
        """The number of trials of other commands that this one waits for."""
        return 0

    @property
    def holder(self) -> str:
        """A description of the commands that may run them; empty if unknown."""
        return ""

    def take(self, job: Job) -> bool:
        """Return True where this command may run the trial; otherwise ``ended`` returns the job later."""
        return True

    def release(self, trial_id: str) -> None:
        """Release a trial whose outcome is stored."""

    def ended(self) -> Iterator[tuple[Job, Outcome | None]]:
        """Yield jobs that need no more waiting, with another command's result; None: no command runs them."""
        return iter(())
