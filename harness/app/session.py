"""What a run and a sweep have in common: the trials of one plan after another, over one executor."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from harness import registry
from harness.app.recording import StoreRecorder
from harness.app.shared_trials import SharedTrials
from harness.data.checksums import sha256_of
from harness.data.folders import check_folders
from harness.data.locate import require_data, require_model_files, weights_file
from harness.data.roots import data_root
from harness.errors import HarnessError, MissingDataError
from harness.execute.dispatch import Dispatcher, Policy, Recorder, Watch
from harness.execute.executors import EXECUTORS, Executor, ExecutorOptions
from harness.execute.sharing import Sharing
from harness.execute.worker import CHECKPOINT_SECONDS, Job
from harness.plan.order import Waiting, in_order
from harness.plan.planning import Plan, Trial, sources_of
from harness.plan.remaining import Durations
from harness.registry.user_methods import UserMethod
from harness.store import Outcome, Owner, StorePaths
from harness.store.events import PlannedEvent
from harness.trial.pruning import Pruning
from harness.trial.saved import has_product


@dataclass(slots=True)
class KeptExecutor:
    """The executor of a command that runs several suites: made for the first trial, ended with the command.

    Use as a context manager.
    """

    executor: Executor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.executor is not None:
            self.executor.shutdown()


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """Where and how trials run: the options that ``harness run`` and ``harness sweep`` share.

    Attributes:
        database: the store; artifacts of trials lie in the folder ``artifacts`` beside it.
        executor: a name in ``EXECUTORS``.
        own_methods: from a user's file, which workers register again.
        memory_per_trial: MiB above which a trial is ended; None: the machine's memory decides.
        command: the command line, for the record.
        kept: outlives the session, for the next one; None: the session ends its own executor.
    """

    database: Path
    executor: str = field(default="ray", kw_only=True)
    address: str | None = field(default=None, kw_only=True)
    gpus_per_trial: float | None = field(default=None, kw_only=True)
    memory_per_trial: float | None = field(default=None, kw_only=True)
    policy: Policy = field(default_factory=Policy, kw_only=True)
    own_methods: tuple[UserMethod, ...] = field(default=(), kw_only=True)
    command: str = field(default="", kw_only=True)
    kept: KeptExecutor | None = field(default=None, kw_only=True)

    @property
    def artifacts(self) -> Path:
        """The folder of the trials' folders."""
        return StorePaths.of(self.database).artifacts


