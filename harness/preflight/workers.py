"""Processes that measure work side by side; one that dies fails its own piece of work and is replaced."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

from harness.preflight.work import Measurement, Workload


def _serve(pipe: Connection, folder: Path, threads: int) -> None:
    """Measure what comes in until the pipe closes."""
    from harness.preflight.measure import Copies, measure

    copies = Copies(folder)
    while True:
        try:
            work: Workload = pipe.recv()
        except EOFError:
            return
        pipe.send(measure(work, copies, threads))


class _Worker:
    """One process, its pipe and what it is busy with."""

    def __init__(self, folder: Path, threads: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=_serve, args=(theirs, self.folder, threads), daemon=False)
        self.process.start()
        theirs.close()
        self.work: Workload | None = None
        self.began = 0.0

    def begin(self, work: Workload) -> None:
        """Send a piece of work."""
        self.work, self.began = work, time.monotonic()
        self.pipe.send(work)

    def end(self) -> None:
        """Close the pipe; what still runs is killed."""
        self.pipe.close()
        if self.work is not None:
            self.process.kill()
        self.process.join(timeout=10)


def measured(works: Sequence[Workload], jobs: int, timeout: float) -> Iterator[tuple[Workload, Measurement]]:
    """Every piece of work with its measurement, as it comes in."""
    waiting = deque(works)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with tempfile.TemporaryDirectory(prefix="harness-preflight-") as name:
        folder = Path(name)
        workers: list[_Worker] = []
        try:
            while waiting or any(worker.work for worker in workers):
                while waiting and len(workers) < jobs:
                    workers.append(_Worker(folder, threads))
                for worker in workers:
                    if worker.work is None and waiting:
                        worker.begin(waiting.popleft())
                yield from _arrived(workers, timeout)
        finally:
            for worker in workers:
                worker.end()


def _arrived(workers: list[_Worker], timeout: float) -> Iterator[tuple[Workload, Measurement]]:
    """What has come in; workers that died or took too long are taken out."""
    wait([worker.pipe for worker in workers if worker.work is not None], timeout=1.0)
    for worker in list(workers):
        work = worker.work
        if work is None:
            continue
        try:
            if worker.pipe.poll():
                measurement: Measurement = worker.pipe.recv()
                worker.work = None
                yield work, measurement
                continue
        except (EOFError, ConnectionError):
            worker.process.join(timeout=10)
            error = f"the process died (exit {worker.process.exitcode}); out of memory?"
        else:
            if time.monotonic() - worker.began <= timeout:
                continue
            error = f"took longer than {timeout:g} s"
        yield work, Measurement("process", error)
        worker.end()
        workers.remove(worker)
