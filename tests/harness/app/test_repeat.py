"""A run checks its own determinism, and keeps the joules that a device counts."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from harness.app.run import Request, run_suite
from harness.execute import energy
from harness.execute.determinism import FinishedTrial, again, chosen, compared
from harness.execute.dispatch import Watch
from harness.execute.worker import Job
from harness.judge.stored import judge_now
from harness.plan.planning import Selection
from harness.store import Outcome, Writer, open_reader
from harness.store.events import LogEvent
from harness.suite import load_suite
from harness.trial.result import Score
from harness.trial.spec import FilledSlots, Part, TrialSpec
from harness.vocabulary import Status


def finished(name: str, seconds: float, task: str = "a", value: float | None = 1.0) -> FinishedTrial:
    spec = TrialSpec(task, Part("data"), {}, Part("model"), {"threads": 1}, FilledSlots(), 0, "mini")
    job = Job(name, "b", name, spec, Path("x") / name, keep_product=True)
    return job, replace(outcome(value), wall_seconds=seconds)


def outcome(value: float | None = 1.0) -> Outcome:
    return Outcome("one", Status.DONE, environment_id="env", results=(Score("test", "score", value),))


def test_the_quickest_of_each_task_within_the_allowance() -> None:
    many = [finished(f"slow-{n}", 30.0) for n in range(10)]
    assert [job.trial_id for job, _ in chosen([*many, finished("quick", 2.0)])] == ["quick"]
    result = chosen([*many, finished("quick", 2.0), finished("other", 3.0, "b"), finished("late", 40.0, "c")])
    assert [job.trial_id for job, _ in result] == ["quick", "other"]
    assert [job.trial_id for job, _ in chosen([finished("alone", 50.0)])] == ["alone"]
    assert chosen([finished("long", 61.0)]) == []
    assert chosen([]) == []


def test_a_repeated_job_leaves_the_first_ones_files_alone() -> None:
    job = again(finished("one", 1.0)[0])
    assert job.folder == Path("x/one/again")
    assert not job.keep_product
    assert job.trial_id == "one"


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (1.0, 1.0, True),
        (1.0, math.nextafter(1.0, 2.0), False),
        (1.0, 1.001, False),
        (math.nan, math.nan, True),
        (None, 1.0, False),
    ],
)
def test_numbers_differ_or_do_not(first: float | None, second: float | None, equal: bool) -> None:
    message = compared(*finished("one", 1.0, value=first), outcome(second))
    assert message["equal"] is equal
    assert message["differing"] == ([] if equal else ["test.score"])
    assert message["numbers"] == 1


def test_a_second_run_that_fails_or_reports_less_is_not_equal() -> None:
    assert not compared(*finished("one", 1.0), Outcome("one", Status.FAILED, error="x"))["equal"]
    assert compared(*finished("one", 1.0), replace(outcome(), results=()))["differing"] == ["test.score"]


def test_a_run_journals_its_check_and_a_second_one_has_nothing_to_check(tiny: Path, database: Path) -> None:
    suite = load_suite(tiny)
    request = Request(database, Selection(seeds=(0, 1, 2)), executor="inline")
    first = run_suite(suite, request, Watch())
    second = run_suite(suite, request, Watch())
    with open_reader(database) as reader:
        events = reader.events(kind="determinism")
        outcomes = reader.query("SELECT count(*) FROM trials WHERE status = 'done'").rows
        assert reader.events(kind="duplicate") == []
    assert [event["run_id"] for event in events] == [first.run_id]
    message = events[0]["detail"]
    message = json.loads(message) if isinstance(message, str) else message
    assert message["equal"] is True
    assert message["numbers"] >= 2
    assert outcomes == [(6,)]
    assert {row["metric"] for row in message["results"]} >= {"score"}
    assert second.reused == 6
    assert not list(database.parent.rglob("again"))


def test_a_repeated_trial_that_came_out_otherwise_makes_its_claim_invalid(tiny: Path, database: Path) -> None:
    suite = load_suite(tiny)
    selection = Selection(seeds=(0, 1, 2))
    result = run_suite(suite, Request(database, selection, executor="inline"), Watch())
    assert result.verdicts[0].verdict == "direction confirmed"
    with open_reader(database) as reader:
        [event] = reader.events(kind="determinism")
        message = event["detail"] if isinstance(event["detail"], dict) else json.loads(event["detail"])
    shifted = [{**row, "value": row["value"] + 0.5} for row in message["results"]]
    with Writer(database) as owner:
        owner.record(
            LogEvent(
                run_id=result.run_id, event_kind="determinism", detail={**message, "results": shifted, "equal": False}
            )
        )
    _, verdicts = judge_now(suite, selection, database)
    assert verdicts[0].verdict == "invalid"
    assert "nondeterminism" in verdicts[0].detail.reason


def counters(folder: Path, joules: dict[str, int], span: int = 10_000_000) -> Path:
    for name, value in joules.items():
        item = folder / name
        item.mkdir(parents=True, exist_ok=True)
        (item / "name").write_text("core\n" if name.count(":") == 2 else f"package-{name[-1]}\n")
        (item / "energy_uj").write_text(f"{value}\n")
        (item / "max_energy_range_uj").write_text(f"{span}\n")
    return folder


def test_joules_of_packages_are_added_and_a_counter_that_began_again_is_counted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    names = ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0")
    before = energy.reading(counters(tmp_path, dict.fromkeys(names, 9_000_000)))
    after = energy.reading(counters(tmp_path, {names[0]: 9_500_000, names[1]: 1_000_000, names[2]: 9_900_000}))
    assert energy.used(before, after) == {"cpu": pytest.approx(0.5 + 2.0)}


def test_a_machine_that_tells_nothing_gives_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert energy.reading(tmp_path / "absent") == {}
    folder = counters(tmp_path, {"intel-rapl:0": 5})
    (folder / "intel-rapl:0" / "energy_uj").write_text("no number")
    assert energy.reading(folder) == {}
    assert energy.used({}, {"cpu:x": (3.0, 10.0)}) == {}


@pytest.mark.parametrize(("visible", "handle"), [("1,0", "place 1"), ("GPU-5a", "uuid GPU-5a")])
def test_joules_of_the_gpu_that_is_seen_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str, handle: str
) -> None:
    import pynvml

    requested: list[str] = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    for name, function in {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetHandleByIndex": lambda place: f"place {place}",
        "nvmlDeviceGetHandleByUUID": lambda name: f"uuid {name}",
        "nvmlDeviceGetTotalEnergyConsumption": lambda device: requested.append(device) or 2500,
    }.items():
        monkeypatch.setattr(pynvml, name, function)
    assert energy.reading(tmp_path) == {f"gpu:{visible.split(',')[0]}": (2.5, 0.0)}
    assert requested == [handle]


def test_a_gpu_whose_counter_cannot_be_read_gives_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    def refuse(device: object) -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    for name in ("nvmlInit", "nvmlShutdown"):
        monkeypatch.setattr(pynvml, name, lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda place: place)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", refuse)
    assert energy.reading(tmp_path) == {}
