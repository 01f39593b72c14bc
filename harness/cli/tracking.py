"""Writes trials to trackers as they end, beside what the terminal shows; a tracker that fails stops nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import click

from harness.execute.dispatch import Watch
from harness.execute.executors.base import Progress
from harness.execute.outcome import Outcome
from harness.execute.worker import Job
from harness.exports.tracked import as_ended, kind_of
from harness.exports.trackers import Tracker
from harness.plan.planning import Selection
from harness.suite import Suite


class TrackingWatch(Watch):
    """Tells another watch, and writes each ended trial to every tracker.

    A failure of a tracker is one warning; it is tried again with the next trial, at most ``ATTEMPTS`` times in a row.
    """

    ATTEMPTS = 3

    def __init__(self, inner: Watch, trackers: Mapping[str, Tracker], suite: Suite, own: Collection[str]) -> None:
        self.inner, self.suite, self.own = inner, suite, own
        self.trackers = dict(trackers)
        self._failed = dict.fromkeys(trackers, 0)

    def warned(self, message: str) -> None:
        """Show a warning."""
        self.inner.warned(message)

    def queued(self, jobs: Sequence[Job]) -> None:
        """More jobs wait."""
        self.inner.queued(jobs)

    def started(self, job: Job) -> None:
        """A trial began."""
        self.inner.started(job)

    def progressed(self, progress: list[Progress]) -> None:
        """Heartbeats came in."""
        self.inner.progressed(progress)

    def taken(self, job: Job, outcome: Outcome) -> None:
        """A result of another command, whose trackers it is written to: it is shown."""
        self.inner.taken(job, outcome)

    def elsewhere(self, jobs: int, holder: str, *, idle: bool) -> None:
        """Trials that another command runs."""
        self.inner.elsewhere(jobs, holder, idle=idle)

    def finished(self, job: Job, outcome: Outcome) -> None:
        """A trial ended for good: it is shown, then written."""
        self.inner.finished(job, outcome)
        for name, tracker in list(self.trackers.items()):
            try:
                cell = (job.benchmark, job.arm)
                tracker.write(as_ended(self.suite.name, cell, kind_of(cell[1], self.own), job.spec, outcome))
            except Exception as error:  # a full disk or a tracker's fault must not end a run
                self._warn(name, job, error)
            else:
                self._failed[name] = 0

    def _warn(self, name: str, job: Job, error: Exception) -> None:
        self._failed[name] += 1
        given_up = self._failed[name] >= self.ATTEMPTS
        if given_up:
            del self.trackers[name]
        if self._failed[name] == 1 or given_up:
            reason = f"{type(error).__name__}: {error}"
            more = (
                f"; given up after {self.ATTEMPTS} trials in a row, 'harness export' writes them later"
                if given_up
                else ""
            )
            click.echo(f"warning: --track {name}: {job.label} was not written ({reason}){more}", err=True)


def tracking_watch(watch: Watch, trackers: Mapping[str, Tracker], suite: Suite, selection: Selection) -> Watch:
    """The watch itself, or one that writes to trackers too."""
    if not trackers:
        return watch
    return TrackingWatch(watch, trackers, suite, {*suite.model.arms, *selection.added_arms})
