"""Every registered task: repeats itself, resumes, declares its metrics, refuses bad options, learns from targets."""

import ast
import dataclasses
import json
import math
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from contract_cells import CELLS, plan_of, run, series_of, task_of, tensors, trial_of, with_shuffled_targets

from harness import registry
from harness.errors import HarnessError
from harness.suite import load_suite
from harness.trial.options import Option

TASKS = sorted({name for name, entry in registry.entries("task").items() if not entry.metadata.program} - {"imported"})
"""Tasks of the shared loop: imported results run no trial, and programs have their own test."""
every_task = pytest.mark.parametrize("task", TASKS)
UNLIKE = ("classification", "detection", "retrieval", "sensing", "translation")
"""Tasks with targets of unlike kinds; the others train in the slow tier."""
SLOW = pytest.mark.slow


def test_every_task_has_a_cell() -> None:
    assert set(CELLS) == set(TASKS), "a new task: add a cheap configuration to CELLS, on shipped or generated data"
    assert all(trial_of(plan_of(task, "smoke")).spec.task == task for task in TASKS)


@every_task
def test_a_trial_repeats_itself_and_goes_on_from_a_checkpoint_to_the_last_bit(task: str, tmp_path: Path) -> None:
    plan = plan_of(task, "smoke")
    whole = run(plan, tmp_path / "whole")
    with pytest.raises(InterruptedError):
        run(plan, tmp_path / "cut", stopped_in_step(2), checkpoint_seconds=0.0)
    assert (tmp_path / "cut" / "trial" / "checkpoint.pt").is_file()
    resumed = run(plan, tmp_path / "cut")
    again = run(plan, tmp_path / "again")
    assert whole.status == "done"
    assert repr(whole.results) == repr(again.results) == repr(resumed.results)
    assert repr(series_of(whole)) == repr(series_of(again)) == repr(series_of(resumed))
    assert series_of(whole)["train", "loss"]
    declared = set(registry.entry("task", task).metadata.metrics)
    reported = {metric for _, metric, _ in whole.results if not metric.startswith("mechanism.")}
    assert reported
    assert reported <= declared
    assert {split for split, _, _ in whole.results} <= {"train", "validation", "test"}
    assert all(math.isfinite(value) for _, metric, value in whole.results if metric in declared)


def stopped_in_step(number: int) -> Any:
    """Components whose task is interrupted when step ``number`` (from 0) is to be taken."""

    def components(kind: Any, name: str) -> Any:
        part = registry.load(kind, name)
        if kind != "task":
            return part

        class Interrupted(part.target):  # type: ignore[misc]
            def optimize(self, batch: Any, step: int, update: Any) -> Any:
                if step == number:
                    raise InterruptedError
                return super().optimize(batch, step, update)

        return dataclasses.replace(part, target=Interrupted)

    return components


