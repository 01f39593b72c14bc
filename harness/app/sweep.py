"""Runs a sweep: draws rounds, runs their trials through the dispatcher, tells, and ends with a judged comparison."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.app.session import Session, SessionRequest, now
from harness.errors import HarnessError
from harness.execute.dispatch import Watch
from harness.execute.environment import environment, environment_id
from harness.execute.worker import Job
from harness.judge.protocols import told_points
from harness.judge.rows import VerdictRow
from harness.plan.planning import Plan, Selection, make_plan
from harness.plan.tuning import Point, Tuning, TuningRequest, make_tuning
from harness.store import Outcome, Owner, Reader, open_reader
from harness.store.events import EnvironmentEvent, SweepEvent, SweepPointEvent
from harness.suite import Suite
from harness.suite.cells import setting
from harness.suite.models import Arm
from harness.suite.spaces import with_point
from harness.sweep.study import Drawing, should_prune
from harness.trial.pruning import Pruning

CURVES = 4
"""Points that ran to their end, before one is ended within its training."""
Outcomes = Callable[[Plan, Mapping[str, str]], Iterator[tuple[Job, Outcome]]]
"""Runs the trials of a plan that are not among the stored ones."""


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
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tuning(self) -> TuningRequest:
        """What is tuned, without where and how it runs."""
        return TuningRequest(**{each.name: getattr(self, each.name) for each in fields(TuningRequest)})


@dataclass(slots=True)
class SweepResult:
    """What a sweep found."""

    sweep_id: str
    suite: Suite
    plan: Plan | None
    points: dict[str, list[Point]]
    chosen: dict[str, dict[str, Any]]
    verdicts: tuple[VerdictRow, ...]
    ran: int
    summary: dict[str, Any]


class Search:
    """The configurations of a tuning: ``tune`` runs them, ``points`` has what they gave.

    Args:
        tuning: what is tried.
        budget: how many configurations of each arm.
        session: whose executor runs the trials.
        outcomes: runs a plan's trials that are not stored, as ``Session.run`` does; a run counts them.
    """

    def __init__(self, tuning: Tuning, budget: int, session: Session, outcomes: Outcomes | None = None) -> None:
        self.tuning, self.budget, self.session, self.owner = tuning, budget, session, session.owner
        self._outcomes = outcomes or session.run
        self.drawings = {arm: Drawing.of(tuning, arm) for arm in tuning.arms}
        self.points = self._stored()
        self.ran = 0

    def _stored(self) -> dict[str, list[Point]]:
        """The points that are told already, by arm, in order; a failed one is run again."""
        with self.owner.reader() as reader:
            points = told_points(self.tuning, reader)
            told = [point for each in points.values() for point in each] if self.tuning.pruner != "none" else []
            scores = self._scores(reader, [trial for point in told for trial in point.trial_ids])
        for point in told:
            # The pruner of later rounds must see what it would have seen without an interruption.
            point.rungs = {place: scores[trial] for place, trial in enumerate(point.trial_ids, 1) if trial in scores}
        return points

    def _scores(self, reader: Reader, ids: Sequence[str]) -> dict[str, float]:
        """The tuned metric on validation of stored trials."""
        if not ids:
            return {}
        wanted = ("validation", self.tuning.selection_metric)
        return {trial: value for trial, split, metric, value in reader.results(ids).rows if (split, metric) == wanted}

    def tune(self) -> None:
        """Every round of every arm: arms side by side, so that a drift of the machine touches them alike."""
        batch = self.budget if self.tuning.sampler in ("random", "grid") else self.tuning.batch
        for start in range(0, self.budget, batch):
            numbers = range(start, min(start + batch, self.budget))
            waiting: list[tuple[str, Point]] = []
            for arm, drawing in self.drawings.items():
                told = {point.number for point in self.points[arm]}
                before = [point for point in self.points[arm] if point.number < start]
                if not told.issuperset(numbers):
                    waiting += [(arm, point) for point in drawing.draw(numbers, before) if point.number not in told]
            self._round(sorted(waiting, key=lambda one: one[1].number), start)

    def _round(self, waiting: Sequence[tuple[str, Point]], start: int) -> None:
        """Run the trials of points that are not told yet, rung by rung, and tell each point when it ends."""
        groups = self.tuning.rungs()
        done = 0
        for number, (seeds, share) in enumerate(groups):
            running = [(arm, point) for arm, point in waiting if not point.finished]
            if not running:
                break
            is_last = number + 1 == len(groups)
            self._run_group(running, seeds, share, done, is_last, start)
            done += len(seeds)
            for arm, point in [] if is_last else running:
                before = [other for other in self.points[arm] if other.number < start]
                if not point.finished and should_prune(self.tuning.pruner, self.drawings[arm], before, point):
                    point.status, point.value = "pruned", point.rungs[max(point.rungs)]
        for arm, point in waiting:
            if not any(other is point for other in self.points[arm]):
                self._tell(arm, point)
        for points in self.points.values():
            points.sort(key=lambda point: point.number)

    def _run_group(
        self,
        running: Sequence[tuple[str, Point]],
        seeds: tuple[int, ...],
        share: float,
        done: int,
        is_last: bool,
        start: int,
    ) -> None:
        """Trials of points at some seeds; with the last ones a point is told as soon as all of its own have ended."""
        named = {f"{arm}#{point.number}": (arm, point) for arm, point in running}
        arms, fill = self.tuning.arms, self.tuning.fill
        tried = {name: with_point(arms[arm], fill, point.params) for name, (arm, point) in named.items()}
        plan = self._plan(tried, seeds, share)
        asked: dict[str, list[tuple[str, int]]] = {}
        bounds = {arm: self._bounds(arm, start) for arm in {arm for arm, _ in running}}
        left = dict.fromkeys(named, len(seeds))
        for link in plan.links:
            named[link.arm][1].trial_ids.append(link.trial_id)
            asked.setdefault(link.trial_id, []).append((link.arm, done + seeds.index(link.seed) + 1))

        pruning = {link.trial_id: bound for link in plan.links if (bound := bounds[named[link.arm][0]]) is not None}
        for trial_id, status, score in self.run(plan, pruning):
            for name, rung in asked.get(trial_id, ()):
                arm, point = named[name]
                left[name] -= 1
                _take(point, rung, status, score)
                if left[name] == 0 and (is_last or point.finished):
                    if not point.finished:
                        scores = point.rungs  # of the seeds; under hyperband the last is the full training's
                        whole = self.tuning.pruner == "hyperband"
                        point.value = scores[max(scores)] if whole else statistics.fmean(scores.values())
                        point.status = "told"
                    self._tell(arm, point)
        for name, missing in left.items():
            if missing:  # trials that were never begun
                named[name][1].status, named[name][1].value = "failed", math.nan

    def _plan(self, arms: Mapping[str, Arm], seeds: Sequence[int], share: float = 1.0) -> Plan:
        overrides = dict(self.tuning.overrides)
        if share < 1.0:
            base = setting(self.tuning.suite, self.tuning.benchmark, self.tuning.scale)
            steps = base.recipe.get("steps") if base is not None else None
            if not isinstance(steps, int):
                raise HarnessError("--pruner hyperband needs a recipe whose length is given in steps")
            overrides["max_steps"] = max(1, round(share * steps))
        chosen = Selection(
            scale=self.tuning.scale,
            benchmarks=(self.tuning.benchmark,),
            arms=(),
            seeds=tuple(seeds),
            overrides=overrides,
            added_arms=arms,
        )
        return make_plan(self.tuning.suite, chosen)

    def _bounds(self, arm: str, start: int) -> Pruning | None:
        """What trials of an arm must reach as they train: the median, at each step, of the points of earlier rounds.

        None without four of them that ran to their end. Of rounds alone, so that the same trials are ended whatever
        order they run in, and after an interruption too.
        """
        if self.tuning.pruner != "curve":
            return None
        points = [point for point in self.points[arm] if point.number < start and point.status == "told"]
        trials = [trial for point in points for trial in point.trial_ids]
        if len(points) < CURVES:
            return None
        sql = """
            SELECT step, median(value), max(step) OVER () FROM metrics
            WHERE split = 'validation' AND name = ? AND list_contains(?, trial_id)
            GROUP BY step HAVING count(*) >= ? ORDER BY step
        """
        with self.owner.reader() as reader:
            rows = reader.query(sql, [self.tuning.selection_metric, trials, CURVES]).rows
        bounds = {int(step): float(value) for step, value, last in rows if step < last}  # at the last one all is paid
        return Pruning(self.tuning.selection_metric, self.tuning.better, bounds)

    def run(self, plan: Plan, pruning: Mapping[str, Pruning] | None = None) -> Iterator[tuple[str, str, float | None]]:
        """Run what is missing of a plan; trials stand in the store as those of any run.

        Yields the id, the status and the score on validation of each trial, those first that are stored.
        """
        stored = self.session.stored(plan)
        if stored:
            with open_reader(self.session.request.database) as reader:
                scores = self._scores(reader, list(stored))
            for trial_id, status in stored.items():
                yield trial_id, status, scores.get(trial_id)
        outcomes = self.session.run(plan, stored, pruning=pruning) if pruning else self._outcomes(plan, stored)
        for job, outcome in outcomes:
            self.ran += job.trial_id not in self.session.taken
            if job.trial_id not in stored:  # else its product was lost
                yield job.trial_id, outcome.status, outcome.score("validation", self.tuning.selection_metric)

    def _tell(self, arm: str, point: Point) -> None:
        """Journal a finished point: its trials are on the disk already, so that nobody waits for this line."""
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


def _take(point: Point, rung: int, status: str, score: float | None) -> None:
    """What one trial says of its point: a failure outweighs a divergence, and either outweighs a score."""
    if status == "done" and score is not None:
        point.rungs[rung] = score
    elif status == "cancelled" and score is not None:
        point.status, point.value = "pruned", score
    else:
        worse = status == "diverged" and point.status != "failed"
        point.status, point.value = "diverged" if worse else "failed", math.nan


def run_sweep(suite: Suite, request: SweepRequest, watch: Watch) -> SweepResult:
    """Tune every arm at one budget, then compare the chosen configurations on fresh seeds through the judge.

    Raises:
        HarnessError: before anything runs, where the sweep cannot be made.
    """
    from harness.sweep.compare import compare
    from harness.sweep.summary import summarise

    request = replace(request, own_methods=(*request.own_methods, *suite.own_methods))
    tuning = make_tuning(suite, request.tuning)
    with Owner(request.database, f"sweep-{tuning.sweep_id}-{now().replace(':', '')}") as owner:
        owner.record(EnvironmentEvent(environment_id(), environment()))
        row = sweep_row(tuning, request.budget, request.command)
        owner.record(SweepEvent({**row, "status": "running", "started_at": now()}))
        try:
            with Session(owner, request, request.policy, watch) as session:
                search = Search(tuning, request.budget, session)
                search.tune()
                summary = summarise(tuning, search.points, request.budget)
                plan, derived, verdicts = compare(tuning, search.run, owner, summary)
        except BaseException:
            owner.record(SweepEvent({**row, "status": "cancelled"}))
            raise
        compared = {"comparison": [verdict.claim_id for verdict in verdicts]}
        owner.record(SweepEvent({**row, "status": "done", "spec": {**row["spec"], **summary, **compared}}))
    return SweepResult(tuning.sweep_id, derived, plan, search.points, summary["chosen"], verdicts, search.ran, summary)


def sweep_row(tuning: Tuning, budget: int, command: str) -> dict[str, Any]:
    """The sweep's row in the database."""
    spec = {
        "metric": tuning.metric,
        "selection_metric": tuning.selection_metric,
        "better": tuning.better,
        "pruner": tuning.pruner,
        "seeds": tuning.seeds,
        "fresh": tuning.fresh,
        "batch": tuning.batch,
        "command": command,
        "overrides": dict(tuning.overrides),
        "spaces": {n: {k: r.model_dump(exclude_none=True) for k, r in s.items()} for n, s in tuning.spaces.items()},
    }
    return {
        "sweep_id": tuning.sweep_id,
        "suite": tuning.suite.name,
        "benchmark": tuning.benchmark,
        "arms": list(tuning.arms),
        "sampler": tuning.sampler,
        "budget": budget,
        "scale": tuning.scale,
        "spec": spec,
    }


