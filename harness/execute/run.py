"""One execution of a suite: plan, dispatch what is not yet there, judge. A run owns no results, it asks for trials."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.data.folders import check_folders
from harness.data.locate import require_data, weights_file
from harness.errors import HarnessError, MissingDataError
from harness.execute.determinism import Aside, Finished, again, chosen, compared
from harness.execute.dispatch import Dispatcher, Policy, Silent, Watch
from harness.execute.environment import environment, environment_id, git_state
from harness.execute.executors import Executor, InlineExecutor
from harness.execute.worker import Job
from harness.judge import claim_rows, judge
from harness.judge.judging import record_judgement
from harness.judge.policy import next_seeds, pending_claims, with_bought
from harness.plan.planning import Plan, Selection, Trial, make_plan, sources_of
from harness.store import FINAL, Owner, open_reader
from harness.suite import Suite
from harness.trial.weights import has_product


@dataclass(frozen=True, slots=True)
class Request:
    """How a suite is to be run (the options of ``harness run``)."""

    database: Path
    selection: Selection = field(default_factory=Selection)
    executor: str = "ray"
    address: str | None = None
    gpus_per_trial: float | None = None
    policy: Policy = field(default_factory=Policy)
    time_budget: float | None = None
    command: str = ""
    own_methods: tuple[Mapping[str, Any], ...] = ()


@dataclass(slots=True)
class Result:
    """What a run did: counts of trials by status, and which were reused."""

    run_id: str
    plan: Plan
    reused: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)
    stopped: str | None = None
    verdicts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every trial of the plan has a result."""
        return not self.failures and self.stopped is None


def new_run_id() -> str:
    """A run's name: when it began, and four random bytes."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


def now() -> str:
    """This moment in UTC, as the store writes it."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat()


def check_data(plan: Plan) -> None:
    """Every data source of a plan is there.

    Raises:
        MissingDataError: one line for each missing source, with the path and the command that gets it.
    """
    missing = []
    for source, parameters in sources_of(plan.trials):
        try:
            require_data(source, parameters)
        except MissingDataError as error:
            missing.append(str(error))
    if missing:
        raise MissingDataError("\n".join(missing))


def run_suite(suite: Suite, request: Request, watch: Watch) -> Result:
    """Run a suite; what is already stored is reused.

    Raises:
        HarnessError: before anything runs, where the plan, the data or the executor cannot be had.
    """
    plan = make_plan(suite, request.selection)
    if not plan.trials:
        raise HarnessError(f"nothing to run: no benchmark of '{suite.name}' has the scale '{plan.scale}'")
    check_data(plan)
    result = Result(new_run_id(), plan)
    with Owner(request.database, result.run_id) as owner:
        stored = owner.finished([trial.trial_id for trial in plan.trials])
        check_folders(trial for trial in plan.trials if trial.trial_id not in stored)
        _announce(owner, suite, request, result)
        running = _Running(owner, suite, request, result, watch)
        try:
            running.run(plan)
            if request.selection.cap is not None:
                running.buy_seeds(request.selection.cap)
            running.repeat()
        except BaseException:
            owner.record({"kind": "run", "run": {"run_id": result.run_id, "status": "cancelled", "finished_at": now()}})
            raise
        finally:
            running.close()
        owner.flush()
        _judge(owner, suite, request, result)
        status = "done" if result.complete else "incomplete"
        owner.record({"kind": "run", "run": {"run_id": result.run_id, "status": status, "finished_at": now()}})
    return result


def _announce(owner: Owner, suite: Suite, request: Request, result: Result) -> None:
    """Journal the environment, the run and its claims."""
    plan = result.plan
    commit, dirty = git_state()
    owner.record({"kind": "environment", "environment_id": environment_id(), "info": environment()})
    run = {
        "run_id": result.run_id, "suite": suite.name, "scale": plan.scale, "started_at": now(), "status": "running",
        "git_commit": commit, "git_dirty": dirty, "command": request.command, "environment_id": environment_id(),
        "spec": suite_spec(suite, plan, {"seeds": request.selection.seeds, "cap": request.selection.cap}),
    }  # fmt: skip
    owner.record({"kind": "run", "run": run})
    owner.record({"kind": "claims", "suite": suite.name, "claims": claim_rows(suite)})


