"""The dispatcher over a scripted executor: attempts, watchdog, dependencies, stops."""

import itertools
import math
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.app.session import StoreRecorder
from harness.cli.watch import Counting
from harness.execute import dispatch
from harness.execute.dispatch import Dispatcher, Policy, Watch
from harness.execute.executors import ExecutorOptions, Progress, RayExecutor
from harness.execute.worker import Job
from harness.store import Outcome, Writer, open_reader
from harness.trial.spec import FilledSlots, Part, TrialSpec
from harness.vocabulary import Status

Answer = Callable[[Job], dict[str, Any] | None]


def job(name: str, **more: Any) -> Job:
    spec = TrialSpec("task", Part("data"), {}, Part("model"), {"threads": 1}, FilledSlots(), 0, "mini")
    return Job(name, "b", name, spec, Path("unused"), **more)


class Scripted:
    """An executor whose jobs end by ``answer``; None: not yet."""

    isolated = True
    ahead = 0

    def __init__(self, answer: Answer, room: int = 2) -> None:
        self.answer, self.room = answer, room
        self.running: dict[str, Job] = {}
        self.started: list[tuple[str, int]] = []
        self.killed: list[str] = []

    def has_room(self, job: Job) -> bool:
        return len(self.running) < self.room

    def submit(self, job: Job) -> None:
        self.running[job.trial_id] = job
        self.started.append((job.trial_id, job.attempt))

    def wait(self, timeout: float) -> list[Outcome]:
        for name, item in list(self.running.items()):
            parts = self.answer(item)
            if name in self.killed and parts is None:
                parts = {"status": "cancelled", "error": "killed", "crashed": True}
            if parts is not None:
                del self.running[name]
                error, crashed = parts.get("error"), parts.get("crashed", False)
                return [Outcome(name, Status(parts["status"]), item.attempt, error=error, crashed=crashed)]
        time.sleep(0.01)
        return []

    def progress(self) -> list[Progress]:
        return [Progress(name, 1, 10, 0.5) for name in self.running]

    def cancel(self, trial_id: str) -> None:
        self.killed.append(trial_id)

    def shutdown(self) -> None:
        self.running.clear()


def done(job: Job) -> dict[str, Any]:
    return {"status": "done"}


def dispatched(
    database: Path, executor: Any, jobs: list[Job], policy: Policy | None = None
) -> tuple[dict[str, str], Dispatcher]:
    with Writer(database, "run-1") as owner:
        dispatcher = Dispatcher(StoreRecorder(owner.record, "run-1"), executor, policy or Policy(), Watch())
        dispatcher.submit(jobs)
        ended = {item.trial_id: str(outcome.status) for item, outcome in dispatcher.outcomes()}
    return ended, dispatcher


def test_every_job_ends_once_and_never_more_than_fit_at_a_time(database: Path) -> None:
    executor = Scripted(done, room=3)
    ended, _ = dispatched(database, executor, [job(f"t{k}") for k in range(9)])
    assert ended == {f"t{k}": "done" for k in range(9)}
    assert len(executor.started) == 9


def test_a_crash_is_tried_again_and_an_error_is_not(database: Path) -> None:
    def answer(job: Job) -> dict[str, Any]:
        if job.trial_id == "crash":
            return {"status": "failed", "error": "died", "crashed": True} if job.attempt < 2 else {"status": "done"}
        return {"status": "failed", "error": "ValueError: no"}

    executor = Scripted(answer)
    ended, _ = dispatched(database, executor, [job("crash"), job("error")])
    assert ended == {"crash": "done", "error": "failed"}
    assert sorted(executor.started) == [("crash", 1), ("crash", 2), ("error", 1)]
    with open_reader(database) as reader:
        assert reader.query("SELECT kind FROM events WHERE run_id = 'run-1' AND kind = 'retry'").rows == [("retry",)]


