"""Searches over the hyper-parameters of arms: sweeps, and the tuned protocol of a run."""

import functools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from harness.app.request import SessionRequest
from harness.app.running import RunningSuite
from harness.app.session import Session, now
from harness.execute.dispatch import Policy, Watch
from harness.execute.environment import environment, environment_id
from harness.execute.outcome import Outcome
from harness.execute.worker import Job
from harness.judge.protocols import SearchResult, search_results, told_points, validation_scores
from harness.judge.rows import VerdictRow
from harness.plan.planning import Plan
from harness.plan.protocols import EqualSearch, rate_plans, searches, together, tuned_plan, tuned_section
from harness.plan.tuning import Point, Tuning, TuningRequest, make_tuning
from harness.store import Reader, Writer
from harness.store.events import EnvironmentEvent, SweepEvent, SweepPointEvent
from harness.suite import Suite
from harness.sweep.study import Drawing, configurations_plan, search_plan, should_prune
from harness.sweep.summary import SweepSummary, compare, summarise
from harness.trial.options import Values
from harness.vocabulary import Status

Outcomes = Callable[[Plan, Mapping[str, str]], Iterator[tuple[Job, Outcome]]]
"""Runs the trials of a plan that are not among the stored ones."""


class Search:
    """The configurations of a tuning, ``budget`` of each arm: ``tune`` runs them, ``points`` has their scores.

    ``outcomes`` runs a plan's trials that are not stored, as ``Session.run`` does, and counts them for a run.
    """

    def __init__(self, tuning: Tuning, budget: int, session: Session, outcomes: Outcomes | None = None) -> None:
        self.tuning, self.budget, self.session, self.owner = tuning, budget, session, session.owner
        self._outcomes = outcomes or session.run
        self.drawings = {arm: Drawing.of(tuning, arm) for arm in tuning.arms}
        self.points = self._stored()
        self.ran = 0

    def _stored(self) -> dict[str, list[Point]]:
        """The stored points by arm, in order; a failed one is run again."""
        with self.owner.reader() as reader:
            points = told_points(self.tuning, reader)
            stored = [point for each in points.values() for point in each] if self.tuning.pruner != "none" else []
            scores = self._scores(reader, [trial for point in stored for trial in point.trial_ids])
        for point in stored:  # the pruner of later rounds sees the scores that it would see without an interruption
            point.rungs = {place: scores[trial] for place, trial in enumerate(point.trial_ids, 1) if trial in scores}
        return points

    def _scores(self, reader: Reader, ids: Sequence[str]) -> dict[str, float]:
        """The tuned metric on validation of stored trials."""
        return validation_scores(self.tuning, reader, ids)

    def tune(self) -> None:
        """Run every round of every arm; arms run side by side, so that drift of the machine affects them alike."""
        batch = self.tuning.batch if self.tuning.sampler == "tpe" else self.budget
        for start in range(0, self.budget, batch):
            numbers = range(start, min(start + batch, self.budget))
            waiting: list[tuple[str, Point]] = []
            for arm, drawing in self.drawings.items():
                stored = {point.number for point in self.points[arm]}
                before = self._before(arm, start)
                if not stored.issuperset(numbers):
                    waiting += [(arm, point) for point in drawing.draw(numbers, before) if point.number not in stored]
            self._round(sorted(waiting, key=lambda pair: pair[1].number), start)

    def _before(self, arm: str, start: int) -> list[Point]:
        return [point for point in self.points[arm] if point.number < start]

    def _round(self, waiting: Sequence[tuple[str, Point]], start: int) -> None:
        groups = self.tuning.seed_groups()
        for number, seeds in enumerate(groups):
            running = [(arm, point) for arm, point in waiting if not point.finished]
            if not running:
                break
            is_last = number + 1 == len(groups)
            self._run_group(running, seeds, number, is_last)
            for arm, point in [] if is_last else running:
                if not point.finished and should_prune(self.drawings[arm], self._before(arm, start), point):
                    point.status, point.value = "pruned", point.rungs[max(point.rungs)]
        for arm, point in waiting:
            if not any(other is point for other in self.points[arm]):
                self._record(arm, point)
        for points in self.points.values():
            points.sort(key=lambda point: point.number)

    def _run_group(
        self, running: Sequence[tuple[str, Point]], seeds: tuple[int, ...], done: int, is_last: bool
    ) -> None:
        """Run points at some seeds; in the last group each point is recorded as soon as its trials have ended."""
        named = {f"{arm}#{point.number}": (arm, point) for arm, point in running}
        plan = configurations_plan(
            self.tuning, {name: (arm, point.params) for name, (arm, point) in named.items()}, seeds
        )
        requested: dict[str, list[tuple[str, int]]] = {}
        left = dict.fromkeys(named, len(seeds))
        for link in plan.links:
            named[link.arm][1].trial_ids.append(link.trial_id)
            requested.setdefault(link.trial_id, []).append((link.arm, done + seeds.index(link.seed) + 1))
        for trial_id, status, score in self.run(plan):
            for name, rung in requested.get(trial_id, ()):
                arm, point = named[name]
                left[name] -= 1
                _take(point, rung, status, score)
                if left[name] == 0 and (is_last or point.finished):
                    if not point.finished:
                        point.status, point.value = "told", statistics.fmean(point.rungs.values())
                    self._record(arm, point)
        for name, missing in left.items():
            if missing:  # trials that were never begun
                named[name][1].status, named[name][1].value = "failed", math.nan

    def run(self, plan: Plan) -> Iterator[tuple[str, str, float | None]]:
        """Run the trials of a plan that are not stored; yields id, status and validation score, stored ones first."""
        stored = self.session.stored(plan)
        if stored:
            with self.owner.reader() as reader:
                scores = self._scores(reader, list(stored))
            for trial_id, status in stored.items():
                yield trial_id, status, scores.get(trial_id)
        for job, outcome in self._outcomes(plan, stored):
            self.ran += job.trial_id not in self.session.taken
            if job.trial_id not in stored:  # else its trained weights were lost
                yield job.trial_id, outcome.status, outcome.score("validation", self.tuning.selection_metric)

    def _record(self, arm: str, point: Point) -> None:
        """Record a finished point; its trials are on the disk already, so that nobody waits for this line."""
        self.points[arm].append(point)
        row = {
            "sweep_id": self.tuning.sweep_id,
            "arm": arm,
            "number": point.number,
            "params": point.params,
            "value": point.value,
            "status": point.status,
            "trial_ids": point.trial_ids,
            "told_at": now(),
        }
        self.owner.record(SweepPointEvent(row), durable=False)

    def record(self, status: str, summary: SweepSummary | None = None, compared: Sequence[str] | None = None) -> None:
        tuning = self.tuning
        spaces = {
            arm: {key: limits.model_dump(exclude_none=True) for key, limits in space.items()}
            for arm, space in tuning.spaces.items()
        }
        row = {
            "sweep_id": tuning.sweep_id,
            "suite": tuning.suite.name,
            "benchmark": tuning.benchmark,
            "arms": list(tuning.arms),
            "sampler": tuning.sampler,
            "budget": self.budget,
            "scale": tuning.scale,
            "status": status,
            "spec": {
                "metric": tuning.metric,
                "selection_metric": tuning.selection_metric,
                "better": tuning.better,
                "pruner": tuning.pruner,
                "seeds": tuning.seeds,
                "fresh": tuning.fresh,
                "batch": tuning.batch,
                "command": self.session.request.command,
                "overrides": dict(tuning.overrides),
                "spaces": spaces,
                **(summary or {}),
                **({} if compared is None else {"comparison": list(compared)}),
            },
        }
        started = {"started_at": now()} if status == "running" else {}
        self.owner.record(SweepEvent(row | started))


