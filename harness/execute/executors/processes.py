"""Data-parallel trials through Ray Train: a process a device, gradients averaged, one outcome."""

import os
import platform
import shutil
from typing import Any, TypedDict

from harness.errors import first_line
from harness.execute.outcome import Outcome
from harness.execute.worker import Job, run_job, sealed
from harness.vocabulary import Status

# A collective waits for the first process while it scores a split.
PATIENCE_SECONDS = 24 * 3600


def devices_of(job: Job) -> int:
    """Number of devices of a trial."""
    return int(job.spec.recipe.get("devices", 1))


class _Config(TypedDict):
    job: Job
    heartbeats: Any


def _each(config: _Config) -> None:
    """Run a trial in each of its processes; the first one reports."""
    import ray
    import torch
    from ray import train
    from ray.train.torch import get_device

    job = config["job"]
    rank = train.get_context().get_world_rank()
    if torch.cuda.is_available():
        torch.cuda.set_device(get_device())

    def beat(step: int, steps: int, loss: float) -> None:
        if rank == 0:
            config["heartbeats"].beat.remote(job.trial_id, step, steps, loss, os.getpid(), platform.node())

    outcome = run_job(job, beat, stop_at_deadline=False)
    if rank == 0:
        ray.get(config["heartbeats"].keep.remote(outcome))
    elif outcome.status in (Status.FAILED, Status.TIMEOUT):
        raise RuntimeError(outcome.error)  # ends the others too, which would wait for this one


def run_spread(job: Job, heartbeats: Any, use_gpu: bool) -> Outcome:
    """Run a trial by ``TorchTrainer``: NCCL between GPUs, gloo between CPU processes.

    Raises:
        ray.exceptions.RayError: a process died.
    """
    # A worker stays in the folder that relative paths of the data are meant from; no usage is reported.
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    devices, have = devices_of(job), ray.cluster_resources()
    kind, wanted = ("GPU", float(devices)) if use_gpu else ("CPU", float(devices * job.threads))
    if have.get(kind, 0.0) < wanted:
        error = f"devices: {devices}: {wanted:g} {kind}s are needed, the cluster has {have.get(kind, 0.0):g}"
        return Outcome(job.trial_id, Status.FAILED, job.attempt, error=error)
    notes = job.folder.resolve() / "ray-train"
    resources = {"CPU": float(job.threads), **({"GPU": 1.0} if use_gpu else {})}
    trainer = TorchTrainer(
        _each,
        train_loop_config={"job": job, "heartbeats": heartbeats},
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo", timeout_s=PATIENCE_SECONDS),
        scaling_config=ScalingConfig(num_workers=devices, use_gpu=use_gpu, resources_per_worker=resources),
        run_config=RunConfig(name=job.trial_id[:16], storage_path=str(notes)),
    )
    error = "the processes ended without an outcome"
    try:
        trainer.fit()
    except Exception as problem:  # Ray Train's own errors differ between versions
        error = f"{type(problem).__name__}: {first_line(problem)}"
    outcome: Outcome | None = ray.get(heartbeats.kept.remote(job.trial_id))
    shutil.rmtree(notes, ignore_errors=True)
    if outcome is None:
        return Outcome(job.trial_id, Status.FAILED, job.attempt, error=error, crashed=True)
    return sealed(job, outcome)
