"""Two commands that want the same trials at the same time: each trial is measured once, whatever happens to either."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from harness.store import StorePaths, open_reader

Start = Callable[..., "subprocess.Popen[str]"]

TEACHER = """        prerequisites:
          teacher:
            task: synthetic
            model: {name: scalar, start: 2.0}
            recipe: {steps: 20, step_seconds: 0.05, slots: {optimizer: {name: sgd, lr: 0.1}}}
            always: true
"""


def slow(tiny: Path, seconds: float, seeds: int) -> None:
    """Set the duration and the seeds of a suite's trials."""
    text = tiny.read_text().replace("own_sd: 0.3}", f"own_sd: 0.3, step_seconds: {seconds / 20}}}")
    tiny.write_text(text.replace("seeds: {min: 3", f"seeds: {{min: {seeds}"))


@pytest.fixture
def start(tiny: Path, database: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a run of the suite beside others; what it says lies in ``<name>.out`` and ``<name>.err``."""
    started: list[subprocess.Popen[str]] = []

    def begin(name: str, *more: str, command: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        words = command or ("run", str(tiny), "--no-report", "--json", "--executor", "inline")
        with (tmp_path / f"{name}.out").open("w") as out, (tmp_path / f"{name}.err").open("w") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "harness", *words, "--db", str(database), *more],
                cwd=tmp_path,
                stdout=out,
                stderr=err,
                text=True,
                start_new_session=True,
                env=dict(os.environ),
            )
        started.append(process)
        return process

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def told(tmp_path: Path, name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((tmp_path / f"{name}.out").read_text().splitlines()[-1])
    run: dict[str, Any] = result["runs"][0]
    return run


def running(database: Path) -> set[str]:
    """Trials without an outcome in the log segments of living commands."""
    journal = StorePaths.of(database).journal
    began, ended = set(), set()
    for file in journal.glob("*.jsonl"):
        for line in file.read_bytes().splitlines(keepends=True):
            event = json.loads(line) if line.endswith(b"\n") else {}
            if event.get("kind") == "started":
                began.add(event["trial_id"])
            elif event.get("kind") == "outcome":
                ended.add(event["trial_id"])
    return began - ended


def counted(database: Path) -> dict[str, int]:
    """Trials by status, and trials that were measured twice."""
    with open_reader(database) as reader:
        counts = dict(reader.query("SELECT status, count(*) FROM trials GROUP BY 1").rows)
        ((twice,),) = reader.query("SELECT count(*) FROM events WHERE kind = 'duplicate'").rows
    return {**counts, "twice": twice}


def verdicts(run: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(item["claim_id"], item["verdict"], item["n"], item["difference"], item["p"]) for item in run["verdicts"]]


def test_each_trial_is_measured_once_and_both_end_with_the_same_verdicts(
    tiny: Path, database: Path, tmp_path: Path, start: Start
) -> None:
    slow(tiny, 0.4, seeds=10)
    first = start("first")
    until(lambda: bool(running(database)), "the first runs nothing")
    os.kill(first.pid, signal.SIGSTOP)  # so that the second has something to do, however late it starts
    second = start("second")
    until(lambda: len(running(database)) == 2, "the second runs nothing")
    os.kill(first.pid, signal.SIGCONT)
    assert first.wait() == 0
    assert second.wait() == 0
    item, two = told(tmp_path, "first"), told(tmp_path, "second")
    assert counted(database) == {"done": 20, "twice": 0}
    assert item["counts"] == two["counts"] == {"done": 20}
    ran = [run["trials"] - run["reused"] for run in (item, two)]
    assert sum(ran) == 20
    assert min(ran) >= 1
    assert verdicts(item) == verdicts(two)
    assert item["verdicts"]


def test_the_second_takes_over_what_a_killed_first_leaves(
    tiny: Path, database: Path, tmp_path: Path, start: Start
) -> None:
    slow(tiny, 0.6, seeds=6)
    first = start("first")
    until(lambda: bool(running(database)), "the first runs nothing")
    second = start("second")
    until(lambda: len(running(database)) == 2, "the second runs nothing")
    os.killpg(first.pid, signal.SIGKILL)
    assert second.wait() == 0
    assert counted(database) == {"done": 12, "twice": 0}
    assert told(tmp_path, "second")["counts"] == {"done": 12}


def test_a_stopped_first_is_waited_for_and_named(tiny: Path, database: Path, tmp_path: Path, start: Start) -> None:
    """A signal or a time budget ends the waiting."""
    slow(tiny, 1.0, seeds=2)
    first = start("first")
    until(lambda: bool(running(database)), "the first runs nothing")
    os.kill(first.pid, signal.SIGSTOP)
    words = ("run", str(tiny), "--no-report", "--executor", "inline")
    second, third = start("second", command=words), start("third", command=words)
    text = "waiting for 1 trial of another run (2"
    for name in ("second", "third"):
        until(lambda name=name: text in (tmp_path / f"{name}.err").read_text(), f"{name} does not say it")
        assert f"process {first.pid} on" in (tmp_path / f"{name}.err").read_text()
    third.send_signal(signal.SIGTERM)  # as Ctrl-C
    assert third.wait() == 1
    hasty = start("hasty", "--time-budget", "5s")
    assert hasty.wait() == 1
    assert told(tmp_path, "hasty")["stopped"] == "the time budget is used up"
    assert second.poll() is None
    os.kill(first.pid, signal.SIGCONT)
    assert first.wait() == 0
    assert second.wait() == 0
    assert counted(database) == {"done": 4, "twice": 0}


def test_a_shared_teacher_trains_once_and_each_command_tries_a_failure_for_itself(
    tiny: Path, database: Path, tmp_path: Path, start: Start
) -> None:
    text = tiny.read_text().replace("facts:\n", TEACHER + "facts:\n", 1)
    tiny.write_text(text.replace("noise_key: base}", "noise_key: base, fails: true}"))
    slow(tiny, 0.3, seeds=4)
    first, second = start("first"), start("second")
    assert first.wait() == 1
    assert second.wait() == 1
    assert counted(database) == {"done": 5, "failed": 4, "twice": 0}
    runs = [told(tmp_path, name) for name in ("first", "second")]
    assert [run["counts"] for run in runs] == [{"done": 5, "failed": 4}] * 2
    done_by = [run["trials"] - run["reused"] for run in runs]
    assert sum(done_by) == 9 + 4  # failures are tried by both


@pytest.mark.slow
def test_two_forced_runs_measure_every_trial_again(tiny: Path, database: Path, tmp_path: Path, start: Start) -> None:
    slow(tiny, 0.2, seeds=3)
    assert start("before").wait() == 0
    with open_reader(database) as reader:
        ((before,),) = reader.query("SELECT max(started_at) FROM trials").rows
    first, second = start("first", "--force"), start("second", "--force")
    assert first.wait() == 0
    assert second.wait() == 0
    with open_reader(database) as reader:
        assert reader.query("SELECT count(*) FROM trials WHERE started_at > ?", [before]).rows == [(6,)]
    assert counted(database)["done"] == 6


SWEEP = """
sweep:
  arms: [base, better]
  fresh: 3
  spaces:
    "*": {optimizer.lr: {low: 1.0e-2, high: 0.3, log: true}, optimizer.momentum: {choices: [0.0]},
          optimizer.weight_decay: {choices: [0.0]}}
"""


@pytest.mark.slow
def test_two_sweeps_share_their_trials(tiny: Path, database: Path, tmp_path: Path, start: Start) -> None:
    tiny.write_text(tiny.read_text() + SWEEP)
    slow(tiny, 0.2, seeds=3)
    words = ("sweep", str(tiny), "--benchmark", "known", "--budget", "4", "--executor", "inline", "--json")
    first, second = start("first", command=words), start("second", command=words)
    assert first.wait() == 0, (tmp_path / "first.err").read_text()
    assert second.wait() == 0, (tmp_path / "second.err").read_text()
    counts = counted(database)
    assert counts.keys() == {"done", "twice"}
    assert counts["twice"] == 0
    item, two = (json.loads((tmp_path / f"{name}.out").read_text().splitlines()[-1]) for name in ("first", "second"))
    assert item["chosen"] == two["chosen"]
    assert item["ran"] + two["ran"] == counts["done"]


@pytest.mark.slow
@pytest.mark.ray
def test_two_runs_on_ray_share_their_trials(tiny: Path, database: Path, tmp_path: Path, start: Start) -> None:
    slow(tiny, 1.0, seeds=8)
    words = ("run", str(tiny), "--no-report", "--json")
    first, second = start("first", command=words), start("second", command=words)
    until(lambda: len(running(database)) >= 3, "they do not run side by side")
    os.killpg(first.pid, signal.SIGKILL)
    assert second.wait() == 0, (tmp_path / "second.err").read_text()
    assert counted(database) == {"done": 16, "twice": 0}