def _take(point: Point, rung: int, status: str, score: float | None) -> None:
    """Add a trial to its point: a failure outweighs a divergence, and either outweighs a score."""
    if status == Status.DONE and score is not None:
        point.rungs[rung] = score
    else:
        diverged = status == Status.DIVERGED and point.status != "failed"
        point.status, point.value = "diverged" if diverged else "failed", math.nan


def run_protocol(running: RunningSuite) -> None:
    """Run the trials of tuned claims that are not stored.

    The trials of all searches and of the learning-rate sensitivity are known before any of them has run: they wait in
    one queue, so that processors are idle once at its end and not once a search.

    Raises:
        HarnessError: a search that is not valid; none of its trials has run.
    """
    suite, plan = running.suite, running.result.plan
    if tuned_section(suite, plan.scale) is None:
        return
    waiting = searches(suite, plan)
    ahead = [each.plan.run for each in rate_plans(suite, plan)]
    tried: set[str] = set()
    results: list[SearchResult] = []
    while waiting or ahead:
        queue = [*map(search_plan, waiting), *ahead]
        _run(running, functools.reduce(together, queue, replace(plan, trials=(), links=())))
        for search in waiting:
            _tune(running, search)
            if running.result.stopped is not None:
                return
        tried |= {search.tuning.sweep_id for search in waiting}
        with running.session.owner.reader() as reader:
            results = search_results(suite, plan, reader)
        ahead, last = [], [result.parts[-1] for result in results]
        waiting = [search for search in last if search.tuning.sweep_id not in tried]
    whole = [(result.search, result.params) for result in results if result.equal]
    _run(running, tuned_plan(suite, plan, whole).run)


