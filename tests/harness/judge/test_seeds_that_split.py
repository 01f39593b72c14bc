"""Seeds that split one pool: r = n_test/n_train follows from the data block."""

import math
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from harness import registry
from harness.judge.bindings import claim_designs
from harness.judge.design import ClaimDesign
from harness.judge.evidence import StoredTrial
from harness.judge.judging import judge_designs
from harness.plan.planning import make_plan
from harness.suite import load_suite
from harness.vocabulary import Verdict

NOW = datetime(2026, 1, 1)
SUITE = """
suite: halves
seeds: {{min: {seeds}}}
arms:
  base: {{optimizer: {{name: sgd, lr: 0.1}}}}
  ours: {{optimizer: {{name: sgd, lr: 0.2}}}}
benchmarks:
  digits:
    task: classification
    mini: {{data: {data}, model: {{name: mlp}}, recipe: {{steps: 2, batch_size: 10}}}}
    metrics: {{top1-accuracy: {{unit: percent, better: higher}}}}
compare: [{{arm: ours, against: [base], metric: top1-accuracy, primary: true}}]
"""
POOLED = "{name: digits, train: 300, validation: 1297}"  # 300 to train on and 200 to test, 60/40 of 500


def design_of(folder: Path, seeds: int, data: str = POOLED) -> ClaimDesign:
    (folder / "halves.yaml").write_text(SUITE.format(seeds=seeds, data=data))
    suite = load_suite(folder / "halves.yaml")
    (design,) = claim_designs(suite, make_plan(suite), sequential=False)
    return design


@pytest.mark.parametrize(
    ("source", "options", "ratio"),
    [
        ("digits", {"train": 300, "validation": 300}, 1197 / 300),
        ("biased-digits", {"bias": "texture", "train": 800, "validation": 300}, 517 / 800),
        ("biased-digits", {"bias": "colour", "train": 1000, "validation": 200}, 597 / 1000),
        ("iris", {"split": {"validation": 0.1, "test": 0.2}}, 2 / 7),
        ("iris", {"split": {"val": 15, "test": 30}}, 2 / 7),
        ("cifar100", {}, 0.0),  # a fixed test set
        ("table", {"split": {"test": 0.2}}, 0.0),  # the file may have its own splits: not guessed
    ],
)
def test_the_ratio_of_a_data_block(source: str, options: dict[str, object], ratio: float) -> None:
    assert registry.entry("data", source).metadata.test_to_train(options) == pytest.approx(ratio)


def test_a_design_has_the_ratio_of_its_data_block(tmp_path: Path) -> None:
    assert design_of(tmp_path, 3).blocks[0].resampled == pytest.approx(2 / 3)


def accuracies(draw: np.random.Generator, seeds: int, items: int = 500, half: int = 8) -> dict[str, list[float]]:
    """Ridge on exchangeable halves of the features, 60/40 splits of a pool."""
    y = draw.integers(0, 2, items)
    x = draw.standard_normal((items, 2 * half)) + 0.32 * (2 * y[:, None] - 1)
    scores: dict[str, list[float]] = {"ours": [], "base": []}
    for _ in range(seeds):
        train, test = np.split(draw.permutation(items), [300])
        for arm, kept in (("ours", slice(0, half)), ("base", slice(half, None))):
            a = x[train, kept]
            weights = np.linalg.solve(a.T @ a + np.eye(half), a.T @ (2 * y[train] - 1))
            scores[arm].append(100 * float(np.mean((x[test, kept] @ weights > 0) == (y[test] == 1))))
    return scores


@pytest.mark.full
@pytest.mark.parametrize("seeds", [3, 6, 12])
def test_equal_learners_on_splits_of_one_pool(tmp_path: Path, seeds: int) -> None:
    """At most 6 % of false positives within two standard errors; independent pairs would give 14, 26 and 45 %."""
    repeats = 1000
    design, draw = design_of(tmp_path, seeds), np.random.default_rng(20261203)
    (block,) = design.blocks
    false = 0
    for _ in range(repeats):
        scores = accuracies(draw, seeds)
        evidence = {
            trial: StoredTrial(trial, "done", "here", {("test", "top1-accuracy"): scores[arm][seed]})
            for arm in ("ours", "base")
            for seed, trial in block.cells[arm].items()
        }
        ((_, row),) = judge_designs([design], evidence, {}, NOW)
        false += Verdict.of(row.verdict).decisive
    share = false / repeats
    print(f"{seeds} seeds: {100 * share:.1f} ± {100 * math.sqrt(share * (1 - share) / repeats):.1f} %")
    assert share <= 0.06 + 2 * math.sqrt(0.06 * 0.94 / repeats)