def trial_row(trial: Trial) -> dict[str, Any]:
    """A trial's row as the journal's ``planned`` event takes it."""
    return {
        "trial_id": trial.trial_id, "spec_id": trial.spec_id, "fingerprint": trial.fingerprint, "suite": trial.suite,
        "benchmark": trial.benchmark, "arm": trial.arm, "seed": trial.seed, "scale": trial.scale,
        "stand_in": list(trial.stand_in), "spec": trial.spec,
    }  # fmt: skip


def suite_spec(suite: Suite, plan: Plan, seeds_asked: Mapping[str, Any]) -> dict[str, Any]:
    """The whole resolved suite with descriptions and the licences of its data."""
    from harness import registry

    sources = {
        name: {key: registry.entry("data", name).card[key] for key in ("home", "licence", "origin", "version")}
        for name in sorted({name for name, _ in sources_of(plan.trials)})
    }
    benchmarks = {
        name: {"title": suite.benchmarks[name].model.title, "about": setting.about, "task": setting.task,
               "data": dict(setting.data), "model": dict(setting.model), "recipe": dict(setting.recipe),
               "stand_in": list(setting.stand_in)}
        for name, setting in plan.settings.items()
    }  # fmt: skip
    dumped = json.loads(suite.model.model_dump_json(exclude={"facts", "benchmarks"}))
    where = {"path": str(suite.path.resolve()), "absent": list(plan.absent), "seeds_asked": seeds_asked}
    return {**dumped, **where, "benchmarks": benchmarks, "sources": sources}


def make_executor(request: Request) -> Executor:
    """The executor that a request names."""
    if request.executor == "inline":
        return InlineExecutor()
    from harness.execute.executors.cluster import RayExecutor

    state = request.database.with_name(request.database.name + ".sessions")
    return RayExecutor(state, request.address, request.gpus_per_trial)


def jobs_of(plan: Plan, finished: Mapping[str, str], request: Request) -> list[Job]:
    """The trials that must run, as they travel to workers: those without a result, and those whose product is lost
    while another trial still needs it.
    """
    artifacts = (request.database.parent / "artifacts").resolve()
    by_id = {trial.trial_id: trial for trial in plan.trials}
    wanted = [trial for trial in plan.trials if trial.trial_id not in finished]
    products = {before for trial in wanted for before in trial.needs.values()}
    lost = [by_id[one] for one in products if one in finished and not has_product(artifacts / one)]
    made = {before for trial in plan.trials for before in trial.needs.values()}
    running = {trial.trial_id for trial in (*lost, *wanted)}
    return [_job(trial, artifacts, running, made, request) for trial in plan.trials if trial.trial_id in running]


def _job(trial: Trial, artifacts: Path, running: set[str], made: set[str], request: Request) -> Job:
    products = {name: artifacts / before for name, before in trial.needs.items()}
    for name, one in trial.spec["prerequisites"].items():
        if "weights" in one:
            products[name] = weights_file(one["weights"])
    return Job(
        trial.trial_id,
        trial.label,
        trial.spec,
        artifacts / trial.trial_id,
        timeout_seconds=float(trial.spec["recipe"]["timeout_seconds"]),
        prerequisites=products,
        needs=tuple(before for before in trial.needs.values() if before in running),
        keep_product=trial.trial_id in made,
        own_methods=request.own_methods,
    )


