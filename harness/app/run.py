"""One execution of a suite: plan, dispatch what is not yet there, judge. A run owns no results, it asks for trials."""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from harness.app.session import Session, SessionRequest, check_data, now
from harness.base.folders import remove
from harness.errors import HarnessError
from harness.execute.determinism import FinishedTrial, again, chosen, compared
from harness.execute.dispatch import Watch
from harness.execute.environment import environment, environment_id, git_state
from harness.execute.worker import Job
from harness.judge import claim_rows
from harness.judge.judging import record_judgement
from harness.judge.remembered import judge_once
from harness.judge.rows import VerdictRow
from harness.judge.seeds import next_seeds, pending_claims, with_bought
from harness.plan.planning import Plan, Selection, make_plan, nothing_to_run, sources_of
from harness.plan.remaining import Cell
from harness.results.deletion import delete_trials
from harness.results.listing import measured_costs
from harness.store import Outcome, Owner
from harness.store.errors import StoreHeldError
from harness.store.events import ClaimsEvent, EnvironmentEvent, LogEvent, RunEvent
from harness.suite import Suite, suite_to_json
from harness.vocabulary import FINAL, Status


@dataclass(frozen=True, slots=True)
class Request(SessionRequest):
    """How a suite is to be run (the options of ``harness run``).

    Attributes:
        time_budget: in seconds.
        further: what runs after the suite's plan, in the same run: the tuned protocol (``harness.app.tuned``).
        foresee: how many trials of each cell ``further`` will ask for, as far as it is known before.
        stepped: seconds of a plan's cells by a step that was taken of each; the cells given are known better.
        force: delete the plan's stored results first, so that all its trials run.
    """

    selection: Selection = field(default_factory=Selection)
    time_budget: float | None = None
    further: Callable[[RunningSuite], None] | None = None
    foresee: Callable[[RunningSuite], Mapping[Cell, int]] | None = None
    stepped: Callable[[Plan, Collection[Cell]], Mapping[Cell, float]] | None = None
    force: bool = False


