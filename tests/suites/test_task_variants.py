"""Variants of tasks that the contracts leave out: the triplet loss learns, language models use the order of words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from task_lab import Cell, train

TRIPLETS = Cell(
    "suites.tasks.retrieval:retrieval",
    "suites.data.digit_numbers:digits-by-class",
    "suites.models.embedding:embedding",
    {"batch_size": 20, "loss": "triplet-semihard", "margin": 0.2, "images_per_class": 4},
    {"images_per_class": 10, "noise": 0.1},
    {"widths": [16, 32], "dimension": 16},
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
CELLS = {"language": LANGUAGE, "language-xl": XL, "language-weight-norm": WEIGHT_NORM}


@pytest.mark.full
@pytest.mark.parametrize("name", CELLS)
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


@pytest.mark.full
def test_triplets_learn_to_tell_unseen_classes_apart() -> None:
    margins = []
    for seed in range(3):
        task = TRIPLETS.build(seed)
        train(task, 200)
        scores = task.evaluate("test").metrics
        trivial = scores["trivial.recall-at-1"]
        margins.append((scores["recall-at-1"] - trivial) / (100 - trivial))
    assert np.mean(margins) > 0.27, margins
