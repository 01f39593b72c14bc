"""Language models use the order of words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from task_lab import Cell, train

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