def now() -> str:
    """This moment in UTC, as the store writes it."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat()


def check_data(plan: Plan) -> None:
    """Every data source of a plan is there, and every file that a model starts from.

    Raises:
        MissingDataError: one line for each that is missing, with its path and, of a source, the command that gets it.
    """
    if missing := missing_data(plan):
        raise MissingDataError("\n".join(missing))


def missing_data(plan: Plan) -> list[str]:
    """What :func:`check_data` would say, one line for each that is missing."""
    missing = []
    for source, parameters in sources_of(plan.trials):
        try:
            require_data(source, parameters)
        except MissingDataError as error:
            missing.append(str(error))
    models = {id(trial.spec.model): trial.spec.model for trial in plan.trials}.values()  # the seeds of a cell share one
    for model in {sha256_of(model.to_json()): model for model in models}.values():
        try:
            require_model_files(model.name, model.values)
        except MissingDataError as error:
            missing.append(str(error))
    return list(dict.fromkeys(missing))


class Session:
    """Runs plans for one owner; use as a context manager, which ends the executor.

    The executor is made with the first trial that must run, and kept.
    """

    def __init__(self, owner: Owner, request: SessionRequest, policy: Policy, watch: Watch) -> None:
        self.owner, self.request, self.policy, self.watch = owner, request, policy, watch
        self.run_id = str(owner.run_id)
        self.durations = Durations()  # of this session's trials; who knows more tells it
        self._kept = request.kept or KeptExecutor()
        self._dispatcher: Dispatcher | None = None
        self._shared: SharedTrials | None = None
        self._ran: set[str] = set()  # by this session; a later plan finds them stored, which is not reuse

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if self._dispatcher is not None and isinstance(error, KeyboardInterrupt):
                self._dispatcher.abandon()
        finally:
            if self._shared is not None:
                self._shared.forget_waiting()
            if self.request.kept is None:
                self._kept.__exit__(kind, error, trace)

    @property
    def stopped(self) -> str | None:
        """Why no further trial was begun, or None."""
        return None if self._dispatcher is None else self._dispatcher.stopped

    @property
    def taken(self) -> AbstractSet[str]:
        """Trials whose outcome another command measured while this one wanted it."""
        return frozenset() if self._shared is None else self._shared.taken

    def stored(self, plan: Plan) -> dict[str, str]:
        """The trials of a plan that have a result, with their status, once its data are seen to be there.

        Raises:
            HarnessError: a data source is missing, or a folder of the user cannot be read.
        """
        check_data(plan)
        if self._shared is None:  # first: what others finish from here on is in neither answer otherwise
            self._shared = SharedTrials(self.owner.paths, self.owner.journal.segment)
        stored = self.owner.finished([trial.trial_id for trial in plan.trials])
        check_folders(trial for trial in plan.trials if trial.trial_id not in stored)
        return stored

    def discard(self, trial_ids: Collection[str]) -> None:
        """Ignore results of trials that other commands measured until now; call after :meth:`stored`."""
        if self._shared is not None:
            self._shared.discard(trial_ids)

    def run(
        self, plan: Plan, stored: Mapping[str, str], pruning: Mapping[str, Pruning] | None = None
    ) -> Iterator[tuple[Job, Outcome]]:
        """Journal a plan and run what is not ``stored``; yields each trial's last outcome as it comes in.

        ``pruning``: trials that may be ended within their training.

        Raises:
            HarnessError: the executor cannot be had.
        """
        known = stored.keys() - self.owner.nameless(stored)
        self.owner.record(planned(self.run_id, plan, stored.keys() - self._ran, known))
        if jobs := jobs_of(plan, stored, self.request):
            recorder = StoreRecorder(self.owner.record, self.run_id)
            if pruning:
                jobs = [replace(job, pruning=pruning.get(job.trial_id)) for job in jobs]
            shared = self._shared
            if shared is None:
                raise RuntimeError("what is stored has to be asked for before anything runs")
            shared.begin()
            self._dispatcher = self._dispatching(arranged(jobs, self.durations), recorder, self.watch, shared)
            self.owner.release()  # a command that is stopped while a trial runs must not hold the file
            for job, outcome in self._dispatcher.outcomes():
                if job.trial_id not in shared.taken:
                    self._ran.add(job.trial_id)
                if outcome.wall_seconds is not None:
                    self.durations.ended(*job.cell, outcome.wall_seconds)
                yield job, outcome
            shared.forget_waiting()

    def repeat(self, jobs: Iterable[Job], watch: Watch | None = None) -> Iterator[tuple[Job, Outcome]]:
        """Run jobs whose trials have their outcome already: nothing is journalled, and shown only to ``watch``."""
        if waiting := list(jobs):
            yield from self._dispatching(waiting, Recorder(), watch or Watch()).outcomes()

    def _dispatching(
        self, jobs: Sequence[Job], recorder: Recorder, watch: Watch, sharing: Sharing | None = None
    ) -> Dispatcher:
        """A dispatcher of jobs; the executor is made when it is first needed."""
        if self._kept.executor is None:
            asked = self.request
            options = ExecutorOptions(
                self.owner.paths.sessions, asked.address, asked.gpus_per_trial, asked.memory_per_trial
            )
            self._kept.executor = EXECUTORS[self.request.executor](options)
        dispatcher = Dispatcher(recorder, self._kept.executor, self.policy, watch, sharing)
        dispatcher.submit(jobs)
        watch.asked(jobs)
        return dispatcher


def arranged(jobs: Sequence[Job], durations: Durations) -> list[Job]:
    """Jobs in the order in which they should begin."""
    by_id = {job.trial_id: job for job in jobs}
    asked = [Waiting(job.trial_id, *job.cell, job.spec.seed, job.needs) for job in jobs]
    return [by_id[one.trial_id] for one in in_order(asked, durations)]


def planned(run_id: str, plan: Plan, reused: Iterable[str], known: Collection[str] = ()) -> PlannedEvent:
    """The trials that a run asks for, and under which names; those that are ``known`` have their whole row already."""
    reused = set(reused)
    links = [
        {"trial_id": link.trial_id, "benchmark": link.benchmark, "arm": link.arm, "reused": link.trial_id in reused}
        for link in plan.links
    ]
    return PlannedEvent(run_id, [trial_row(trial) for trial in plan.trials if trial.trial_id not in known], links)


def trial_row(trial: Trial) -> dict[str, Any]:
    """A trial's row of ``trials``, before it runs."""
    return {
        "trial_id": trial.trial_id,
        "spec_id": trial.spec_id,
        "fingerprint": trial.fingerprint,
        "suite": trial.suite,
        "benchmark": trial.benchmark,
        "arm": trial.arm,
        "seed": trial.seed,
        "scale": trial.scale,
        "stand_in": list(trial.stand_in),
        "spec": trial.spec.to_json(),
    }


