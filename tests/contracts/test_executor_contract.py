"""The contract of every executor: outcomes, failures, crashes, deadlines, progress."""

import json
import pickle
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.app.session import StoreRecorder
from harness.cli.run import run_command
from harness.cli.sweep import sweep_command
from harness.execute.dispatch import Dispatcher, Policy, Watch
from harness.execute.executors import EXECUTORS, Executor, ExecutorOptions, InlineExecutor
from harness.execute.worker import Job
from harness.plan.planning import Selection, make_plan
from harness.plan.user_arms import user_arm
from harness.store import Outcome, Writer, open_reader
from harness.store.events import OutcomeEvent
from harness.store.log_lines import encode
from harness.suite import load_suite
from harness.vocabulary import Status

RAY = [pytest.mark.ray]

METHODS = """
import os
from pathlib import Path

import torch

HERE = Path(__file__)


class Crashing(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)

    def step(self, closure=None):
        if not HERE.with_name("crashed").exists():
            HERE.with_name("crashed").touch()
            os._exit(9)
        return super().step(closure)


class Noting(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)

    def step(self, closure=None):
        HERE.with_name("threads").write_text(str(torch.get_num_threads()))
        return super().step(closure)
"""


@pytest.fixture(scope="module", params=[pytest.param(name, marks=RAY if name == "ray" else []) for name in EXECUTORS])
def executor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    created = EXECUTORS[request.param](ExecutorOptions(tmp_path_factory.mktemp("sessions")))
    yield created
    created.shutdown()


def job_of(suite: Path, method: str | None = None, timeout_seconds: float = 120.0, **recipe: Any) -> Job:
    """A trial of the tiny suite with changed recipe keys; ``method``: an optimizer of ``METHODS``."""
    arms, methods = {}, ()
    if method is not None:
        file = suite.with_name("methods.py")
        file.write_text(METHODS, encoding="utf-8")
        _, arm, described = user_arm(f"mine={file}:{method}")
        arms, methods = {"mine": arm}, (described,)
    selection = Selection(seeds=(0,), arms=() if arms else ("base",), overrides=recipe, added_arms=arms)
    (trial,) = make_plan(load_suite(suite), selection).trials
    folder, more = suite.parent / trial.trial_id, {"timeout_seconds": timeout_seconds, "own_methods": methods}
    return Job(trial.trial_id, trial.benchmark, trial.arm, trial.spec, folder, **more)


def ended(executor: Executor, job: Job, seconds: float = 120.0) -> Outcome:
    """The outcome of a job that is submitted now."""
    assert executor.has_room(job)
    executor.submit(job)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for outcome in executor.wait(0.2):
            assert outcome.trial_id == job.trial_id
            return outcome
    pytest.fail("no outcome came")


def dispatched(executor: Executor, database: Path, job: Job) -> Outcome:
    """The last outcome of a job that goes through the dispatcher."""
    with Writer(database, "run") as owner:
        dispatcher = Dispatcher(StoreRecorder(owner.record, "run"), executor, Policy(), Watch())
        dispatcher.submit([job])
        ((_, outcome),) = dispatcher.outcomes()
    return outcome


def test_an_outcome_says_how_the_trial_went(executor: Executor, tiny: Path) -> None:
    job = job_of(tiny)
    outcome = ended(executor, job)
    assert (outcome.status, outcome.error, outcome.attempts, outcome.crashed) == (Status.DONE, None, 1, False)
    assert outcome.score("test", "score") is not None
    assert outcome.wall_seconds is not None
    assert outcome.wall_seconds > 0
    assert outcome.cpu_seconds is not None
    assert outcome.cpu_seconds > 0
    assert outcome.peak_memory_mb is not None
    assert 50 < outcome.peak_memory_mb < 10_000  # MiB of a process that holds torch
    assert outcome.environment_id
    assert outcome.device
    assert outcome.started_at is not None
    datetime.fromisoformat(outcome.started_at)
    losses = next(series for series in outcome.series if (series.split, series.name) == ("train", "loss"))
    assert len(losses.value) == len(losses.step) == len(losses.epoch) == len(losses.elapsed_seconds) > 0


