"""Runs a sweep: draws rounds, runs their trials through the dispatcher, tells, and ends with a judged comparison."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import registry
from harness.dispatch import Dispatcher, Policy, Watch
from harness.environment import environment, environment_id
from harness.errors import HarnessError
from harness.executors import Executor
from harness.identity import sha256_of
from harness.plan import Plan, Selection, make_plan
from harness.run import Request, check_data, jobs_of, make_executor, now, record_plan
from harness.store import Owner, open_reader
from harness.suite import Suite
from harness.suite.models import Arm, Metric, Sweep
from harness.suite.resolve import setting
from harness.sweep.space import Space, spaces_of, with_point
from harness.sweep.study import PRUNERS, SAMPLERS, Drawing, Point, should_prune

TUNING_SEED = 10_000  # tuning seeds begin here, so that the seeds of the comparison are fresh
SHARES = (1 / 9, 1 / 3, 1.0)  # of the training, for hyperband's rungs


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """The options of ``harness sweep``; None takes the suite's own."""

    database: Path
    benchmark: str
    budget: int
    arms: tuple[str, ...] = ()
    scale: str = "mini"
    sampler: str | None = None
    pruner: str | None = None
    seeds: int | None = None
    fresh: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    executor: str = "ray"
    address: str | None = None
    gpus_per_trial: float | None = None
    command: str = ""


@dataclass(slots=True)
class SweepResult:
    """What a sweep found."""

    sweep_id: str
    suite: Suite
    plan: Plan | None
    points: dict[str, list[Point]]
    chosen: dict[str, dict[str, Any]]
    verdicts: list[dict[str, Any]]
    ran: int
    summary: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tuning:
    """Everything that decides which configurations a sweep tries, whatever its budget."""

    suite: Suite
    benchmark: str
    scale: str
    arms: Mapping[str, Arm]
    spaces: Mapping[str, Space]
    fill: Mapping[str, Any]
    sampler: str
    pruner: str
    seeds: int
    batch: int
    metric: str
    better: str
    overrides: Mapping[str, Any]

    @property
    def sweep_id(self) -> str:
        """The sweep's identity; the budget is not in it: a larger one goes on from a smaller."""
        content = {
            "suite": self.suite.name, "benchmark": self.benchmark, "scale": self.scale, "sampler": self.sampler,
            "pruner": self.pruner, "seeds": self.seeds, "batch": self.batch, "metric": self.metric,
            "overrides": dict(self.overrides), "arms": {n: a.model_dump() for n, a in self.arms.items()},
            "spaces": {n: {k: r.model_dump() for k, r in s.items()} for n, s in self.spaces.items()},
            "setting": _content_of(self),
        }  # fmt: skip
        return sha256_of(content)[:16]

    def drawing(self, arm: str) -> Drawing:
        """How an arm's points are drawn."""
        return Drawing(self.sweep_id, arm, self.spaces[arm], self.sampler, self.batch, self.better == "higher")

    def rungs(self) -> list[tuple[int, float]]:
        """(seed, share of the training) of each trial of a point, in the order in which they run."""
        if self.pruner == "hyperband":
            return [(TUNING_SEED, share) for share in SHARES]
        return [(TUNING_SEED + k, 1.0) for k in range(self.seeds)]


def _content_of(tuning: Tuning) -> dict[str, Any]:
    base = setting(tuning.suite, tuning.benchmark, tuning.scale)
    assert base is not None
    return {"task": base.task, "data": dict(base.data), "model": dict(base.model), "recipe": dict(base.recipe)}


def make_tuning(suite: Suite, request: SweepRequest) -> Tuning:
    """What is to be tuned, checked before anything runs.

    Raises:
        HarnessError: an unknown benchmark, arm, sampler or pruner, a scale that the benchmark lacks, no space.
    """
    own = suite.model.sweep or Sweep()
    probe = Selection(scale=request.scale, benchmarks=(request.benchmark,), arms=request.arms or None)
    plan = make_plan(suite, probe)  # raises for unknown names
    if request.benchmark not in plan.settings:
        raise HarnessError(f"benchmark '{request.benchmark}' has no scale '{request.scale}'")
    base = plan.settings[request.benchmark]
    names = request.arms or tuple(own.arms) or _compared(suite, request.benchmark)
    names = tuple(name for name in names if name in suite.model.arms)
    if len(names) < 2:
        raise HarnessError("a sweep compares at least two arms; name them with --arm, or under 'sweep: arms:'")
    sampler, pruner = request.sampler or own.sampler, request.pruner or own.pruner
    if sampler not in SAMPLERS or pruner not in PRUNERS:
        raise HarnessError(f"valid samplers: {', '.join(SAMPLERS)}; valid pruners: {', '.join(PRUNERS)}")
    if sampler in ("random", "grid") and pruner != "none":
        raise HarnessError(f"--pruner {pruner}: budget curves need independent draws that all end; use --sampler tpe")
    if request.budget < 1:
        raise HarnessError(f"--budget {request.budget}: at least 1 configuration is expected")
    arms = {name: suite.model.arms[name] for name in names}
    fill = base.recipe.get("slots") or {}
    metrics = suite.benchmarks[request.benchmark].model.metrics
    metric = own.metric if own.metric in metrics else next(iter(metrics))
    return Tuning(
        suite, request.benchmark, request.scale, arms, spaces_of(arms, fill, own.spaces), fill, sampler, pruner,
        request.seeds or own.seeds, own.batch, metric, metrics[metric].better, dict(request.overrides),
    )  # fmt: skip


