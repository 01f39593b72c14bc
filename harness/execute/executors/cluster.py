"""Trials as Ray tasks on the available CPUs and GPUs. The dispatcher repeats attempts, not Ray."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import re
import sys
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.base import process_tree
from harness.data.roots import data_root
from harness.errors import HarnessError, first_line
from harness.execute.executors import session
from harness.execute.executors.addresses import check_address
from harness.execute.executors.base import ExecutorOptions, Progress
from harness.execute.executors.nodes import check_nodes, unfit_for
from harness.execute.executors.processes import devices_of, run_spread
from harness.execute.outcome import Outcome
from harness.execute.worker import Beat, Job, run_job, sealed
from harness.vocabulary import Status

if TYPE_CHECKING:
    import psutil

OBJECT_STORE_BYTES = 256 * 2**20
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
COUNT_SECONDS = 2.0
DAEMONS = ("raylet", "gcs_server")
RESTARTS = 3
"""How often Ray is started again in one command where its daemons die."""
PATIENCE_SECONDS = 0.02
LOOK_SECONDS = 0.1
SHORT_SECONDS, LATELY = 0.25, 8
"""So many trials below this: they spend a good part of their time on the way between us and their worker."""


class _Heartbeats:
    """Actor with the newest heartbeat of each trial; keeps outcomes of trials on several devices."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[int, int, float, int, str]] = {}
        self._outcomes: dict[str, Outcome] = {}

    def beat(self, trial_id: str, step: int, steps: int, loss: float, pid: int, host: str) -> None:
        self._newest[trial_id] = (step, steps, loss, pid, host)

    def newest(self, ended: list[str]) -> dict[str, tuple[int, int, float, int, str]]:
        for trial_id in ended:
            self._newest.pop(trial_id, None)
        return self._newest

    def keep(self, outcome: Outcome) -> None:
        self._outcomes[outcome.trial_id] = outcome

    def kept(self, trial_id: str) -> Outcome | None:
        return self._outcomes.pop(trial_id, None)


def _task(job: Job, heartbeats: Any, home: str) -> Outcome:
    import ray

    node = ray.get_runtime_context().get_node_id()
    name = f"{platform.node()}/{node[:8]}"
    if node != home and (problem := unfit_for(job)) is not None:
        return Outcome(job.trial_id, Status.FAILED, job.attempt, node=name, error=problem)
    pid, host = os.getpid(), platform.node()
    beat: Beat = lambda *progress: heartbeats.beat.remote(job.trial_id, *progress, pid, host)  # noqa: E731
    # Deadline and memory limit are the dispatcher's: it kills a worker that hangs inside a step.
    outcome = run_job(job, beat, stop_at_deadline=False)
    return replace(sealed(job, outcome), node=name)