def test_an_outcome_survives_the_wire_and_the_journal(executor: Executor, tiny: Path) -> None:
    outcome = ended(executor, job_of(tiny))
    assert pickle.loads(pickle.dumps(outcome)) == outcome
    event = OutcomeEvent(outcome, "run")
    event.check()
    back = OutcomeEvent.from_json(json.loads(encode(event.to_json()))).outcome
    assert back.results == outcome.results
    assert back.series == outcome.series
    assert back.artifacts == outcome.artifacts
    assert (back.status, back.wall_seconds) == (outcome.status, outcome.wall_seconds)


def test_numbers_do_not_depend_on_the_executor(executor: Executor, tiny: Path) -> None:
    outcome, plain = ended(executor, job_of(tiny)), ended(InlineExecutor(), job_of(tiny))
    assert outcome.results == plain.results
    assert [series.value for series in outcome.series] == [series.value for series in plain.series]


def test_an_error_of_the_code_has_its_place_and_a_divergence_its_step(executor: Executor, tiny: Path) -> None:
    outcome = ended(executor, job_of(tiny, fails=True))
    assert (outcome.status, outcome.crashed, outcome.results) == (Status.FAILED, False, ())
    assert outcome.error is not None
    assert "synthetic.py:" in outcome.error
    outcome = ended(executor, job_of(tiny, diverges_above=0.001))
    assert outcome.status == Status.DIVERGED
    assert outcome.error is not None
    assert "at step" in outcome.error


def test_a_trial_that_takes_too_long_is_a_timeout(executor: Executor, tiny: Path, database: Path) -> None:
    job = job_of(tiny, timeout_seconds=0.5, steps=100, step_seconds=0.2)
    outcome = dispatched(executor, database, job)
    assert (outcome.status, outcome.crashed) == (Status.TIMEOUT, False)
    with open_reader(database) as reader:
        assert reader.statuses([job.trial_id]) == {job.trial_id: "timeout"}


def test_a_cancelled_job_is_ended(executor: Executor, tiny: Path) -> None:
    job = job_of(tiny, steps=500, step_seconds=0.2)
    executor.submit(job)
    if not executor.isolated:  # it has not begun, and never will
        executor.cancel(job.trial_id)
        assert executor.wait(0.1) == []
        return
    end = time.monotonic() + 60
    while not executor.progress() and time.monotonic() < end:
        assert executor.wait(0.1) == []
    executor.cancel(job.trial_id)
    outcomes: list[Outcome] = []
    while not outcomes and time.monotonic() < end:
        outcomes = executor.wait(0.2)
    assert [outcome.status for outcome in outcomes] == [Status.CANCELLED]


def test_a_worker_that_dies_is_tried_again(executor: Executor, tiny: Path, database: Path) -> None:
    if not executor.isolated:
        pytest.skip("its worker is this process")
    outcome = dispatched(executor, database, job_of(tiny, method="Crashing"))
    assert tiny.with_name("crashed").exists()
    assert (outcome.status, outcome.attempts) == (Status.DONE, 2)
    with open_reader(database) as reader:
        (retry,) = reader.query("SELECT * FROM events WHERE run_id = 'run' AND kind = 'retry'").dicts()
    assert "worker process died" in str(retry["detail"])


def test_a_trial_computes_on_its_threads(executor: Executor, tiny: Path) -> None:
    before = torch.get_num_threads()
    try:
        assert ended(executor, job_of(tiny, method="Noting", threads=2)).status == Status.DONE
    finally:
        torch.set_num_threads(before)
    assert tiny.with_name("threads").read_text() == "2"


def test_progress_is_told_while_a_trial_runs(executor: Executor, tiny: Path) -> None:
    job = job_of(tiny, steps=30, step_seconds=0.1)
    message: list[Any] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            message.extend(executor.progress())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        assert ended(executor, job).status == Status.DONE
    finally:
        over.set()
        looking.join()
    steps = [(item.trial_id, item.step, item.steps) for item in message if item.steps]
    assert steps
    assert all(trial == job.trial_id and 0 < step <= total == 30 for trial, step, total in steps)
    assert executor.progress() == []


@pytest.mark.parametrize("command", [run_command, sweep_command])
def test_the_command_line_offers_every_executor(command: Any) -> None:
    (option,) = (parameter for parameter in command.params if parameter.name == "executor")
    assert list(option.type.choices) == list(EXECUTORS)
