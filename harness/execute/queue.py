"""Jobs that wait: each is ready once nothing that it starts from is queued or running; every step takes O(log n)."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable

from harness.execute.worker import Job


class JobQueue:
    """Jobs in the order in which they came, those that wait for others aside.

    A job waits for the trials among its ``needs`` that are themselves queued or running here; others have theirs.
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
        """Queue jobs behind those that wait already."""
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
        """The first that may start; None where all wait for others."""
        return self._ready[0][1] if self._ready else None

    def take(self) -> Job:
        """The first that may start, which leaves the queue and counts as running."""
        return heapq.heappop(self._ready)[1]

    def again(self, job: Job) -> None:
        """A further attempt at a job that ran, before all others."""
        heapq.heappush(self._ready, (self._first, job))
        self._first -= 1

    def ended(self, trial_id: str) -> None:
        """A trial ended well: what waited for it alone is ready, in its old place."""
        self._open.discard(trial_id)
        for name in self._dependants.pop(trial_id, ()):
            if name in self._blocked:
                place, job, missing = self._blocked[name]
                missing.discard(trial_id)
                if not missing:
                    del self._blocked[name]
                    heapq.heappush(self._ready, (place, job))

    def failed(self, trial_id: str) -> list[Job]:
        """A trial did not end well: the jobs that waited for it, in order, which can no longer run and are gone."""
        self._open.discard(trial_id)
        names = [name for name in self._dependants.pop(trial_id, ()) if name in self._blocked]
        gone = sorted((self._blocked.pop(name) for name in names), key=lambda entry: entry[0])
        for _, job, _ in gone:
            self._open.discard(job.trial_id)
        return [job for _, job, _ in gone]