def jobs_of(plan: Plan, stored: Mapping[str, str], request: SessionRequest) -> list[Job]:
    """The trials that must run, as they travel to workers: those without a result, and those whose product is lost
    while another trial still needs it.
    """
    artifacts = request.artifacts
    by_id = {trial.trial_id: trial for trial in plan.trials}
    wanted = [trial for trial in plan.trials if trial.trial_id not in stored]
    products = {before for trial in wanted for before in trial.needs.values()}
    lost = [by_id[one] for one in products if one in stored and not has_product(artifacts / one)]
    made = {before for trial in plan.trials for before in trial.needs.values()}
    running = {trial.trial_id for trial in (*lost, *wanted)}
    return [
        replace(
            job_of(trial, request, artifacts / trial.trial_id),
            needs=tuple(before for before in trial.needs.values() if before in running),
            keep_product=trial.trial_id in made,
        )
        for trial in plan.trials
        if trial.trial_id in running
    ]


def job_of(trial: Trial, request: SessionRequest, folder: Path, stored: Mapping[str, str] | None = None) -> Job:
    """A trial as it travels to a worker that may start it at once; ``stored`` as of :func:`products_of`."""
    timeout = float(trial.spec.recipe["timeout_seconds"])
    products = products_of(trial, request.artifacts, stored)
    job = Job(trial.trial_id, trial.label, trial.spec, folder, timeout_seconds=timeout, prerequisites=products)
    code = "" if registry.entry("task", trial.spec.task).card.program else trial.fingerprint
    return replace(
        job,
        own_methods=request.own_methods,
        code=code,
        data=data_root().absolute(),
        checkpoint_seconds=checkpoint_seconds(),
    )


def checkpoint_seconds() -> float:
    """``HARNESS_CHECKPOINT_SECONDS``, else a minute: what a trial that is cut off may have to compute again.

    Raises:
        HarnessError: it is no number of seconds.
    """
    given = os.environ.get("HARNESS_CHECKPOINT_SECONDS") or str(CHECKPOINT_SECONDS)
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise HarnessError(f"HARNESS_CHECKPOINT_SECONDS={given}: a number of seconds, 0 or more, is expected")
    return seconds


def products_of(trial: Trial, artifacts: Path, stored: Mapping[str, str] | None = None) -> dict[str, Path]:
    """Where what a trial starts from lies, by name: products of other trials, or published weights.

    ``stored``: the identities under which trials are stored that have others now.
    """
    products = {name: artifacts / (stored or {}).get(before, before) for name, before in trial.needs.items()}
    for name, start in trial.spec.prerequisites.items():
        if start.weights is not None:
            products[name] = weights_file(start.weights)
    return products
