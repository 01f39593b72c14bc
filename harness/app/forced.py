"""Trials that run again although they are stored (``harness run --force``): the new result takes the old one's place.

What was there stays until the new result is: a trial that fails, or a run that is killed, leaves numbers and files as
they were. Both outcomes' numbers are compared, and the journal has both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.base.folders import remove
from harness.execute.determinism import same
from harness.execute.outcome import Outcome
from harness.execute.worker import Job
from harness.store import Reader
from harness.store.events import Event, OutcomeEvent, StartedEvent
from harness.store.hygiene_events import ReplacedEvent
from harness.trial.result import Score
from harness.vocabulary import FINAL, Status

AGAIN = ".again"
"""What the name of a trial's folder ends with while it runs again."""


@dataclass(frozen=True, slots=True)
class ChangedNumber:
    """A final number before and after; None where that outcome has none."""

    split: str
    metric: str
    before: float | None
    after: float | None

    def __str__(self) -> str:
        told = ("none" if value is None else f"{value:.6g}" for value in (self.before, self.after))
        return f"{self.split}.{self.metric} {' → '.join(told)}"


@dataclass(frozen=True, slots=True)
class ReplacedOutcome:
    """A trial that ran again, and what came out otherwise.

    Attributes:
        before, after: how it ended.
        replaced: whether the new outcome is stored; one without a result is not.
        numbers: final numbers that were compared.
        other_environment: the first outcome is of another environment, where other numbers are no surprise.
    """

    trial_id: str
    label: str
    before: str
    after: str
    replaced: bool
    numbers: int
    differing: tuple[ChangedNumber, ...]
    other_environment: bool

    @property
    def equal(self) -> bool:
        """Whether the same came out, to the last bit."""
        return self.replaced and self.before == self.after and not self.differing

    def __str__(self) -> str:
        if not self.replaced:
            return f"{self.label}: ended as {self.after} this time; its stored result ({self.before}) stays"
        where = " (in another environment)" if self.other_environment else ""
        if self.equal:
            return f"{self.label}: the same {self.numbers} numbers again{where}"
        ended = "" if self.before == self.after else f" {self.before} → {self.after};"
        shown = ", ".join(map(str, self.differing[:4])) + (" …" if len(self.differing) > 4 else "")
        return f"{self.label}:{ended} {shown}{where}"


class ForcedTrials:
    """The trials of a plan that run again: their jobs, how their outcomes are recorded, and what differs.

    Args:
        stored: the outcomes that are stored, by trial; only statuses, environments and final numbers are needed.
        record: takes the journal's events.
    """

    def __init__(self, stored: Iterable[Outcome], record: Callable[[Event], object]) -> None:
        self.stored = {outcome.trial_id: outcome for outcome in stored}
        self._record = record
        self._folders: dict[str, Path] = {}

    def job(self, job: Job) -> Job:
        """The job in a folder of its own, which begins empty, where its trial runs again."""
        if job.trial_id not in self.stored:
            return job
        folder = self._folders[job.trial_id] = job.folder
        return replace(job, folder=folder.with_name(folder.name + AGAIN))

    def home(self, job: Job) -> Job:
        """The job in the folder where its trial's files lie in the end."""
        return replace(job, folder=self._folders.get(job.trial_id, job.folder))

    def record(self, event: Event) -> None:
        """Journal an event; a new result of a stored trial replaces the old one, numbers and files."""
        if isinstance(event, OutcomeEvent) and event.outcome.trial_id in self.stored:
            outcome = event.outcome
            if outcome.status in FINAL:
                outcome = self._moved(outcome)
            event = ReplacedEvent(outcome, event.run_id)
        elif isinstance(event, StartedEvent) and event.trial_id in self._folders and event.attempt == 1:
            # Only now: until it is this command's, another one may be running the trial there.
            folder = self._folders[event.trial_id]
            remove(folder.with_name(folder.name + AGAIN))
        self._record(event)

    def _moved(self, outcome: Outcome) -> Outcome:
        """The outcome once its files lie where the trial's files lie."""
        folder = self._folders[outcome.trial_id]
        fresh = folder.with_name(folder.name + AGAIN)
        remove(folder)
        if fresh.is_dir():
            fresh.rename(folder)
        artifacts = tuple(
            replace(one, path=folder / one.path.relative_to(fresh)) if one.path.is_relative_to(fresh) else one
            for one in outcome.artifacts
        )
        return replace(outcome, artifacts=artifacts)

    def ended(self, job: Job, outcome: Outcome) -> ReplacedOutcome | None:
        """What a trial's last outcome changed; None where it was not stored before."""
        before = self.stored.get(job.trial_id)
        if before is None:
            return None
        remove(job.folder)  # of one without a result
        replaced = outcome.status in FINAL
        old, new = ({score[:2]: score.value for score in one.results} for one in (before, outcome))
        differing = [
            ChangedNumber(*key, old.get(key), new.get(key))
            for key in sorted(old.keys() | new.keys())
            if key not in old or key not in new or not same(old[key], new[key])
        ]
        return ReplacedOutcome(
            job.trial_id,
            job.label,
            before.status,
            outcome.status,
            replaced,
            len(old.keys() & new.keys()),
            tuple(differing) if replaced else (),
            before.environment_id != outcome.environment_id,
        )


def stored_outcomes(reader: Reader, trial_ids: Iterable[str]) -> list[Outcome]:
    """Stored results of trials: status, environment and final numbers."""
    wanted = sorted(trial_ids)
    numbers: dict[str, list[Score]] = {}
    for trial, split, metric, value in reader.results(wanted).rows:
        numbers.setdefault(trial, []).append(Score(split, metric, value))
    rows = reader.query("SELECT trial_id, status, environment_id FROM trials WHERE trial_id = ANY(?)", [wanted]).rows
    return [
        Outcome(trial, Status(status), environment_id=environment, results=tuple(numbers.get(trial, ())))
        for trial, status, environment in rows
    ]
