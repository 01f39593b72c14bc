"""Every task at tiny sizes: builds, steps, learns, repeats itself, and learns nothing from shuffled labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from task_lab import Cell, train

from suites.data.types import Images, Text

DIGITS = Cell(
    "suites.tasks.classification:classification",
    "suites.data.digits:digits",
    "suites.models.cnn:bn-cnn",
    {"batch_size": 20},
    {"train": 100, "validation": 100},
    {"widths": [8, 16], "strides": [2, 2]},
)
RETRIEVAL = Cell(
    "suites.tasks.retrieval:retrieval",
    "suites.data.digits_by_class:digits-by-class",
    "suites.models.embedding:embedding",
    {"batch_size": 20},
    {"images_per_class": 10, "noise": 0.1},
    {"widths": [16, 32], "dimension": 16},
)
TRIPLETS = replace(
    RETRIEVAL, recipe={"batch_size": 20, "loss": "triplet-semihard", "margin": 0.2, "images_per_class": 4}
)
LANGUAGE = Cell(
    "suites.tasks.language_modelling:language-modelling",
    "suites.data.help_topics:help-topics",
    "suites.models.transformer_lm:transformer-lm",
    {"batch_size": 8, "length": 16, "eval_batch": 8},
    {"min_count": 10},
    {"layers": 1, "width": 32, "heads": 2, "inner": 32},
)
XL = replace(
    LANGUAGE,
    model="suites.models.transformer_xl:transformer-xl",
    model_keys={"layers": 1, "width": 32, "heads": 2, "head_width": 16, "inner": 32, "memory": 16, "deviation": 0.1},
)
WEIGHT_NORM = replace(LANGUAGE, model_keys={**LANGUAGE.model_keys, "weight_norm": True})
CELLS = {
    "classification": DIGITS,
    "retrieval-proxies": RETRIEVAL,
    "retrieval-triplets": TRIPLETS,
    "language": LANGUAGE,
    "language-xl": XL,
    "language-weight-norm": WEIGHT_NORM,
}


@pytest.mark.parametrize("name", CELLS)
def test_two_runs_of_one_seed_are_equal_to_the_last_bit(name: str) -> None:
    def once() -> tuple[list[float], dict[str, float]]:
        task = CELLS[name].build(3)
        _, losses = train(task, 3)
        return losses, dict(task.evaluate("test").metrics)

    assert once() == once()


@pytest.mark.parametrize("name", CELLS)
def test_two_seeds_differ_in_split_weights_and_order(name: str) -> None:
    tasks = [CELLS[name].build(seed) for seed in (0, 1)]
    models = [task.build() for task in tasks]
    weights = [next(p for p in model.parameters() if p.dim() > 1) for model in models]
    assert weights[0].shape != weights[1].shape or not torch.equal(*weights)
    batches = [next(iter(task.batches(0))) for task in tasks]
    assert not torch.equal(_inputs(batches[0]), _inputs(batches[1]))


@pytest.mark.parametrize("name", CELLS)
def test_batches_are_a_function_of_the_epoch_alone(name: str) -> None:
    task = CELLS[name].build(0)
    task.build()
    later, first, again = (list(task.batches(epoch)) for epoch in (1, 0, 1))
    assert len(later) == task.steps_per_epoch()
    assert all(torch.equal(_inputs(a), _inputs(b)) for a, b in zip(later, again, strict=True))
    assert not all(torch.equal(_inputs(a), _inputs(b)) for a, b in zip(later, first, strict=True))


@pytest.mark.parametrize("name", CELLS)
def test_reports_the_metrics_that_its_record_names(name: str) -> None:
    task = CELLS[name].build(0)
    task.build()
    for split in ("validation", "test"):
        metrics = task.evaluate(split).metrics
        assert set(metrics) == set(task.card.metrics)
        assert all(np.isfinite(value) for value in metrics.values())
    assert task.evaluate("nothing").metrics == {}


@pytest.mark.parametrize("name", CELLS)
def test_evaluation_leaves_modes_and_weights_alone(name: str) -> None:
    task = CELLS[name].build(0)
    model = task.build()
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    task.evaluate("test")
    assert all(part.training for part in model.modules())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


# Share of the way from trivial to perfect that three seeds reach on average with these tiny networks.
LEAST = {"classification": 0.7, "retrieval-proxies": 0.27, "retrieval-triplets": 0.27}


@pytest.mark.parametrize("name", LEAST)
def test_learns_from_labels_and_not_from_shuffled_ones(name: str) -> None:
    cell = CELLS[name]
    metric = "top1-accuracy" if name == "classification" else "recall-at-1"
    margins = []
    for seed in range(3):
        task = cell.build(seed)
        train(task, 200)
        scores = task.evaluate("test").metrics
        data = cell.data_for(seed)
        control = cell.build(seed, data=_shuffled_labels(data))
        train(control, 200)
        without = control.evaluate("test").metrics[metric]
        trivial = scores[f"trivial.{metric}"]
        margins.append(((scores[metric] - trivial) / (100 - trivial), (without - trivial) / (100 - trivial)))
    learnt, shuffled = np.mean(margins, axis=0)
    assert learnt > LEAST[name] > shuffled + 0.1, margins


@pytest.mark.parametrize("name", ["language", "language-xl", "language-weight-norm"])
def test_language_models_use_order_and_not_only_frequencies(name: str) -> None:
    cell = CELLS[name]
    ratios = []
    for iid in (False, True):
        task = replace(cell, recipe={**cell.recipe, "iid": iid}).build(0)
        train(task, 250)
        scores = task.evaluate("test").metrics
        ratios.append(scores["perplexity"] / scores["trivial.perplexity"])
    assert ratios[0] < 0.9, ratios
    assert ratios[1] > 0.98, ratios


@pytest.mark.parametrize("name", CELLS)
def test_loss_falls(name: str) -> None:
    task = CELLS[name].build(0)
    _, losses = train(task, 60)
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def _inputs(batch: Any) -> torch.Tensor:
    return batch.tokens if hasattr(batch, "tokens") else batch.images


def _shuffled_labels(data: Images | Text) -> Images:
    assert isinstance(data, Images)
    part = data.splits["train"]
    labels = np.random.default_rng(0).permutation(part.labels)
    return replace(data, splits={**data.splits, "train": replace(part, labels=labels)})