@every_task
def test_batches_are_a_function_of_the_epoch_and_scores_leave_the_network_alone(task: str, tmp_path: Path) -> None:
    created = task_of(plan_of(task, "smoke"), tmp_path)
    model = created.build().train()
    if task != "synthetic":  # its batches are numbers, and it scores any split
        first, later, again = ([tensors(batch) for batch in islice(created.batches(epoch), 2)] for epoch in (0, 1, 0))
        alike = [all(map(torch.equal, mine, theirs)) for mine, theirs in zip(first, again, strict=True)]
        assert all(alike)
        assert repr(first) != repr(later)
        assert created.evaluate("nothing").metrics == {}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    created.evaluate("validation")
    assert all(part.training for part in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@every_task
def test_another_seed_and_other_threads_are_other_trials(task: str, tmp_path: Path) -> None:
    plans = [plan_of(task, "smoke"), plan_of(task, "smoke", seed=1), plan_of(task, "smoke", threads=2)]
    assert len({trial_of(plan).spec_id for plan in plans}) == 3


@pytest.mark.full
@pytest.mark.parametrize("task", [task if task in UNLIKE else pytest.param(task, marks=SLOW) for task in TASKS])
def test_shuffled_targets_teach_nothing(task: str, tmp_path: Path) -> None:
    cell = CELLS[task]
    if cell.untaught:
        pytest.skip(f"{task}: {cell.untaught}")
    plan = plan_of(task, "mini", evaluations=1, diagnostics="off", **cell.learning)
    ways = []
    for components in (registry.load, with_shuffled_targets):
        outcome = run(plan, tmp_path / components.__name__, components)
        scores = {metric: value for split, metric, value in outcome.results if split == "test"}
        trivial = scores[f"trivial.{cell.metric}"]
        ways.append((scores[cell.metric] - trivial) / (cell.perfect - trivial))
    assert ways[0] > cell.least, ways
    assert ways[1] < cell.least / 3, ways


def wrong_values(key: Option) -> list[Any]:
    """Values that a key cannot have: of another type, out of its bounds, not among its choices."""
    values: list[Any] = [] if key.type == "any" else [["a list"] if key.type != "list" else 3]
    if key.choices:
        values.append("another choice" if isinstance(key.choices[0], str) else -77)
    if key.low is not None:
        values.append(key.low - 1)
    if key.high is not None:
        values.append(key.high + 1)
    if not key.optional:
        values.append(None)
    return values


@every_task
def test_options_that_it_does_not_have_are_refused_with_their_place(task: str, tmp_path: Path) -> None:
    spec = trial_of(plan_of(task, "smoke")).spec
    keys = registry.entry("task", task).options
    wrong = [("no_such_option", 1), *((name, value) for name, key in keys.items() for value in wrong_values(key))]
    data = spec.data.to_json()
    metric = registry.entry("task", task).metadata.metrics[0]
    benchmarks = {
        f"b{number}": {
            "define": {
                "benchmark": f"b{number}",
                "title": name,
                "task": task,
                "metrics": {metric: {"unit": "1", "better": "higher"}},
                "mini": {"data": data, "model": spec.model.to_json(), "recipe": {"steps": 1, name: value}},
            }
        }
        for number, (name, value) in enumerate(wrong)
    }
    file = tmp_path / "wrong.yaml"
    arms = {"one": {"role": "baseline", "optimizer": {"name": "sgd", "lr": 0.1}}}
    file.write_text(json.dumps({"suite": "wrong", "title": "Wrong", "arms": arms, "benchmarks": benchmarks}, indent=1))
    with pytest.raises(HarnessError) as refused:
        load_suite(file)
    assert refused.value.exit_code == 2
    missed = [(name, value) for name, value in wrong if f"'{name}'" not in str(refused.value)]
    assert not missed, refused.value
    assert str(refused.value).count("wrong.yaml:") == len(wrong), refused.value


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no other device than the CPU")
@every_task
def test_a_trial_computes_where_it_is_told(task: str, tmp_path: Path) -> None:
    plan = plan_of(task, "smoke")
    outcome = run(plan, tmp_path, device=torch.device("cuda", torch.cuda.device_count() - 1))
    assert outcome.status == "done", outcome.error
    declared = set(registry.entry("task", task).metadata.metrics)
    assert all(math.isfinite(value) for _, metric, value in outcome.results if metric in declared)


@pytest.mark.parametrize("kind", ["task", "model", "method"])
def test_no_module_names_a_device(kind: Any) -> None:
    """A device is what the context or a tensor at hand says; where draws are on the CPU on purpose, none is named."""
    modules = {entry.module for entry in registry.entries(kind).values()}
    named = []
    # another test may have registered a file
    for module in sorted(module for module in modules if module.startswith(("methods.", "suites."))):
        path = Path(*module.split(".")).with_suffix(".py")
        for node in ast.walk(ast.parse((Path(__file__).parents[2] / path).read_text(encoding="utf-8"))):
            literal = isinstance(node, ast.Constant) and str(node.value).split(":")[0] in ("cuda", "mps", "xpu")
            moved = isinstance(node, ast.Attribute) and node.attr in ("cuda", "mps", "set_default_device")
            if literal or moved:
                named.append(f"{path}:{node.lineno}")
    assert not named
