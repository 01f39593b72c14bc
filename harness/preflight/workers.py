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
from typing import Any

from harness.preflight.work import Work

Answer = dict[str, Any]


def _serve(pipe: Connection, folder: Path, threads: int) -> None:
    """Measure what comes in until the pipe closes."""
    import dataclasses

    from harness.preflight.measure import Copies, measure

    copies = Copies(folder)
    while True:
        try:
            work: Work = pipe.recv()
        except EOFError:
            return
        pipe.send(dataclasses.asdict(measure(work, copies, threads)))


class _Worker:
    """One process, its pipe and what it is busy with."""

    def __init__(self, folder: Path, threads: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=_serve, args=(theirs, self.folder, threads), daemon=False)
        self.process.start()
        theirs.close()
        self.work: Work | None = None
        self.began = 0.0

    def begin(self, work: Work) -> None:
        """Send a piece of work."""
        self.work, self.began = work, time.monotonic()
        self.pipe.send(work)

    def end(self) -> None:
        """Close the pipe; what still runs is killed."""
        self.pipe.close()
        if self.work is not None:
            self.process.kill()
        self.process.join(timeout=10)


def measured(works: Sequence[Work], jobs: int, timeout: float) -> Iterator[tuple[Work, Answer]]:
    """Every piece of work with what ``harness.preflight.measure.Measured`` says of it, as it comes in."""
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
                yield from _answers(workers, timeout)
        finally:
            for worker in workers:
                worker.end()


def _answers(workers: list[_Worker], timeout: float) -> Iterator[tuple[Work, Answer]]:
    """What has come in; workers that died or took too long are taken out."""
    wait([worker.pipe for worker in workers if worker.work is not None], timeout=1.0)
    for worker in list(workers):
        work = worker.work
        if work is None:
            continue
        try:
            if worker.pipe.poll():
                answer: Answer = worker.pipe.recv()
                worker.work = None
                yield work, answer
                continue
        except (EOFError, ConnectionError):
            worker.process.join(timeout=10)
            yield work, _failed(f"the process died (exit {worker.process.exitcode}); out of memory?")
        else:
            if time.monotonic() - worker.began <= timeout:
                continue
            yield work, _failed(f"took longer than {timeout:g} s")
        worker.end()
        workers.remove(worker)


def _failed(error: str) -> Answer:
    return {"stage": "process", "error": error}