def _run(running: RunningSuite, plan: Plan) -> None:
    """Run trials that are neither stored nor failed in this run."""
    for _ in running.once(plan, running.session.stored(plan)):
        pass  # they are counted


def _tune(running: RunningSuite, search: EqualSearch) -> None:
    """Run one search, stored as a sweep: its page shows every configuration."""
    tried = Search(search.tuning, search.budget, running.session, running.once)
    tried.record("running")
    try:
        tried.tune()
    except BaseException:
        tried.record("cancelled")
        raise
    status = "done" if running.result.stopped is None else "cancelled"
    tried.record(status, summarise(search.tuning, tried.points, search.budget))


@dataclass(frozen=True, slots=True)
class SweepRequest(SessionRequest):
    """The options of ``harness sweep``; None takes the suite's own."""

    benchmark: str
    budget: int
    arms: tuple[str, ...] = ()
    scale: str = "mini"
    sampler: str | None = None
    pruner: str | None = None
    seeds: int | None = None
    fresh: int | None = None
    overrides: Values = field(default_factory=Values)

    @property
    def tuning(self) -> TuningRequest:
        return TuningRequest(**{each.name: getattr(self, each.name) for each in fields(TuningRequest)})


@dataclass(slots=True)
class SweepResult:
    """The result of a sweep: points and chosen configurations by arm, and the verdicts of the comparison."""

    sweep_id: str
    suite: Suite
    plan: Plan | None
    points: dict[str, list[Point]]
    chosen: Mapping[str, Values]
    verdicts: tuple[VerdictRow, ...]
    ran: int
    summary: SweepSummary


def run_sweep(suite: Suite, request: SweepRequest, watch: Watch) -> SweepResult:
    """Tune every arm at one budget, then compare the chosen configurations.

    Raises:
        HarnessError: before anything runs, if the sweep is not valid.
    """
    request = replace(request, own_methods=(*request.own_methods, *suite.own_methods))
    tuning = make_tuning(suite, request.tuning)
    with Writer(request.database, f"sweep-{tuning.sweep_id}-{now().replace(':', '')}") as owner:
        owner.record(EnvironmentEvent(environment_id(), environment()))
        session = Session(owner, request, Policy(), watch)
        search = Search(tuning, request.budget, session)
        search.record("running")
        try:
            with session:
                search.tune()
                summary = summarise(tuning, search.points, request.budget)
                plan, derived, verdicts = compare(tuning, search.run, owner, summary)
        except BaseException:
            search.record("cancelled")
            raise
        search.record("done", summary, [verdict.claim_id for verdict in verdicts])
    return SweepResult(tuning.sweep_id, derived, plan, search.points, summary["chosen"], verdicts, search.ran, summary)
