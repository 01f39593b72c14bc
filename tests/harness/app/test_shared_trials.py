"""Dispatchers that share trials: who runs what, who waits for whom, and what a result must bring."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from harness.app.session import SharedTrials, StoreRecorder
from harness.execute.dispatch import Dispatcher, Policy, Watch
from harness.execute.executors import Progress
from harness.execute.worker import Job
from harness.store import Outcome, StorePaths, Writer
from harness.trial.saved import PRODUCT
from harness.trial.spec import FilledSlots, Part, TrialSpec
from harness.vocabulary import Status

Ends = Callable[[Job], Status | None]


def job(name: str, **more: Any) -> Job:
    spec = TrialSpec("task", Part("data"), {}, Part("model"), {"threads": 1}, FilledSlots(), 0, "mini")
    return Job(name, "b", name, spec, more.pop("folder", Path("unused")), **more)


class Scripted:
    """An executor with scripted ends of its jobs; None: not yet."""

    isolated = True
    ahead = 0

    def __init__(self, ends: Ends, room: int = 1) -> None:
        self.ends, self.room = ends, room
        self.running: dict[str, Job] = {}
        self.started: list[str] = []

    def has_room(self, job: Job) -> bool:
        return len(self.running) < self.room

    def submit(self, job: Job) -> None:
        self.running[job.trial_id] = job
        self.started.append(job.trial_id)

    def wait(self, timeout: float) -> list[Outcome]:
        for name, item in list(self.running.items()):
            status = self.ends(item)
            if status is not None:
                del self.running[name]
                return [Outcome(name, status, item.attempt, error=None if status == Status.DONE else "no")]
        time.sleep(0.002)
        return []

    def progress(self) -> list[Progress]:
        return []

    def cancel(self, trial_id: str) -> None:
        self.running.pop(trial_id, None)

    def shutdown(self) -> None:
        self.running.clear()


class Seen(Watch):
    """Records the reports about other commands."""

    def __init__(self) -> None:
        self.taken_over: list[str] = []
        self.waits: list[tuple[int, str, bool]] = []

    def taken(self, job: Job, outcome: Outcome) -> None:
        self.taken_over.append(job.trial_id)

    def elsewhere(self, jobs: int, holder: str, *, idle: bool) -> None:
        self.waits.append((jobs, holder, idle))


class Command:
    """A writer, its shared trials and a dispatcher, in a thread."""

    def __init__(self, database: Path, name: str, ends: Ends, room: int = 1) -> None:
        self.owner = Writer(database, name).open()
        self.shared = SharedTrials(StorePaths.of(database), self.owner.journal.segment)
        self.executor, self.watch = Scripted(ends, room), Seen()
        self.dispatcher = Dispatcher(
            StoreRecorder(self.owner.record, name), self.executor, Policy(), self.watch, self.shared
        )
        self.ended: dict[str, str] = {}
        self.thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        for item, outcome in self.dispatcher.outcomes():
            self.ended[item.trial_id] = str(outcome.status)
        self.shared.forget_waiting()

    def start(self, *jobs: Job) -> None:
        self.dispatcher.submit(jobs)
        self.thread.start()

    def finish(self) -> dict[str, str]:
        self.thread.join(timeout=120)
        assert not self.thread.is_alive(), "it waits forever"
        return self.ended

    def close(self) -> None:
        self.shared.forget_waiting()
        self.owner.close()


Make = Callable[..., Command]


@pytest.fixture
def make(database: Path) -> Iterator[Make]:
    with ExitStack() as stack:

        def begin(name: str, ends: Ends, **more: Any) -> Command:
            command = Command(database, name, ends, **more)
            stack.callback(command.close)
            return command

        yield begin


def after(seconds: float, status: Status = Status.DONE) -> Ends:
    """Every job takes so long."""
    began: dict[str, float] = {}

    def ends(job: Job) -> Status | None:
        return status if time.monotonic() - began.setdefault(job.trial_id, time.monotonic()) >= seconds else None

    return ends


def test_every_trial_starts_in_one_of_them_and_ends_in_all(make: Make) -> None:
    names = [f"t{number}" for number in range(30)]
    commands = [make(f"run-{number}", after(0.03), room=1 + number) for number in range(3)]
    for command in commands:
        command.start(*map(job, names))
    for command in commands:
        assert command.finish() == dict.fromkeys(names, "done")
    started = [name for command in commands for name in command.executor.started]
    assert sorted(started) == sorted(names)
    assert all(command.executor.started for command in commands)
    for command in commands:
        assert sorted(command.executor.started + command.watch.taken_over) == sorted(names)
        assert command.shared.taken == set(command.watch.taken_over)


def test_what_was_measured_before_a_trial_starts_is_taken(make: Make) -> None:
    late = make("late", after(0.0))  # it has asked what is stored, and nothing was
    first = make("first", after(0.0))
    first.start(job("a"), job("b"))
    first.finish()
    first.close()
    late.start(job("a"), job("b"), job("c"))
    assert late.finish() == {"a": "done", "b": "done", "c": "done"}
    assert late.executor.started == ["c"]


def test_dependants_start_when_the_other_command_has_made_what_they_need(make: Make, tmp_path: Path) -> None:
    open_gate = threading.Event()
    teacher = job("teacher", folder=tmp_path / "teacher", keep_product=True)

    def trained(job: Job) -> Status | None:
        if job.trial_id != "teacher":
            return Status.DONE
        if not open_gate.is_set():
            return None
        job.folder.mkdir(exist_ok=True)
        (job.folder / PRODUCT).write_bytes(b"weights")
        return Status.DONE

    first, second = make("first", trained), make("second", after(0.0))
    first.start(teacher)
    until(lambda: first.executor.started == ["teacher"])
    second.start(teacher, job("student", needs=("teacher",)), job("other"))
    until(lambda: (1, True) in [(jobs, idle) for jobs, _, idle in second.watch.waits])
    assert second.executor.started == ["other"]
    assert "first, process" in second.watch.waits[-1][1]
    open_gate.set()
    first.finish()
    assert second.finish() == {"teacher": "done", "student": "done", "other": "done"}
    assert second.executor.started == ["other", "student"]
    assert second.watch.waits[-1][0] == 0


def test_a_result_without_the_weights_that_others_start_from_is_not_enough(make: Make, tmp_path: Path) -> None:
    first, second = make("first", after(0.0)), make("second", after(0.0))
    first.start(job("teacher", folder=tmp_path / "teacher"))  # no other trial of the plan starts from it
    first.finish()
    second.start(job("teacher", folder=tmp_path / "teacher", keep_product=True), job("student", needs=("teacher",)))
    second.finish()
    assert second.executor.started == ["teacher", "student"]


@pytest.mark.parametrize(
    ("status", "ended", "started"),
    [
        (Status.FAILED, {"a": "done", "b": "done"}, ["a", "b"]),  # tried again here
        (Status.DIVERGED, {"a": "diverged", "b": "cancelled"}, []),
    ],
)
def test_a_trial_that_fails_or_diverges_elsewhere(
    make: Make, status: Status, ended: dict[str, str], started: list[str]
) -> None:
    first, second = make("first", after(0.3, status)), make("second", after(0.0))
    first.start(job("a"))
    until(lambda: first.executor.started == ["a"])
    second.start(job("a"), job("b", needs=("a",)))
    assert first.finish() == {"a": status.value}
    assert second.finish() == ended
    assert second.executor.started == started


def test_results_from_before_a_deletion_are_not_taken(make: Make) -> None:
    first, second = make("first", after(0.0)), make("second", after(0.0))
    first.start(job("a"), job("b"))
    first.finish()
    second.shared.discard(["a"])
    second.start(job("a"), job("b"))
    second.finish()
    assert second.executor.started == ["a"]


def test_commands_that_need_each_others_trials_in_another_order_do_not_wait_forever(make: Make) -> None:
    chain = [job("a"), job("b", needs=("a",)), job("c", needs=("b",)), job("d")]
    first, second = make("first", after(0.02)), make("second", after(0.02))
    first.start(*chain)
    second.start(*reversed(chain))
    assert first.finish().keys() == second.finish().keys() == {"a", "b", "c", "d"}
    assert sorted(first.executor.started + second.executor.started) == ["a", "b", "c", "d"]