def _compared(suite: Suite, benchmark: str) -> tuple[str, ...]:
    """Without a list: the arms of the first claim that is bound to the benchmark."""
    for binding in suite.model.claims:
        if benchmark in binding.benchmarks and binding.arm is not None and binding.against:
            return (binding.against[0], binding.arm)
    return ()


class _Sweep:
    """One execution of a sweep."""

    def __init__(self, tuning: Tuning, request: SweepRequest, owner: Owner, watch: Watch) -> None:
        self.tuning, self.request, self.owner, self.watch = tuning, request, owner, watch
        self.sweep_id = tuning.sweep_id
        self.request_of_run = Request(
            database=request.database, executor=request.executor, address=request.address,
            gpus_per_trial=request.gpus_per_trial,
        )  # fmt: skip
        self.executor: Executor | None = None
        self.points = self._stored()
        self.ran = 0

    def _stored(self) -> dict[str, list[Point]]:
        """The points that are told already, by arm, in order."""
        self.owner.flush()
        with open_reader(self.request.database) as reader:
            rows = reader.sweep_points(self.sweep_id)
        found: dict[str, list[Point]] = {arm: [] for arm in self.tuning.arms}
        for row in sorted(rows, key=lambda row: row["number"]):
            if row["arm"] in found and row["status"] != "failed":
                ids = list(row["trial_ids"] or [])
                found[row["arm"]].append(Point(row["number"], dict(row["params"]), row["value"], row["status"], ids))
        return found

    def tune(self) -> None:
        """Every round of every arm: arms side by side, so that a drift of the machine touches them alike."""
        batch = self.request.budget if self.tuning.sampler in ("random", "grid") else self.tuning.batch
        for start in range(0, self.request.budget, batch):
            numbers = range(start, min(start + batch, self.request.budget))
            rounds: dict[str, list[Point]] = {}
            for arm in self.tuning.arms:
                told = {point.number: point for point in self.points[arm]}
                before = [told[number] for number in sorted(told) if number < start]
                drawn = self.tuning.drawing(arm).draw(list(numbers), before)
                rounds[arm] = [told.get(point.number, point) for point in drawn]
            self._round(rounds)

    def _round(self, rounds: Mapping[str, list[Point]]) -> None:
        rungs = self.tuning.rungs()
        for number, rung in enumerate(rungs):
            waiting = [(arm, point) for arm, points in rounds.items() for point in points if not point.finished]
            if not waiting:
                break
            self._run_rung(waiting, rung, number)
            for arm, point in waiting:
                if not point.finished and number + 1 < len(rungs):
                    before = [p for p in self.points[arm] if p.number < self.tuning.drawing(arm).round_of(point.number)]
                    if should_prune(self.tuning.pruner, self.tuning.drawing(arm), before, point):
                        point.status, point.value = "pruned", point.rungs[max(point.rungs)]
        for arm, points in rounds.items():
            for point in points:
                if not point.finished:
                    point.status, point.value = "told", _value(self.tuning, point)
                if point not in self.points[arm]:
                    self.points[arm].append(point)
                    self._tell(arm, point)
            self.points[arm].sort(key=lambda point: point.number)

    def _run_rung(self, waiting: list[tuple[str, Point]], rung: tuple[int, float], number: int) -> None:
        seed, share = rung
        arms = {
            f"{arm}#{point.number}": with_point(self.tuning.arms[arm], self.tuning.fill, point.params)
            for arm, point in waiting
        }
        plan = self._plan(arms, (seed,), share)
        self.run(plan)
        metric, split = self.tuning.metric, "validation"
        with open_reader(self.request.database) as reader:
            ids = [trial.trial_id for trial in plan.trials]
            scores = {t: v for t, s, m, v in reader.results(ids).rows if s == split and m == metric}
            states = reader.statuses(ids)
        for arm, point in waiting:
            trial_id = plan.trial_ids(self.tuning.benchmark, f"{arm}#{point.number}")[seed]
            point.trial_ids.append(trial_id)
            status = states.get(trial_id)
            if status == "diverged":
                point.status, point.value = "diverged", math.nan
            elif trial_id not in scores:
                point.status, point.value = "failed", math.nan
            else:
                point.rungs[number + 1] = scores[trial_id]

    def _plan(self, arms: Mapping[str, Arm], seeds: Sequence[int], share: float = 1.0) -> Plan:
        overrides = dict(self.tuning.overrides)
        if share < 1.0:
            overrides["max_steps"] = max(1, round(share * self._steps()))
        chosen = Selection(
            scale=self.tuning.scale, benchmarks=(self.tuning.benchmark,), arms=(), seeds=tuple(seeds),
            overrides=overrides, added_arms=arms,
        )  # fmt: skip
        return make_plan(self.tuning.suite, chosen)

    def _steps(self) -> int:
        base = setting(self.tuning.suite, self.tuning.benchmark, self.tuning.scale)
        steps = base.recipe.get("steps") if base is not None else None
        if not isinstance(steps, int):
            raise HarnessError("--pruner hyperband needs a recipe whose length is given in steps")
        return steps

    def run(self, plan: Plan) -> None:
        """Run what is missing of a plan; trials stand in the store as those of any run."""
        check_data(plan)
        finished = self.owner.finished([trial.trial_id for trial in plan.trials])
        record_plan(self.owner, str(self.owner.run_id), plan, finished)
        jobs = jobs_of(plan, finished, self.request_of_run)
        if jobs:
            if self.executor is None:
                self.executor = make_executor(self.request_of_run)
            dispatcher = Dispatcher(self.owner, str(self.owner.run_id), self.executor, Policy(), self.watch)
            dispatcher.submit(jobs)
            try:
                self.ran += sum(1 for _ in dispatcher.outcomes())
            except KeyboardInterrupt:
                dispatcher.abandon()
                raise
        self.owner.flush()

    def _tell(self, arm: str, point: Point) -> None:
        row = {
            "sweep_id": self.sweep_id, "arm": arm, "number": point.number, "params": point.params,
            "value": point.value, "status": point.status, "trial_ids": point.trial_ids, "told_at": now(),
        }  # fmt: skip
        self.owner.record({"kind": "sweep_point", "row": row})

    def close(self) -> None:
        """Give the executor back."""
        if self.executor is not None:
            self.executor.close()