class _Running:
    """The trials of one run: those of its plan, then those that are bought one by one."""

    def __init__(self, owner: Owner, suite: Suite, request: Request, result: Result, watch: Watch) -> None:
        self.owner, self.suite, self.request, self.result, self.watch = owner, suite, request, result, watch
        stop_at = None if request.time_budget is None else time.monotonic() + request.time_budget
        self.policy = replace(request.policy, stop_at=stop_at)
        self.executor: Executor | None = None
        self.seen: set[str] = set()
        self.ran: set[str] = set()  # by this run; a later plan of it finds them stored, which is not reuse
        self.finished: list[Finished] = []

    def run(self, plan: Plan) -> None:
        """Run what is missing of a plan; what is stored counts as reused."""
        self.result.plan = plan
        finished = self.owner.finished([trial.trial_id for trial in plan.trials])
        new = [trial for trial in plan.trials if trial.trial_id not in self.seen]
        self.seen.update(trial.trial_id for trial in new)
        for trial in new:
            if trial.trial_id in finished:
                self.result.reused += 1
                self._count(finished[trial.trial_id])
        stored = {one: status for one, status in finished.items() if one not in self.ran}
        record_plan(self.owner, self.result.run_id, plan, stored)
        jobs = jobs_of(plan, finished, self.request)
        if not jobs:
            return
        if self.executor is None:
            self.executor = make_executor(self.request)
        dispatcher = Dispatcher(self.owner, self.result.run_id, self.executor, self.policy, self.watch)
        try:
            dispatcher.submit(jobs)
            for job, outcome in dispatcher.outcomes():
                self.ran.add(job.trial_id)
                self._count(outcome["status"])
                if outcome["status"] == "done":
                    self.finished.append(Finished.of(job, outcome))
                if outcome["status"] not in FINAL:
                    self.result.failures.append((job.label, str(outcome.get("error"))))
            self.result.stopped = dispatcher.stopped
        except KeyboardInterrupt:
            dispatcher.abandon()
            raise

    def buy_seeds(self, cap: int) -> None:
        """Give the next seed to the claim most likely to be resolved by it, until all are or the cap is reached."""
        chosen = self.request.selection
        while self.result.stopped is None:
            self.owner.flush()
            with open_reader(self.request.database) as reader:
                purchases = next_seeds(pending_claims(self.suite, self.result.plan, reader, cap=cap))
            if not purchases:
                return
            for purchase in purchases:
                self.owner.record({**purchase.as_event(), "run_id": self.result.run_id})
            chosen = with_bought(chosen, purchases)
            self.run(make_plan(self.suite, chosen))

    def repeat(self) -> None:
        """Run a few quick trials of this run once more; whether their numbers come out the same is journalled."""
        wanted = {one.job.trial_id: one for one in chosen(self.finished)} if self.result.stopped is None else {}
        if not wanted or self.executor is None:
            return
        jobs = [again(one) for one in wanted.values()]
        dispatcher = Dispatcher(Aside(), self.result.run_id, self.executor, self.policy, Silent())
        dispatcher.submit(jobs)
        for job, outcome in dispatcher.outcomes():
            detail = compared(wanted[job.trial_id], outcome)
            self.owner.record({"kind": "event", "run_id": self.result.run_id, "event_kind": "determinism",
                               "detail": detail})  # fmt: skip
            shutil.rmtree(job.folder, ignore_errors=True)

    def _count(self, status: str) -> None:
        self.result.counts[status] = self.result.counts.get(status, 0) + 1

    def close(self) -> None:
        """Give the executor back."""
        if self.executor is not None:
            self.executor.close()


def record_plan(owner: Owner, run_id: str, plan: Plan, finished: Mapping[str, str]) -> None:
    """Journal the trials that a run asks for, and under which names."""
    links = [
        {"trial_id": link.trial_id, "benchmark": link.benchmark, "arm": link.arm, "reused": link.trial_id in finished}
        for link in plan.links
    ]
    trials = [trial_row(trial) for trial in plan.trials]
    owner.record({"kind": "planned", "run_id": run_id, "trials": trials, "links": links})


def _judge(owner: Owner, suite: Suite, request: Request, result: Result) -> None:
    with open_reader(request.database) as reader:
        at = datetime.now(UTC).replace(tzinfo=None)
        sequential = request.selection.cap is not None
        judgement = judge(suite, result.plan, reader, judged_at=at, sequential=sequential)
    record_judgement(owner.record, suite.name, result.plan.scale, judgement)
    result.verdicts = judgement.verdicts