def write_study(suite: Suite, request: SweepRequest, result: SweepResult, path: Path) -> None:
    """Write a sweep as an Optuna storage, for optuna-dashboard and Optuna's own plots: one study an arm.

    The SQLite file is made anew: ``sweep_points`` stays the truth.
    """
    import optuna

    tuning = make_tuning(suite, request.tuning)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    tried = [trial for points in result.points.values() for point in points for trial in point.trial_ids]
    sql = """
        SELECT trial_id, started_at, started_at + to_seconds(wall_seconds) FROM trials
        WHERE list_contains(?, trial_id) AND started_at IS NOT NULL AND wall_seconds IS NOT NULL
    """
    with open_reader(request.database) as reader:
        times = {trial: (start, end) for trial, start, end in reader.query(sql, [tried]).rows}
    for arm, points in result.points.items():
        name, drawing = f"{suite.name}/{tuning.benchmark}/{arm}", Drawing.of(tuning, arm)
        study = optuna.create_study(storage=f"sqlite:///{path}", study_name=name, direction=drawing.direction)
        frozen = drawing.frozen(points)
        for point, trial in zip(points, frozen, strict=True):
            if span := _span(times, point):
                trial.datetime_start, trial.datetime_complete = span
        study.add_trials(frozen)


def _span(times: Mapping[str, tuple[datetime, datetime]], point: Point) -> tuple[datetime, datetime] | None:
    """When the first trial of a point began and the last one ended."""
    spans = [times[trial] for trial in point.trial_ids if trial in times]
    return (min(start for start, _ in spans), max(end for _, end in spans)) if spans else None
