"""Workloads of preflight, its devices, and workers that die."""

from __future__ import annotations

import copy
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from harness.errors import HarnessError
from harness.plan.planning import Selection, make_plan
from harness.preflight import DEVICES, device
from harness.preflight.measure import rows_of_tables
from harness.preflight.rows import measured, works_of
from harness.preflight.work import Workload, cells_of, fixtures, key_of
from harness.registry.user_methods import UserMethod
from harness.suite import load_suite
from harness.trial.spec import TrialSpec


@pytest.fixture(scope="module")
def spec() -> TrialSpec:
    plan = make_plan(
        load_suite("adamp"), Selection("paper", benchmarks=("imagenet-resnet18",), arms=("adamp",), seeds=(0,))
    )
    return cells_of(plan)[0].work.spec


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
    assert {(cell.benchmark, cell.arm) for cell in cells} == {
        *plan.cells,
        ("imagenet-resnet18", "prerequisite:teacher"),
    }
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
