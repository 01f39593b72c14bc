"""Preflight: workloads, devices, workers that die, and the loader's rate."""

import copy
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness import registry
from harness.cli.check import _loaders, _row
from harness.errors import HarnessError
from harness.plan.planning import Selection, make_plan
from harness.preflight import DEVICES, PreflightSettings, device
from harness.preflight.doctor import examine
from harness.preflight.measure import Copies, Flops, reading_seconds, rows_of_tables
from harness.preflight.rows import ConfigurationResult, _result, measured, works_of
from harness.preflight.work import Measurement, PreflightConfiguration, Workload, cells_of, fixtures, key_of
from harness.registry.user_methods import UserMethod
from harness.suite import load_suite
from harness.trial.assembly import assemble
from harness.trial.runtime import Runtime
from harness.trial.spec import TrialSpec


def configuration_of(scale: str, benchmark: str, **overrides: object) -> PreflightConfiguration:
    chosen = Selection(scale, benchmarks=(benchmark,), arms=("adamp",), seeds=(0,), overrides=overrides)
    return cells_of(make_plan(load_suite("adamp"), chosen))[0]


@pytest.fixture(scope="module")
def spec() -> TrialSpec:
    return configuration_of("paper", "imagenet-resnet18").work.spec


def changed(spec: TrialSpec, *path: str, value: Any) -> TrialSpec:
    other = copy.deepcopy(spec.to_json())
    target = other
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return TrialSpec.from_json(other)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("seed",), 7),
        (("slots", "optimizer", "lr"), 0.5),
        (("slots", "optimizer", "weight_decay"), 1e-5),
        (("slots", "optimizer", "wd_ratio"), 0.2),
        (("recipe", "epochs"), 3),
        (("recipe", "schedule"), "step"),
    ],
)
def test_lengths_and_sizes_are_no_other_step(spec: TrialSpec, path: tuple[str, ...], value: Any) -> None:
    assert key_of(changed(spec, *path, value=value)) == key_of(spec)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("slots", "optimizer", "weight_decay"), 0.0),
        (("slots", "optimizer", "wd_ratio"), 1.0),
        (("slots", "optimizer", "delta"), float("inf")),
        (("slots", "optimizer", "project"), False),
        (("slots", "optimizer", "name"), "adamw"),
        (("recipe", "cutmix"), 1.0),
        (("recipe", "frozen_bn"), True),
        (("data", "size"), 192),
        (("model", "arch"), "resnet50"),
    ],
)
def test_what_switches_parts_on_or_off_is_another_step(spec: TrialSpec, path: tuple[str, ...], value: Any) -> None:
    assert key_of(changed(spec, *path, value=value)) != key_of(spec)


def test_every_cell_is_there_and_the_first_arm_of_a_benchmark_shows_everything() -> None:
    plan = make_plan(load_suite("nkd"), Selection("paper", benchmarks=("imagenet-resnet18",), seeds=(0,)))
    cells = cells_of(plan)
    expected = {*plan.cells, ("imagenet-resnet18", "prerequisite:teacher")}
    assert {(cell.benchmark, cell.arm) for cell in cells} == expected
    works = works_of(cells)
    assert sum(work.whole for work in works.values()) == 2  # the teacher's, and the first arm's
    assert all(cell.work.key in works for cell in cells)


def test_devices_run_at_the_precision_that_they_have() -> None:
    assert device("A100") is DEVICES["a100"]
    assert DEVICES["a100"].peak("float32") == 19.5
    assert DEVICES["a100"].peak("bfloat16") == 312.0
    assert DEVICES["v100"].peak("bfloat16") == DEVICES["v100"].peak("float32") == 15.7
    assert DEVICES["v100"].peak("float16") == 125.0
    with pytest.raises(HarnessError, match="did you mean 'rtx4090'"):
        device("rtx409")


@pytest.mark.full
def test_a_process_that_dies_fails_its_own_work_and_is_replaced(spec: TrialSpec, tmp_path: Path) -> None:
    deadly = tmp_path / "deadly.py"
    deadly.write_text("import os\n\nos._exit(3)\n")
    method = UserMethod("deadly", deadly, "Deadly", "optimizer", "sgd")
    unknown = changed(spec, "task", value="no-such-task")
    works = [Workload("a", spec, own_methods=(method,)), Workload("b", unknown)]
    answers = {work.key: answer for work, answer in measured(works, jobs=1, timeout=120)}
    assert "exit 3" in str(answers["a"].error)
    assert answers["a"].stage == "process"
    assert "unknown task 'no-such-task'" in str(answers["b"].error)
    assert answers["b"].stage == "build"