def test_a_crash_that_comes_back_is_a_failure(database: Path) -> None:
    executor = Scripted(lambda job: {"status": "failed", "error": "died", "crashed": True})
    ended, _ = dispatched(database, executor, [job("crash")])
    assert ended == {"crash": "failed"}
    assert executor.started == [("crash", 1), ("crash", 2)]


def test_the_watchdog_ends_what_hangs(database: Path) -> None:
    executor = Scripted(lambda job: None if job.trial_id == "hang" else {"status": "done"})
    ended, _ = dispatched(database, executor, [job("hang", timeout_seconds=0.3), job("fine")])
    assert ended == {"hang": "timeout", "fine": "done"}
    assert executor.killed == ["hang"]
    assert executor.started.count(("hang", 1)) == 1
    assert ("hang", 2) not in executor.started


def test_the_time_of_what_waits_for_its_place_has_not_begun(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One job at a time: a waiting one does not run out of its time."""
    monkeypatch.setattr(dispatch, "STARTUP_SECONDS", 0.0)
    began = time.monotonic()

    class Ahead(Scripted):
        @property
        def ahead(self) -> int:  # type: ignore[override]
            return max(0, len(self.running) - 1)

        def progress(self) -> list[Progress]:
            return super().progress()[:1]

    executor = Ahead(lambda job: {"status": "done"} if time.monotonic() > began + 2 else None)
    ended, _ = dispatched(database, executor, [job("long"), job("ready", timeout_seconds=0.3)])
    assert ended == {"long": "done", "ready": "done"}
    assert executor.started == [("long", 1), ("ready", 1)]
    assert not executor.killed


def test_only_short_trials_of_one_cpu_wait_in_ray(tmp_path: Path) -> None:
    executor = RayExecutor.__new__(RayExecutor)
    executor._options, executor._cpus, executor._gpus = ExecutorOptions(tmp_path), 2.0, 0.0
    executor._gpus_per_trial, executor._counted = 0.0, math.inf
    executor._lately = deque([0.1] * 7, maxlen=8)
    executor._running = {number: job(f"t{number}") for number in range(2)}
    wide = replace(job("wide"), spec=replace(job("wide").spec, recipe={"threads": 8}))
    assert not executor.has_room(job("third"))  # too few have ended
    executor._lately.append(0.1)
    assert executor.has_room(job("third"))
    assert not executor.has_room(wide)
    executor._running[2] = job("t2")
    assert executor.has_room(job("fourth"))
    executor._running[3] = job("t3")
    assert executor.ahead == 2
    assert not executor.has_room(job("fifth"))
    executor._running = {0: wide}
    assert not executor.has_room(job("second"))
    assert executor.ahead == 0  # it runs alone, and its time has begun
    executor._running = {0: job("t0"), 1: job("t1")}
    executor._lately.append(0.3)
    assert not executor.has_room(job("third"))


def test_fail_fast_begins_nothing_further(database: Path) -> None:
    executor = Scripted(lambda job: {"status": "failed", "error": "no"}, room=1)
    ended, dispatcher = dispatched(database, executor, [job(f"t{k}") for k in range(5)], Policy(fail_fast=True))
    assert ended == {"t0": "failed"}
    assert executor.started == [("t0", 1)]
    assert dispatcher.stopped is not None


def test_the_time_budget_lets_what_runs_finish(database: Path) -> None:
    end = time.monotonic() + 3.0
    executor = Scripted(lambda job: {"status": "done"} if time.monotonic() > end + 0.1 else None, room=1)
    policy = Policy(stop_at=end)
    ended, dispatcher = dispatched(database, executor, [job("a"), job("b")], policy)
    assert ended == {"a": "done"}
    assert dispatcher.stopped == "the time budget is used up"


def test_exclusive_runs_one_at_a_time(database: Path) -> None:
    most = 0

    def answer(job: Job) -> dict[str, Any]:
        nonlocal most
        most = max(most, len(executor.running))
        return {"status": "done"}

    executor = Scripted(answer, room=4)
    dispatched(database, executor, [job(f"t{k}") for k in range(4)], Policy(exclusive=True))
    assert most == 1


def test_dependants_wait_and_are_cancelled_with_the_reason(database: Path) -> None:
    jobs = [job("student", needs=("teacher",)), job("teacher"), job("grandchild", needs=("student",)), job("other")]
    executor = Scripted(done, room=1)
    ended, _ = dispatched(database, executor, jobs)
    order = [name for name, _ in executor.started]
    assert order.index("teacher") < order.index("student") < order.index("grandchild")
    executor = Scripted(lambda job: {"status": "failed" if job.trial_id == "teacher" else "done", "error": "no"})
    ended, _ = dispatched(database.with_name("b.duckdb"), executor, jobs)
    assert ended == {"teacher": "failed", "student": "cancelled", "grandchild": "cancelled", "other": "done"}


def test_more_jobs_may_come_between_outcomes(database: Path) -> None:
    with Writer(database, "run-1") as owner:
        dispatcher = Dispatcher(StoreRecorder(owner.record, "run-1"), Scripted(done), Policy(), Watch())
        dispatcher.submit([job("first")])
        ended = []
        for item, _ in dispatcher.outcomes():
            ended.append(item.trial_id)
            if len(ended) < 3:
                dispatcher.submit([job(f"next{len(ended)}")])
    assert ended == ["first", "next1", "next2"]


def test_counting_estimates_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the median of ended trials of the configuration, side by side."""
    clock = [100.0]
    monkeypatch.setattr("harness.cli.watch.time.monotonic", lambda: clock[0])
    watch, jobs = Counting("suite"), [replace(job(name), arm="arm") for name in "abcd"]
    watch.queued(jobs)
    assert watch.remaining == "…"
    watch.started(jobs[0])
    watch.started(jobs[1])
    clock[0] += 6
    watch.finished(jobs[0], Outcome("a", Status.FAILED, wall_seconds=6.0))
    watch.finished(jobs[1], Outcome("b", Status.DONE, wall_seconds=6.0))
    assert (watch.done, watch.failed, watch.total) == (2, 1, 4)
    assert watch.remaining == "6 s"
    watch.started(jobs[2])
    watch.started(jobs[2])  # another attempt
    assert watch.remaining == "6 s"
    watch.finished(jobs[3], Outcome("d", Status.CANCELLED))  # never begun: what it starts from failed
    assert watch.remaining == "3 s"


def test_a_trial_above_its_memory_is_ended(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails with the numbers, without another attempt; the others go on."""
    executor = Scripted(lambda job: None if job.trial_id == "large" else {"status": "done"})
    monkeypatch.setattr(dispatch, "BEAT_SECONDS", 0.0)
    monkeypatch.setattr(executor, "progress", lambda: [Progress("large", 1, 9, 0.5, os.getpid())])
    jobs = [job("large", memory_mib=1.0), job("small", memory_mib=1e9)]
    assert dispatched(database, executor, jobs)[0] == {"large": "failed", "small": "done"}
    with open_reader(database) as reader:
        ((error, attempts, peak),) = reader.query(
            "SELECT error, attempts, peak_memory_mb FROM trials WHERE trial_id = 'large'"
        ).rows
    assert error.startswith("out of memory: the trial held")
    assert "more than its limit of 1 MiB" in error
    assert attempts == 1
    assert peak > 1


def test_a_trial_at_its_memory_goes_on(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = itertools.count()
    executor = Scripted(lambda job: {"status": "done"} if next(looks) > 3 else None)
    monkeypatch.setattr(dispatch, "BEAT_SECONDS", 0.0)
    monkeypatch.setattr(dispatch.process_tree, "held_mib", lambda processes, limit: limit)
    monkeypatch.setattr(executor, "progress", lambda: [Progress("full", 1, 9, 0.5, os.getpid())])
    assert dispatched(database, executor, [job("full", memory_mib=64.0)])[0] == {"full": "done"}