@dataclass(slots=True)
class Result:
    """Counts of a run's trials by status, how many were reused, failures and verdicts.

    ``reused`` counts the results that were stored already, or that another command measured meanwhile.
    """

    run_id: str
    plan: Plan
    reused: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str]] = field(default_factory=list)
    stopped: str | None = None
    verdicts: tuple[VerdictRow, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every trial of the plan has a result."""
        return not self.failures and self.stopped is None


def new_run_id() -> str:
    """A run's name: when it began, and four random bytes."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


def run_suite(suite: Suite, request: Request, watch: Watch) -> Result:
    """Run a suite; what is already stored is reused.

    Raises:
        HarnessError: before anything runs, where the plan, the data or the executor cannot be had.
    """
    request = replace(request, own_methods=(*request.own_methods, *suite.own_methods))
    plan = make_plan(suite, request.selection)
    if not plan.trials:
        raise HarnessError(nothing_to_run(suite, plan))
    check_data(plan)  # before a database is made
    result = Result(new_run_id(), plan)
    stop_at = None if request.time_budget is None else time.monotonic() + request.time_budget
    with Owner(request.database, result.run_id) as owner:
        session = Session(owner, request, replace(request.policy, stop_at=stop_at), watch)
        session.stored(plan)  # before there is a run
        _announce(owner, suite, request, result)
        try:
            with session:
                running = RunningSuite(session, suite, request, result)
                running.expect(plan)
                running.run(plan)
                if request.selection.cap is not None:
                    running.buy_seeds(request.selection.cap)
                if request.further is not None and result.stopped is None:
                    request.further(running)
                running.repeat()
        except BaseException:
            _end(owner, result, "cancelled")
            raise
        result.failures += [("the database", f"it did not take an event: {told}") for told in _refused(owner)]
        with owner.reader() as reader:
            sequential = request.selection.cap is not None
            judged = judge_once(suite, result.plan, reader, request.selection, sequential=sequential)
        result.verdicts, new = judged
        if new is not None:
            record_judgement(owner.record, suite.name, result.plan.scale, new)
        _end(owner, result, "done" if result.complete else "incomplete")
    return result


def _announce(owner: Owner, suite: Suite, request: Request, result: Result) -> None:
    """Journal the environment, the run and its claims."""
    plan = result.plan
    commit, dirty = git_state()
    owner.record(EnvironmentEvent(environment_id(), environment()))
    run = {
        "run_id": result.run_id,
        "suite": suite.name,
        "scale": plan.scale,
        "started_at": now(),
        "status": "running",
        "git_commit": commit,
        "git_dirty": dirty,
        "command": request.command,
        "environment_id": environment_id(),
        "spec": suite_spec(suite, plan, request.selection),
    }
    owner.record(RunEvent(run))
    owner.record(ClaimsEvent(suite.name, claim_rows(suite)))


def _refused(owner: Owner) -> list[str]:
    """Why the database did not take events. While a shell holds it that is not known; ``db check`` tells it later."""
    try:
        return owner.refused()
    except StoreHeldError:
        return []


def _end(owner: Owner, result: Result, status: str) -> None:
    owner.record(RunEvent({"run_id": result.run_id, "status": status, "finished_at": now()}))


def suite_spec(suite: Suite, plan: Plan, selection: Selection) -> dict[str, Any]:
    """The whole resolved suite with descriptions and the licences of its data, and what of it was asked for."""
    from harness import registry

    sources = {
        name: {key: getattr(registry.entry("data", name).card, key) for key in ("home", "licence", "origin", "version")}
        for name in sorted({name for name, _ in sources_of(plan.trials)})
    }
    benchmarks = {
        name: {
            "title": suite.benchmarks[name].model.title,
            "about": setting.about,
            "task": setting.task,
            "data": dict(setting.data),
            "model": dict(setting.model),
            "recipe": dict(setting.recipe),
            "metrics": {key: one.model_dump() for key, one in suite.benchmarks[name].model.metrics.items()},
            "stand_in": list(setting.stand_in),
            "stand_in_name": setting.stand_in_name,
        }
        for name, setting in plan.settings.items()
    }
    dumped = json.loads(suite.model.model_dump_json(exclude={"facts", "benchmarks"}))
    where: dict[str, Any] = {"path": str(suite.path.resolve()), "absent": list(plan.absent)}
    where["resolved"] = suite_to_json(suite)  # judging and pages read it there
    asked = {"seeds_asked": {"seeds": selection.seeds, "cap": selection.cap}, "overrides": dict(selection.overrides)}
    return {**dumped, **where, **asked, "benchmarks": benchmarks, "sources": sources}


class RunningSuite:
    """The trials of one run: those of its plan, then those that are bought one by one, then further ones."""

    def __init__(self, session: Session, suite: Suite, request: Request, result: Result) -> None:
        self.session, self.suite, self.request, self.result = session, suite, request, result
        self.seen: set[str] = set()
        self.finished: list[FinishedTrial] = []
        self.lost: dict[str, tuple[Job, Outcome]] = {}  # trials that ended here without a result

    def expect(self, plan: Plan) -> None:
        """Learn what trials of a plan cost: by stored ones, else by steps that were taken; and tell what is to come."""
        durations = self.session.durations
        for benchmark, arm in plan.cells:
            durations.named(benchmark, [arm])
        ids = [trial.trial_id for trial in plan.trials]
        if self.request.force or len(self.session.owner.finished(ids)) < len(ids):
            measured = measured_costs(plan, self.request.database).core_seconds
            stepped = {} if self.request.stepped is None else self.request.stepped(plan, measured.keys())
            durations.expect({**stepped, **measured})
        self.foresee({} if self.request.foresee is None else self.request.foresee(self))

    def foresee(self, later: Mapping[Cell, int]) -> None:
        """Tell, and journal, how many trials of each cell will be asked for later than those that are."""
        prices = dict(self.session.durations.prices)
        self.session.watch.expects(prices, later)
        detail = {
            "later": [[*cell, count] for cell, count in later.items() if count],
            "prices": [[*cell, round(seconds, 3)] for cell, seconds in prices.items()],
        }
        self.session.owner.record(LogEvent("foreseen", detail, self.result.run_id))

    def run(self, plan: Plan) -> None:
        """Run the trials of the suite's plan that have no result, or with ``force`` all of them."""
        self.result.plan = plan
        if self.request.force:
            self._delete_stored(plan)
        self.run_further(plan)

    def _delete_stored(self, plan: Plan) -> None:
        """Delete the plan's results of earlier runs, so that its trials run again."""
        if again := sorted(self.session.stored(plan).keys() - self.seen):
            delete_trials(self.session.owner, again, "run again by --force", self.request.command)
            self.session.discard(again)

    def run_further(self, plan: Plan) -> None:
        """Run what is missing of a plan beside the suite's."""
        for _ in self.outcomes(plan, self.session.stored(plan)):
            pass  # counted as they come

    def once(self, plan: Plan, stored: Mapping[str, str]) -> Iterator[tuple[Job, Outcome]]:
        """As :meth:`outcomes`, but trials that ended here without a result are told of again and do not run again."""
        again = [self.lost[trial.trial_id] for trial in plan.trials if trial.trial_id in self.lost]
        yield from again
        yield from self.outcomes(plan, {**stored, **{job.trial_id: outcome.status for job, outcome in again}})

    def outcomes(self, plan: Plan, stored: Mapping[str, str]) -> Iterator[tuple[Job, Outcome]]:
        """Run a plan's trials that are not ``stored``, and count all of them for the run."""
        new = {trial.trial_id for trial in plan.trials} - self.seen
        self.seen |= new
        for trial_id in new & stored.keys():
            self.result.reused += 1
            self.result.counts[stored[trial_id]] += 1
        for job, outcome in self.session.run(plan, stored):
            self.result.counts[outcome.status] += 1
            if job.trial_id in self.session.taken:
                self.result.reused += 1
            elif outcome.status == Status.DONE:
                self.finished.append((job, replace(outcome, series=(), artifacts=())))  # its final numbers are enough
            if outcome.status not in FINAL:
                self.lost[job.trial_id] = job, outcome
                self.result.failures.append((job.label, str(outcome.error)))
            yield job, outcome
        self.result.stopped = self.session.stopped

    def buy_seeds(self, cap: int) -> None:
        """Give the next seed to the claim most likely to be resolved by it, until all are or the cap is reached."""
        selection, owner = self.request.selection, self.session.owner
        while self.result.stopped is None:
            with owner.reader() as reader:
                purchases = next_seeds(pending_claims(self.suite, self.result.plan, reader, cap=cap))
            if not purchases:
                return
            for purchase in purchases:
                owner.record(purchase.as_event(self.result.run_id))
            selection = with_bought(selection, purchases)
            self.run(make_plan(self.suite, selection))

    def repeat(self) -> None:
        """Run a few quick trials of this run once more; whether their numbers come out the same is journalled."""
        repeated = chosen(self.finished) if self.result.stopped is None else []
        first = {job.trial_id: outcome for job, outcome in repeated}
        for job, outcome in self.session.repeat(again(job) for job, _ in repeated):
            detail = compared(job, first[job.trial_id], outcome)
            self.session.owner.record(LogEvent("determinism", detail, self.result.run_id))
            remove(job.folder)
