"""A run in progress: its trials, its counts and its result."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.app.request import Request
from harness.app.session import Session
from harness.execute.outcome import Outcome
from harness.execute.worker import Job
from harness.judge.rows import VerdictRow
from harness.judge.seeds import next_seeds, pending_claims, with_added_seeds
from harness.plan.planning import Plan, make_plan
from harness.results.deletion import delete_trials
from harness.results.verdict_text import headline, verdict_frame, verdict_record
from harness.suite import Suite
from harness.vocabulary import FINAL

if TYPE_CHECKING:
    import pandas as pd


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


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """A suite and the result of its run.

    Attributes:
        database: the store; that of a scratch run is gone.
        report: the ``index.html`` of the pages, where they were requested.
    """

    suite: Suite
    database: Path
    result: Result
    report: Path | None = None

    @property
    def scale(self) -> str:
        return self.result.plan.scale

    @property
    def run_id(self) -> str:
        return self.result.run_id

    @property
    def complete(self) -> bool:
        """True where every trial of the plan has a result."""
        return self.result.complete

    @property
    def headline(self) -> list[str]:
        return headline(self.result.verdicts)

    @property
    def verdicts(self) -> pd.DataFrame:
        """One row a claim (and protocol); the columns are those of ``harness.open(…).verdicts``."""
        return verdict_frame(list(map(verdict_record, self.result.verdicts)), self.suite.name)

    @property
    def record(self) -> dict[str, Any]:
        """Everything as JSON data, as ``harness run --json`` prints it: counts, failures, headline, verdicts."""
        result = self.result
        return {
            "suite": self.suite.name,
            "run_id": result.run_id,
            "trials": len(result.plan.trials),
            "reused": result.reused,
            "counts": result.counts,
            "stopped": result.stopped,
            "failures": result.failures,
            "warnings": list(result.warnings),
            "headline": self.headline,
            "verdicts": list(map(verdict_record, result.verdicts)),
        }

    def __repr__(self) -> str:
        result = self.result
        counts = ", ".join(f"{count} {status}" for status, count in result.counts.items())
        verdicts = "; ".join(f"{row.claim_id}: {row.verdict}" for row in result.verdicts)
        label = f"run {self.run_id} of {self.suite.name} at {self.scale}"
        return f"<{label}: {counts} ({result.reused} reused); {verdicts}>"

    def _repr_html_(self) -> str:
        shown = ["claim_id", "verdict", "difference", "ci_low", "ci_high", "n", "adjusted_p", "stand_in"]
        table = self.verdicts[shown].to_html(index=False, border=0, float_format="{:.3g}".format, na_rep="")
        sentences = "".join(f"<p>{html.escape(text)}</p>" for text in self.headline)
        failures = "".join(f"<li>{html.escape(f'{label}: {error}')}</li>" for label, error in self.result.failures)
        head = f"<p><b>{html.escape(self.suite.name)}</b> at {self.scale}, run {self.run_id}</p>"
        return f"{head}{table}{sentences}{f'<p>failed:</p><ul>{failures}</ul>' if failures else ''}"