@pytest.mark.full
def test_a_process_that_takes_too_long_is_ended(spec: TrialSpec, tmp_path: Path) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text("import time\n\ntime.sleep(600)\n")
    method = UserMethod("slow", slow, "Slow", "optimizer", "sgd")
    ((_, answer),) = measured([Workload("a", spec, own_methods=(method,))], jobs=1, timeout=2)
    assert (answer.stage, answer.error) == ("process", "took longer than 2 s")
    assert multiprocessing.active_children() == []


def test_a_table_of_all_items_counts_at_the_published_size() -> None:
    from methods.distillation.self_distillation import PSKD

    model = nn.Sequential(nn.Linear(3, 7), PSKD(items=2, classes=7))
    assert rows_of_tables(model) == 7 * 4 + 1
    assert fixtures().training_items("cifar100") == 50_000


def result(
    read_seconds: float | None, flops: int = 10**9, device: str = "h100", **overrides: object
) -> ConfigurationResult:
    cell = configuration_of("paper", "imagenet-resnet18", **overrides)
    measured = Measurement(stage="done", flops=flops, read_seconds=read_seconds)
    return _result(cell, cell.work, measured, PreflightSettings(DEVICES[device], utilisation=0.5))


def test_the_need_of_a_step_is_its_arithmetic_on_the_device() -> None:
    match = result(0.002, loader_workers=4)
    assert match.loader_items == pytest.approx(4 / 0.002)
    # A micro-batch of two items takes 10⁹ operations, half of 67 · 10¹² a second are reached.
    assert match.step_items == pytest.approx(2 * 0.5 * 67e12 / 1e9)
    assert match.headroom == pytest.approx(2000 / match.step_items)


def test_more_threads_read_more_and_the_rest_stays() -> None:
    few, many = result(0.002, loader_workers=1), result(0.002, loader_workers=8)
    assert many.headroom == pytest.approx(8 * (few.headroom or 0))
    assert result(0.002).readers == result(0.002, loader_workers=0).readers == 1
    assert result(0.002, threads=3).readers == 3


def test_what_starves_is_told_with_what_it_takes() -> None:
    slow, fast = result(0.002, loader_workers=2), result(0.002, flops=10**12, loader_workers=2)
    (line,) = _loaders((fast, slow))  # of a benchmark's configurations the one that would wait first
    assert line.startswith("adamp/imagenet-resnet18: loader: 1,000 items/s; step needs 67,000 items/s on this device")
    assert line.endswith("which would wait: on such cores set loader_workers to 134")
    (line,) = _loaders((fast,))
    assert line.endswith(f"a device {fast.headroom:.1f} times faster would wait")
    assert "×15" in _row(fast)


def test_what_lies_in_memory_needs_no_loader() -> None:
    match = result(None)
    assert match.loader_items is None
    assert match.headroom is None
    assert list(_loaders((match,))) == []
    assert "memory" in _row(match)


@pytest.mark.parametrize(("scale", "files"), [("paper", True), ("mini", False)])
def test_the_time_of_reading_is_taken_where_files_are_read(scale: str, files: bool, tmp_path: Path) -> None:
    spec = configuration_of(scale, "dcase").work.spec
    data, root = Copies(tmp_path).data(spec.data)
    spec = type(spec).from_json({**spec.to_json(), "data": {**data.to_json(), "content": {}}})
    task = assemble(spec, Runtime(tmp_path, torch.device("cpu"), registry.load, root or tmp_path))
    task.build()
    seconds = reading_seconds(task)
    assert (seconds is not None and 0 < seconds < 1) == files


def test_a_composite_operation_counts_as_its_parts() -> None:
    with torch.inference_mode(), Flops() as counted:
        nn.functional.linear(torch.ones(2, 3), torch.ones(4, 3))
        torch.ones(2, 3) @ torch.ones(3, 4)
    assert counted.total == 2 * (2 * 2 * 3 * 4)


def test_weights_are_written_once_and_only_for_a_source_that_has_a_copy(tmp_path: Path) -> None:
    copies = Copies(tmp_path)
    assert copies.weights("no-such-source") is None
    own = tmp_path / "weights" / "mine.pth"
    own.parent.mkdir(exist_ok=True)
    own.touch()
    assert copies.weights("mine") == own


def test_a_check_of_the_machine_that_fails_is_a_finding(tmp_path: Path) -> None:
    database = tmp_path / "h.duckdb"
    works = {finding.what: finding.works for finding in examine(database, with_ray=False)}
    assert works["database"]
    database.write_text("no database")
    findings = {finding.what: finding for finding in examine(database, with_ray=False)}
    assert not findings["database"].works
    assert "HarnessError" not in findings["database"].detail
    assert str(database) in findings["database"].detail
