"""Progress of running trials: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.live import Live as RichLive
from rich.table import Table
from rich.text import Text

from harness.cli.streams import raw_of, visible
from harness.cli.terminal import counted
from harness.execute.dispatch import Watch
from harness.execute.executors.base import Progress
from harness.execute.outcome import Outcome
from harness.execute.worker import Job
from harness.plan.remaining import Cell, Durations
from harness.vocabulary import Status

if TYPE_CHECKING:
    from harness.exports.trackers import Tracker
    from harness.plan.planning import Selection
    from harness.suite import Suite


def waiting_for(jobs: int, holder: str) -> str:
    """Describe trials of another command that this one waits for."""
    return f"waiting for {counted(jobs, 'trial')} of another run" + (f" ({holder})" if holder else "")


class Tracking:
    """Writes finished trials to trackers.

    A failing tracker stops nothing: it is one warning, tried again with the next trial, and given up after
    ``ATTEMPTS`` failures in a row.
    """

    ATTEMPTS = 3

    def __init__(self, trackers: Mapping[str, Tracker], suite: Suite, selection: Selection) -> None:
        self.trackers, self.suite = dict(trackers), suite
        self.arms = {*suite.model.arms, *selection.added_arms}
        self._failed = dict.fromkeys(trackers, 0)

    def write(self, job: Job, outcome: Outcome) -> None:
        from harness.exports.tracked import as_ended, kind_of

        for name, tracker in list(self.trackers.items()):
            try:
                kind = kind_of(job.arm, self.arms)
                tracker.write(as_ended(self.suite.name, (job.benchmark, job.arm), kind, job.spec, outcome))
            except Exception as error:  # a full disk or a fault of the tracker must not end a run
                self._warn(name, job, error)
            else:
                self._failed[name] = 0

    def _warn(self, name: str, job: Job, error: Exception) -> None:
        self._failed[name] += 1
        given_up = self._failed[name] >= self.ATTEMPTS
        if given_up:
            del self.trackers[name]
        if self._failed[name] == 1 or given_up:
            last = f"; given up after {self.ATTEMPTS} trials in a row, 'harness export' writes them later"
            reason = f"{type(error).__name__}: {error}"
            message = f"--track {name}: {job.label} was not written ({reason}){last if given_up else ''}"
            click.echo(f"warning: {message}", err=True)


class Quiet(Watch):
    """Shows nothing; finished trials go to trackers."""

    def __init__(self, tracking: Tracking | None = None) -> None:
        self._tracking = tracking

    def finished(self, job: Job, outcome: Outcome) -> None:
        if self._tracking is not None:
            self._tracking.write(job, outcome)


class Counting(Quiet):
    """Counts trials and estimates the time left, by configuration."""

    def __init__(self, suite: str, tracking: Tracking | None = None) -> None:
        super().__init__(tracking)
        self.suite = suite
        self.total = self.done = self.failed = 0
        self.began = time.monotonic()
        self.running: dict[str, Job] = {}
        self.newest: dict[str, Progress] = {}
        self.ended: Counter[str] = Counter()  # seeds by configuration
        self.other = 0  # trials that another command runs
        self._durations = Durations()
        self._waiting: Counter[Cell] = Counter()
        self._first: float | None = None  # when the first trial began
        self._since: dict[str, float] = {}

    def queued(self, jobs: Sequence[Job]) -> None:
        self.total += len(jobs)
        self._waiting.update((job.benchmark, job.arm) for job in jobs)

    def started(self, job: Job) -> None:
        now = time.monotonic()
        self._first = now if self._first is None else self._first
        self._since[job.trial_id] = now
        if job.trial_id not in self.running:  # else another attempt
            self._waiting[job.benchmark, job.arm] -= 1
        self.running[job.trial_id] = job

    def progressed(self, progress: list[Progress]) -> None:
        self.newest.update({heartbeat.trial_id: heartbeat for heartbeat in progress})

    def finished(self, job: Job, outcome: Outcome) -> None:
        super().finished(job, outcome)
        if self.running.pop(job.trial_id, None) is None:  # never begun
            self._waiting[job.benchmark, job.arm] -= 1
        self._since.pop(job.trial_id, None)
        if outcome.wall_seconds is not None:
            self._durations.ended(job.benchmark, job.arm, outcome.wall_seconds)
        self.newest.pop(job.trial_id, None)
        self.ended[f"{job.benchmark}/{job.arm}"] += outcome.status == Status.DONE
        self.done += 1
        self.failed += not outcome.status.final

    def taken(self, job: Job, outcome: Outcome) -> None:
        self._waiting[job.benchmark, job.arm] -= 1
        if outcome.wall_seconds is not None:
            self._durations.ended(job.benchmark, job.arm, outcome.wall_seconds)
        self.ended[f"{job.benchmark}/{job.arm}"] += outcome.status == Status.DONE
        self.done += 1

    def elsewhere(self, jobs: int, holder: str, *, idle: bool) -> None:
        self.other = jobs

    @property
    def remaining(self) -> str:
        """The time left of the trials that are queued or running."""
        if self._first is None:
            return "…"
        now = time.monotonic()
        under_way = [((job.benchmark, job.arm), now - self._since[name]) for name, job in list(self.running.items())]
        # a copy, since the table is drawn in another thread
        seconds = self._durations.left(dict(self._waiting), under_way, now - self._first)
        if seconds is None:
            return "…"
        return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


class Plain(Counting):
    """Prints one line for each finished trial, at most one a second; failures always."""

    def __init__(self, suite: str, tracking: Tracking | None = None) -> None:
        super().__init__(suite, tracking)
        self._last = 0.0

    def finished(self, job: Job, outcome: Outcome) -> None:
        super().finished(job, outcome)
        bad = outcome.status != Status.DONE
        now = time.monotonic()
        if bad or now - self._last >= 1.0 or self.done == self.total:
            self._last = now
            error = f": {str(outcome.error).splitlines()[0]}" if bad else ""
            line = f"[{self.done}/{self.total}] {job.label} {outcome.status} {outcome.wall_seconds or 0:.1f} s{error}"
            print(f"{line} · {self.remaining} left", file=sys.stderr, flush=True)

    def warned(self, message: str) -> None:
        print(f"warning: {message}", file=sys.stderr, flush=True)

    def elsewhere(self, jobs: int, holder: str, *, idle: bool) -> None:
        super().elsewhere(jobs, holder, idle=idle)
        if jobs and idle:
            print(waiting_for(jobs, holder), file=sys.stderr, flush=True)


class Live(Counting):
    """A live table of running trials, throughput, time left and failures."""

    def __init__(self, suite: str, tracking: Tracking | None = None) -> None:
        super().__init__(suite, tracking)
        self._console = Console(file=raw_of(sys.stderr))
        self.holder = ""
        self.shown = RichLive(get_renderable=self._table, console=self._console, refresh_per_second=4, transient=True)

    def _table(self) -> Table:
        elapsed = max(1e-9, time.monotonic() - self.began)
        failed = f" · [red]{self.failed} failed[/red]" if self.failed else ""
        title = f"{self.suite}: {self.done} of {self.total} trials{failed}"
        caption = f"{self.done / elapsed * 60:.0f} trials a minute · {self.remaining} left"
        if self.other:
            caption += f" · {waiting_for(self.other, self.holder)}"
        table = Table(title=title, caption=caption, title_justify="left", caption_justify="left", box=None)
        for column in ("running", "seed", "step", "loss", "seeds done"):
            table.add_column(column, justify="left" if column == "running" else "right")
        for trial_id, job in list(self.running.items()):  # drawn in a thread while trials begin and end
            at = self.newest.get(trial_id)
            name, seed = f"{job.benchmark}/{job.arm}", str(job.spec.seed)
            step = f"{at.step}/{at.steps}" if at and at.steps else "…"
            table.add_row(
                Text(visible(name)), seed, step, f"{at.loss:.4g}" if at and at.steps else "", str(self.ended[name])
            )
        return table

    def warned(self, message: str) -> None:
        self._console.print(visible(f"warning: {message}"), markup=False, highlight=False)

    def elsewhere(self, jobs: int, holder: str, *, idle: bool) -> None:
        super().elsewhere(jobs, holder, idle=idle)
        self.holder = holder

    def finished(self, job: Job, outcome: Outcome) -> None:
        """A trial ended; a failure is printed above the table."""
        super().finished(job, outcome)
        if outcome.status != Status.DONE:
            first = str(outcome.error).splitlines()[0]
            self._console.print(visible(f"{outcome.status}: {job.label}: {first}"), markup=False, highlight=False)


@contextlib.contextmanager
def make_watch(suite: str, quiet: bool = False, tracking: Tracking | None = None) -> Iterator[Watch]:
    """Yield the watch that fits the terminal."""
    if quiet:
        yield Quiet(tracking)
    elif sys.stderr.isatty() and not os.environ.get("CI"):
        live = Live(suite, tracking)
        with live.shown:
            yield live
    else:
        yield Plain(suite, tracking)
