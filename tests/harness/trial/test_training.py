"""The shared loop: schedules, pairing, repeatability, divergence, deadlines."""

import dataclasses
import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from harness import registry
from harness.data.roots import data_root
from harness.execute.outcome import Outcome
from harness.execute.worker import Job, run_job
from harness.plan.planning import Selection, Trial, make_plan
from harness.suite import load_suite
from harness.trial.assembly import assemble, share_weights
from harness.trial.loop import Loop, train
from harness.trial.recipe import Recipe, evenly, factors, log_spaced, recipe_from, task_values
from harness.trial.runtime import Runtime
from harness.trial.seeds import Streams, derive, seed_torch


def runtime(folder: Path) -> Runtime:
    return Runtime(folder, torch.device("cpu"), registry.load, data_root())


def trial_of(suite: Path | str, arm: str, seed: int = 0, **overrides: object) -> Trial:
    plan = make_plan(load_suite(suite), Selection(seeds=tuple(range(seed + 1)), arms=(arm,), overrides=overrides))
    return next(trial for trial in plan.trials if trial.seed == seed)


def outcome_of(trial: Trial, folder: Path, **more: object) -> Outcome:
    return run_job(Job(trial.trial_id, trial.benchmark, trial.arm, trial.spec, folder, **more), lambda *_: None)  # type: ignore[arg-type]


def test_schedules() -> None:
    cosine = Recipe(steps=100, schedule="cosine", warmup=0.1)
    values = [factors(cosine, 100)(step) for step in range(100)]
    assert values[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert values[10] == pytest.approx(1.0)
    assert all(a > b for a, b in itertools.pairwise(values[10:]))
    steps = Recipe(schedule="step", milestones=(0.5, 0.75), gamma=0.1)
    assert [factors(steps, 100)(s) for s in (0, 49, 50, 74, 75)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    linear = Recipe(schedule="linear", min_lr_ratio=0.5)
    assert factors(linear, 100)(50) == pytest.approx(0.75)
    root = Recipe(schedule="inverse-sqrt", warmup=10)
    assert factors(root, 100)(9) == pytest.approx(1.0)
    assert factors(root, 100)(39) == pytest.approx(0.5)


@pytest.mark.parametrize("total", [1, 2, 7, 49, 50, 51, 600, 100_000])
def test_logged_steps_hold_the_last_one(total: int) -> None:
    assert max(evenly(total, 5)) == total - 1
    spaced = log_spaced(total)
    assert {0, total - 1} <= spaced
    assert len(spaced) <= 50 or total <= 50


def test_streams_are_named_and_counted() -> None:
    streams = Streams(3)
    assert streams.by_step("noise")(7) == streams.number("noise", 7)
    assert streams.by_step("noise", "replica", 2)(7) == streams.number("noise", 7, "replica", 2)
    with pytest.raises(ValueError, match="no random stream 'noize'"):
        streams.by_step("noize")
    assert streams.number("order", 1) == derive("order", 3, 1)
    numbers = {Streams(s).number(n, p) for s in range(5) for n in ("order", "augment", "init") for p in range(5)}
    assert len(numbers) == 75
    with pytest.raises(ValueError, match="no random stream 'oder'"):
        streams.number("oder")


def test_extra_layers_take_over_the_shared_weights() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    torch.manual_seed(0)
    extra = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(2, 2))
    extra[1].weight.data.zero_()
    shared = share_weights(plain, extra)
    assert shared == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert torch.equal(plain[1].weight, extra[1].weight)


def test_a_trial_repeats_to_the_last_bit_whatever_ran_before(tmp_path: Path) -> None:
    first = trial_of("adamp", "adamp", steps=30)
    other = trial_of("adamp", "sgd", seed=1, steps=20)
    alone = outcome_of(first, tmp_path / "a")
    outcome_of(other, tmp_path / "b")
    torch.manual_seed(12345)
    after = outcome_of(first, tmp_path / "c")
    assert alone.status == "done"
    assert alone.results == after.results
    for item, two in zip(alone.series, after.series, strict=True):
        assert item.value == two.value


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_trains(precision: str, tmp_path: Path) -> None:
    outcome = outcome_of(trial_of("adamp", "adamp", steps=10, precision=precision), tmp_path)
    assert outcome.status == "done", outcome.error
    final = {r.metric: r.value for r in outcome.results}
    assert math.isfinite(final["loss"])


def test_a_recipe_keeps_the_tasks_own_keys_apart() -> None:
    recipe = recipe_from({"steps": 5, "optimizer": {"adam": {}}, "augment": "shift"})
    assert recipe.steps == 5
    assert task_values({"steps": 5, "optimizer": {"adam": {}}, "augment": "shift"}) == {"augment": "shift"}
    assert Recipe(epochs=2.5).total_steps(10) == 25
    assert Recipe(steps=100, max_steps=4).total_steps(10) == 4


@pytest.mark.parametrize("select", ["last", "best_on_validation"])
def test_the_final_validation_is_that_of_the_selected_weights(select: str, tmp_path: Path) -> None:
    trial = trial_of("adamp", "adamw", steps=40, evaluations=8, select=select, selection_metric="top1-accuracy")
    outcome = train(trial.spec, runtime(tmp_path))
    series = next(item for item in outcome.series if (item.split, item.name) == ("validation", "top1-accuracy"))
    final = {name: value for split, name, value in outcome.results if split == "validation"}
    assert len(set(series.value)) > 1
    assert final["top1-accuracy"] == (series.value[-1] if select == "last" else max(series.value))


def test_a_language_model_measures_its_validation_anew_after_a_step(tmp_path: Path) -> None:
    selection = Selection(seeds=(0,), arms=("layer",), benchmarks=("ptb",), overrides={"steps": 3})
    trial = make_plan(load_suite("powernorm"), selection).trials[0]
    task = assemble(trial.spec, runtime(tmp_path))
    loop = Loop(task, task.build(), runtime(tmp_path))
    before = task.evaluate("validation").metrics["perplexity"]
    assert task.mechanisms() == {"validation_perplexity": before}
    loop.take_step(0, next(iter(task.batches(0))))
    after = task.mechanisms()["validation_perplexity"]
    assert after != before
    assert after == task.evaluate("validation").metrics["perplexity"]


def test_a_metric_that_the_card_does_not_declare_is_an_error(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from suites.tasks.synthetic import Synthetic

    trial = trial_of(tiny, "base")
    monkeypatch.setattr(Synthetic, "metadata", dataclasses.replace(Synthetic.metadata, metrics=("scores", "distance")))
    outcome = outcome_of(trial, tmp_path)
    assert outcome.status == "failed"
    message = (
        "the task 'synthetic' reports 'score' on validation, which its metadata does not declare; did you mean 'scores'"
    )
    assert message in str(outcome.error)
    assert outcome.results == ()


@pytest.mark.parametrize("number", [0, 1, 12345, 2**63 - 1])
def test_seeding_draws_what_torch_manual_seed_draws(number: int) -> None:
    torch.manual_seed(number)
    expected = torch.rand(5)
    seed_torch(number)
    assert torch.equal(torch.rand(5), expected)
    assert torch.initial_seed() == number