class RayExecutor:
    """The executor ``ray``: starts Ray on this machine, or joins the cluster of ``options.address``.

    Raises:
        HarnessError: an address that cannot be joined, or more GPUs than the machine has.
    """

    isolated: ClassVar[bool] = True

    def __init__(self, options: ExecutorOptions) -> None:
        address = options.address
        if address is not None:
            check_address(address)
        # Workers inherit these: no spinning threads beside each other, no telemetry, no banner about tokens.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        if address is None and "ray" not in sys.modules:  # else Ray, which reads it once, asks for tokens by itself
            os.environ.setdefault("RAY_AUTH_MODE", "token")
        import ray

        self._ray, self._options = ray, options
        self._note: Path | None = None
        self._folder: Path | None = None  # of our own Ray
        self._daemons: list[psutil.Process] = []
        self._session: set[psutil.Process] = set()  # all that our own Ray began with
        self._restarts = 0
        self._looked = 0.0
        self._lately: deque[float] = deque(maxlen=LATELY)  # seconds of the last trials
        self._running: dict[Any, Job] = {}
        self._cancelled: set[str] = set()
        self._ended: list[str] = []  # trials whose heartbeats may be dropped
        self._begin()
        self._count()
        share = 1.0 if self._gpus else 0.0
        self._gpus_per_trial = share if options.gpus_per_trial is None else options.gpus_per_trial
        if self._gpus_per_trial > self._gpus:
            self.shutdown()
            raise HarnessError(
                f"--gpus-per-trial {self._gpus_per_trial:g}: the cluster has {self._gpus:g} GPUs; a task with "
                f"more would wait forever"
            )

    def _count(self) -> None:
        """Count the CPUs and GPUs of now: nodes of a cluster come and go."""
        total = self._ray.cluster_resources()
        self._cpus, self._gpus = float(total.get("CPU", 0)), float(total.get("GPU", 0))
        self._counted = time.monotonic()

    def _begin(self) -> None:
        """Start or join Ray, with its actor and tasks."""
        alone = self._options.address is None
        if alone:
            session.end_orphans(self._options.state)
            session.keep_token_private()
            self._folder = session.make_folder()
        others = set(process_tree.below())
        try:
            self._start(self._options.address)
        except BaseException:
            self._end_session(set(process_tree.below()) - others)
            raise
        if alone:
            self._note = session.note_children(self._options.state, self._folder)
            self._daemons = session.children_named(DAEMONS)
            self._session = set(process_tree.below()) - others
        else:
            try:
                check_nodes(self._ray, self._options.state, data_root().absolute())
            except BaseException:
                self._ray.shutdown()
                raise
        self._remote = self._ray.remote(max_retries=0)(_task)
        # The processes of a trial on several devices take their own share; what starts them only waits.
        self._spread = self._ray.remote(max_retries=0, num_cpus=0, num_gpus=0)(run_spread)
        self._heartbeats = self._ray.remote(num_cpus=0)(_Heartbeats).remote()
        self._home = self._ray.get_runtime_context().get_node_id()
        self._request: Any = None  # for heartbeats, not answered yet

    def _start(self, address: str | None) -> None:
        if self._folder is not None and os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
            raise HarnessError(
                "RAY_AUTH_MODE=disabled: anyone who reaches Ray's ports could run code here as you; unset it"
            )
        # "local": never a cluster that happens to run on this machine; that one is joined by --address alone.
        own = {
            "address": "local",
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
            "_temp_dir": None if self._folder is None else str(self._folder / "ray"),
            "object_store_memory": OBJECT_STORE_BYTES,
        }
        options = own if address is None else {"address": address}
        try:
            self._ray.init(**options, logging_level=logging.ERROR, log_to_driver=False)
        except Exception as error:  # Ray raises a plain one where one of its daemons ends or is too slow
            where = f"--address {address}: " if address else ""
            raise HarnessError(f"{where}Ray does not start: {first_line(error)}") from error
        process_tree.end_as_interrupted()  # again: Ray has installed a handler that prints a stack trace

    def _is_broken(self, seconds: float = 0.0) -> bool:
        """True where a daemon of a private Ray died; checked again after ``seconds``."""
        now = time.monotonic()
        if now - self._looked < seconds:
            return False
        self._looked = now
        return not all(process_tree.is_alive(process) for process in self._daemons)

    def _again(self) -> list[Outcome]:
        """Restart a broken Ray, and return the crashed trials.

        Raises:
            HarnessError: it died too often.
        """
        error = "Ray's own processes died, and with them the worker"
        jobs = self._running.values()
        lost = [Outcome(job.trial_id, Status.FAILED, job.attempt, error=error, crashed=True) for job in jobs]
        self._running.clear()
        self._cancelled.clear()
        self._restarts += 1
        if self._restarts > RESTARTS:
            raise HarnessError(f"Ray's processes died {self._restarts} times; what had finished is stored")
        with contextlib.suppress(Exception):  # any of it may be broken
            process_tree.end(self._daemons)
            self._ray.shutdown()
        self._daemons = []
        self._end_session(self._session)
        self._begin()
        return lost

    @property
    def ahead(self) -> int:
        """Number of short jobs that wait in Ray for a worker."""
        return max(0, len(self._running) - max(1, int(self._cpus)))

    def _short(self, job: Job) -> bool:
        """True for a job that may wait in Ray."""
        if self._options.address is not None or self._gpus or len(self._lately) < LATELY:
            return False
        jobs = (*self._running.values(), job)
        return max(self._lately) < SHORT_SECONDS and all(each.threads * devices_of(each) == 1 for each in jobs)

    def has_room(self, job: Job) -> bool:
        """True where CPUs and GPUs are free; a job larger than the cluster runs alone.

        Where the last trials took a fraction of a second each, as many again may wait for their CPU.
        """
        if not self._running:
            return True
        if self._options.address is not None and time.monotonic() - self._counted > COUNT_SECONDS:
            self._count()
        jobs = (*self._running.values(), job)
        cpus = sum(each.threads * devices_of(each) for each in jobs)
        gpus = sum(self._gpus_per_trial if devices_of(each) == 1 else devices_of(each) for each in jobs)
        room = 2 * self._cpus if self._short(job) else self._cpus
        return cpus <= room and (not self._gpus or gpus <= self._gpus + 1e-9)

    def submit(self, job: Job) -> None:
        """Start a Ray task; for several devices it starts a process each."""
        if not self._running and self._is_broken():
            self._again()
        if devices_of(job) > 1:
            task = self._spread.options(name=job.label).remote(job, self._heartbeats, self._gpus >= devices_of(job))
        else:
            cpus = min(job.threads, self._cpus)
            options = self._remote.options(num_cpus=cpus, num_gpus=self._gpus_per_trial, name=job.label)
            task = options.remote(job, self._heartbeats, self._home)
        self._running[task] = job

    def wait(self, timeout: float) -> list[Outcome]:
        if not self._running:
            return []
        if self._is_broken(LOOK_SECONDS):
            return self._again()
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout)
        ended = {reference: self._running.pop(reference) for reference in ready}
        self._ended += [job.trial_id for job in ended.values()]
        return [self._outcome(reference, job) for reference, job in ended.items()]

    def _outcome(self, reference: Any, job: Job) -> Outcome:
        from ray import exceptions

        status, crashed = Status.FAILED, True
        try:
            outcome: Outcome = self._ray.get(reference)
            self._lately.append(outcome.wall_seconds or 0.0)
            return outcome
        except exceptions.OutOfMemoryError as error:
            message = f"out of memory: the worker was ended: {first_line(error)}"
        except (
            exceptions.WorkerCrashedError,
            exceptions.TaskCancelledError,
            exceptions.RayActorError,
            exceptions.NodeDiedError,
            exceptions.LocalRayletDiedError,
            exceptions.ObjectLostError,
        ) as error:
            message = f"the worker process died: {type(error).__name__}"
            if job.trial_id in self._cancelled:
                self._cancelled.discard(job.trial_id)
                status, message = Status.CANCELLED, "ended by the command"
        except exceptions.RayError as error:
            message, crashed = f"{type(error).__name__}: {first_line(error)}", self._is_broken()
        return Outcome(job.trial_id, status, job.attempt, error=_COLOURS.sub("", message), crashed=crashed)

    def progress(self) -> list[Progress]:
        """The newest heartbeats; empty while the actor is busy, whose answer then comes the next time."""
        from ray import exceptions

        if self._request is None:
            self._request, self._ended = self._heartbeats.newest.remote(self._ended), []
        # On a machine that is too busy to answer, outcomes must not wait for heartbeats.
        ready, _ = self._ray.wait([self._request], timeout=PATIENCE_SECONDS)
        if not ready:
            return []
        request, self._request = self._request, None
        try:
            newest = self._ray.get(request)
        except exceptions.RayActorError:
            return []
        running = {job.trial_id for job in self._running.values()}
        here = platform.node()
        return [
            Progress(trial, step, steps, loss, pid if host == here else None)
            for trial, (step, steps, loss, pid, host) in newest.items()
            if trial in running
        ]

    def cancel(self, trial_id: str) -> None:
        """Kill the worker that runs a trial."""
        for reference, job in self._running.items():
            if job.trial_id == trial_id:
                self._cancelled.add(trial_id)
                self._ray.cancel(reference, force=True)

    def shutdown(self) -> None:
        """Kill running tasks and end a Ray that was started here."""
        for reference in getattr(self, "_running", {}):
            self._ray.cancel(reference, force=True)
        processes = self._session | {child for parent in self._session for child in process_tree.below(parent)}
        self._ray.shutdown()
        self._end_session(processes)
        if self._note is not None:
            self._note.unlink(missing_ok=True)

    def _end_session(self, processes: Iterable[psutil.Process]) -> None:
        """End a private Ray completely: agents outlive the daemons that started them."""
        if self._folder is not None:
            process_tree.end({*processes, *session.naming(self._folder)})
            session.remove_folder(self._folder)
            self._folder = None
