"""A run in progress: its trials, its counts and its result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from harness.app.request import Request
from harness.app.session import Session
from harness.execute.outcome import Outcome
from harness.execute.worker import Job
from harness.judge.rows import VerdictRow
from harness.judge.seeds import next_seeds, pending_claims, with_added_seeds
from harness.plan.planning import Plan, make_plan
from harness.results.deletion import delete_trials
from harness.suite import Suite
from harness.vocabulary import FINAL


@dataclass(slots=True)
class Result:
    """The result of a run.

    Attributes:
        reused: results that were stored already, or that another command measured meanwhile.
        counts: trials by status.
        failures: label and error of each trial without a result.
        stopped: the reason for which no further trial was begun, or None.
        warnings: what is valid in the suite and probably not meant, and what added seeds cost.
    """

    run_id: str
    plan: Plan
    reused: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str]] = field(default_factory=list)
    stopped: str | None = None
    verdicts: tuple[VerdictRow, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """True where every trial of the plan has a result."""
        return not self.failures and self.stopped is None


class RunningSuite:
    """The trials of one run: those of its plan, then added seeds one by one, then those of the tuned protocol."""

    def __init__(self, session: Session, suite: Suite, request: Request, result: Result) -> None:
        self.session, self.suite, self.request, self.result = session, suite, request, result
        self.seen: set[str] = set()
        self.lost: dict[str, tuple[Job, Outcome]] = {}  # ended here without a result

    def run(self, plan: Plan, stored: Mapping[str, str] | None = None) -> None:
        """Run the trials that are not ``stored``, with ``force`` all of them."""
        self.result.plan = plan
        stored = self.session.stored(plan) if stored is None else stored
        again = sorted(stored.keys() - self.seen) if self.request.force else []
        if again:
            delete_trials(self.session.owner, again, "run again by --force", self.request.command)
            self.session.discard(again)
        for _ in self.outcomes(plan, {name: status for name, status in stored.items() if name not in again}):
            pass  # they are counted

    def once(self, plan: Plan, stored: Mapping[str, str]) -> Iterator[tuple[Job, Outcome]]:
        """Run as :meth:`outcomes`, without rerunning trials that failed in this run."""
        again = [self.lost[trial.trial_id] for trial in plan.trials if trial.trial_id in self.lost]
        yield from again
        yield from self.outcomes(plan, {**stored, **{job.trial_id: outcome.status for job, outcome in again}})

    def outcomes(self, plan: Plan, stored: Mapping[str, str]) -> Iterator[tuple[Job, Outcome]]:
        """Run the trials that are not ``stored``; count all trials."""
        new = {trial.trial_id for trial in plan.trials} - self.seen
        self.seen |= new
        for trial_id in new & stored.keys():
            self.result.reused += 1
            self.result.counts[stored[trial_id]] += 1
        for job, outcome in self.session.run(plan, stored):
            self.result.counts[outcome.status] += 1
            if job.trial_id in self.session.taken:
                self.result.reused += 1
            if outcome.status not in FINAL:
                self.lost[job.trial_id] = job, outcome
                self.result.failures.append((job.label, str(outcome.error)))
            yield job, outcome
        self.result.stopped = self.session.stopped

    def add_seeds(self, maximum: int) -> None:
        """Add seeds one by one, where they most likely resolve a claim."""
        selection, owner = self.request.selection, self.session.owner
        while self.result.stopped is None:
            with owner.reader() as reader:
                purchases = next_seeds(pending_claims(self.suite, self.result.plan, reader, cap=maximum))
            if not purchases:
                return
            for purchase in purchases:
                owner.record(purchase.as_event(self.result.run_id))
            selection = with_added_seeds(selection, purchases)
            self.run(make_plan(self.suite, selection))
