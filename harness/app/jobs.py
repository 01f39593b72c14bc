"""Jobs of a plan's trials and the files that they need."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness import registry
from harness.app.request import SessionRequest
from harness.data.checksums import sha256_of
from harness.data.locate import require_data, require_model_files, weights_file
from harness.data.roots import data_root
from harness.errors import HarnessError, MissingDataError
from harness.execute.worker import CHECKPOINT_SECONDS, Job
from harness.plan.planning import Plan, Trial, sources_of
from harness.plan.remaining import Durations, Waiting, in_order
from harness.trial.saved import has_trained_weights


def check_data(plan: Plan) -> None:
    """Check that all data sources and model files of a plan exist.

    Raises:
        MissingDataError: one line for each that is missing, with its path and, of a source, the command that gets it.
    """
    if missing := missing_data(plan):
        raise MissingDataError("\n".join(missing))


def missing_data(plan: Plan) -> list[str]:
    """Describe each missing data source or model file of a plan."""
    missing = []
    for source in sources_of(plan.trials):
        try:
            require_data(source)
        except MissingDataError as error:
            missing.append(str(error))
    models = {id(trial.spec.model): trial.spec.model for trial in plan.trials}.values()  # seeds share theirs
    for model in {sha256_of(model.to_json()): model for model in models}.values():
        try:
            require_model_files(model)
        except MissingDataError as error:
            missing.append(str(error))
    return list(dict.fromkeys(missing))


def arranged(jobs: Sequence[Job], durations: Durations) -> list[Job]:
    """Jobs in the order in which they should begin."""
    by_id = {job.trial_id: job for job in jobs}
    seconds = durations.medians({(job.benchmark, job.arm) for job in jobs})
    waiting = [Waiting(job.trial_id, job.benchmark, job.arm, job.spec.seed, job.needs) for job in jobs]
    return [by_id[trial.trial_id] for trial in in_order(waiting, seconds)]


def jobs_of(plan: Plan, stored: Mapping[str, str], request: SessionRequest) -> list[Job]:
    """Jobs of the trials that must run.

    These are the trials without a result, and those whose trained weights are lost while another trial needs them.
    """
    artifacts = request.artifacts
    by_id = {trial.trial_id: trial for trial in plan.trials}
    wanted = [trial for trial in plan.trials if trial.trial_id not in stored]
    needed = {before for trial in wanted for before in trial.needs.values()}
    lost = [by_id[name] for name in needed if name in stored and not has_trained_weights(artifacts / name)]
    kept = {before for trial in plan.trials for before in trial.needs.values()}
    running = {trial.trial_id for trial in (*lost, *wanted)}
    return [
        replace(
            job_of(trial, request, artifacts / trial.trial_id),
            needs=tuple(before for before in trial.needs.values() if before in running),
            keep_product=trial.trial_id in kept,
        )
        for trial in plan.trials
        if trial.trial_id in running
    ]


def job_of(trial: Trial, request: SessionRequest, folder: Path, stored: Mapping[str, str] | None = None) -> Job:
    """The job of a trial that may start at once; ``stored`` as in :func:`trained_weights_of`."""
    return Job(
        trial.trial_id,
        trial.benchmark,
        trial.arm,
        trial.spec,
        folder,
        timeout_seconds=float(trial.spec.recipe["timeout_seconds"]),
        prerequisites=trained_weights_of(trial, request.artifacts, stored),
        own_methods=request.own_methods,
        code="" if registry.entry("task", trial.spec.task).metadata.program else trial.fingerprint,
        data=data_root().absolute(),
        checkpoint_seconds=checkpoint_seconds(),
        memory_mib=request.memory_per_trial,
    )


def checkpoint_seconds() -> float:
    """Seconds between checkpoints: ``HARNESS_CHECKPOINT_SECONDS``, else a minute.

    Raises:
        HarnessError: the variable is not a number of seconds.
    """
    text = os.environ.get("HARNESS_CHECKPOINT_SECONDS") or str(CHECKPOINT_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise HarnessError(f"HARNESS_CHECKPOINT_SECONDS={text}: a number of seconds, 0 or more, is expected")
    return seconds


def trained_weights_of(trial: Trial, artifacts: Path, stored: Mapping[str, str] | None = None) -> dict[str, Path]:
    """Paths of what a trial starts from, by name: trained weights of other trials, or published weights.

    ``stored``: the identities under which trials are stored whose identities have changed.
    """
    products = {name: artifacts / (stored or {}).get(before, before) for name, before in trial.needs.items()}
    for name, start in trial.spec.prerequisites.items():
        if start.weights is not None:
            products[name] = weights_file(start.weights)
    return products