def _value(tuning: Tuning, point: Point) -> float:
    """What a finished point is worth: the mean over its seeds, or the full training's score under hyperband."""
    if tuning.pruner == "hyperband":
        return point.rungs[max(point.rungs)]
    return statistics.fmean(point.rungs.values())


def run_sweep(suite: Suite, request: SweepRequest, watch: Watch, tell: Callable[[str], None] = print) -> SweepResult:
    """Tune every arm at one budget, then compare the chosen configurations on fresh seeds through the judge.

    Raises:
        HarnessError: before anything runs, where the sweep cannot be made.
    """
    from harness.sweep.compare import compare, summarise

    tuning = make_tuning(suite, request)
    with Owner(request.database, f"sweep-{tuning.sweep_id}-{now().replace(':', '')}") as owner:
        owner.record({"kind": "environment", "environment_id": environment_id(), "info": environment()})
        sweep = _Sweep(tuning, request, owner, watch)
        row = sweep_row(tuning, request)
        owner.record({"kind": "sweep", "row": {**row, "status": "running", "started_at": now()}})
        try:
            sweep.tune()
            summary = summarise(tuning, sweep.points, request.budget)
            plan, derived, verdicts = compare(tuning, request, sweep.run, owner, sweep.points, summary)
        finally:
            sweep.close()
        spec = {**row["spec"], **summary}
        owner.record({"kind": "sweep", "row": {**row, "status": "done", "spec": spec}})
    return SweepResult(tuning.sweep_id, derived, plan, sweep.points, summary["chosen"], verdicts, sweep.ran, summary)


def sweep_row(tuning: Tuning, request: SweepRequest) -> dict[str, Any]:
    """The sweep's row in the database."""
    spec = {
        "metric": tuning.metric, "better": tuning.better, "pruner": tuning.pruner, "seeds": tuning.seeds,
        "batch": tuning.batch, "command": request.command, "overrides": dict(tuning.overrides),
        "spaces": {n: {k: r.model_dump(exclude_none=True) for k, r in s.items()} for n, s in tuning.spaces.items()},
    }  # fmt: skip
    return {
        "sweep_id": tuning.sweep_id, "suite": tuning.suite.name, "benchmark": tuning.benchmark,
        "arms": list(tuning.arms), "sampler": tuning.sampler, "budget": request.budget, "scale": tuning.scale,
        "spec": spec,
    }  # fmt: skip


def metric_of(tuning: Tuning) -> Metric:
    """The metric that is tuned."""
    return tuning.suite.benchmarks[tuning.benchmark].model.metrics[tuning.metric]


def titles(tuning: Tuning) -> dict[str, str]:
    """How people read the arms: their methods' titles where they have one."""
    found = {}
    for name, arm in tuning.arms.items():
        method = arm.optimizer if isinstance(arm.optimizer, str) else None
        found[name] = str(registry.entry("method", method).info["title"]) if method else name
    return found
