"""Cross-domain sensing: learns, repeats itself, and knows nothing of the target's hidden labels."""

from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from harness import registry
from harness.data.roots import data_root
from harness.errors import HarnessError
from harness.plan.planning import Selection, make_plan
from harness.suite import load_suite
from harness.trial.loop import train
from harness.trial.result import TrainingResult
from harness.trial.runtime import Runtime
from harness.trial.seeds import Streams
from methods.alignment.knn_baselines import FEATURES
from methods.alignment.stopping import StoppingOptions, StoppingRule
from suites.data.csi_domains import CsiDomain
from suites.tasks.sensing import SensingOptions
from suites.tasks.sensing_scores import Epochs
from suites.tasks.target_domain import draw_shots, help_set

SUITE = """
suite: sensed
title: Sensing at a tiny size
seeds: {min: 1, max: 3}
arms:
  source-only: {role: baseline, adaptation: source-only}
  in-domain: {role: ablation, adaptation: source-only, set: {train_on: target}}
  knn-mmd: {role: method, adaptation: knn-mmd}
  released: {role: ablation, adaptation: {name: knn-mmd, support: released, global_target: paper}, set: {shots: 2}}
  leak: {role: ablation, adaptation: knn-mmd, set: {oracle_labels: true}}
  bn-source: {role: ablation, adaptation: knn-mmd, set: {batch_norm: source}}
  mmd: {role: ablation, adaptation: mmd}
  dann: {role: ablation, adaptation: {name: dann, feature_channels: 16}}
  deep-coral: {role: ablation, adaptation: deep-coral}
  fine-tune: {role: ablation, adaptation: fine-tune}
  majority: {role: ablation, adaptation: majority}
  knn-raw: {role: ablation, adaptation: knn-raw}
  knn-static: {role: ablation, adaptation: knn-static}
  knn-motion: {role: ablation, adaptation: knn-motion}
benchmarks:
  simulated:
    define:
      benchmark: simulated
      title: Simulated channel
      task: sensing
      reference_arm: source-only
      metrics: {balanced-accuracy: {unit: percent, better: higher}}
      mini:
        data: {name: channel-simulator, people: 4, actions: 3, recordings: 4, target_recordings: 8, steps: 12,
               fingerprint: 0.1, jitter: 0.01, shift: 0.5}
        model: {name: csi-resnet18, width: 4, dimension: 16}
        recipe:
          epochs: 6
          batch_size: 24
          reduce: none
          stop_earliest: 2
          stop_latest: 5
          stop_patience: 1
          fluctuation_epochs: 4
          evaluations: 3
          clip_norm: 3.0
          slots: {optimizer: adam}
          optimizer: {adam: {lr: 3e-3, weight_decay: 1e-3}}
facts: []
"""
# Quantities computed from the target's hidden labels, beside the scores on the test split.
HINDSIGHT = (
    *(f"{quality}.{space}" for quality in ("purity", "skill") for space in ("help", *FEATURES)),
    *(f"mmd_over_floor{part}" for part in ("", ".whole", ".classes")),
    "purity.knn",
    "misaligned_share",
    "spearman_support_loss",
    "stop_minus_oracle_gap",
    "target_skill",
)
TRAINED = ("source-only", "knn-mmd", "released", "bn-source", "mmd", "dann", "deep-coral", "fine-tune")
UNTRAINED = ("majority", "knn-raw", "knn-static", "knn-motion")

Results = dict[tuple[str, str], float]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sensing") / "sensed.yaml"
    path.write_text(dedent(SUITE).lstrip(), encoding="utf-8")
    return path


def run(suite: Path, folder: Path, arm: str, seed: int = 0, **overrides: Any) -> TrainingResult:
    torch.set_num_threads(1)
    plan = make_plan(load_suite(suite), Selection(seeds=tuple(range(seed + 1)), arms=(arm,), overrides=overrides))
    spec = next(trial.spec for trial in plan.trials if trial.seed == seed)
    around = Runtime(folder, torch.device("cpu"), registry.load, data_root())
    return train(spec, around)


def results_of(outcome: TrainingResult) -> Results:
    return {(split, metric): value for split, metric, value in outcome.results}


def series_of(outcome: TrainingResult) -> dict[tuple[str, str], list[float]]:
    return {(item.split, item.name): item.value for item in outcome.series}


def items_of(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "items.npz") as items:
        return {name: items[name] for name in items.files}


@pytest.mark.parametrize("arm", [*TRAINED, "in-domain", "leak"])
def test_every_adaptation_trains_and_reports_its_metrics(suite: Path, tmp_path: Path, arm: str) -> None:
    outcome = run(suite, tmp_path, arm)
    result = results_of(outcome)
    assert outcome.status == "done"
    assert outcome.steps == 18
    assert all(np.isfinite(value) for value in result.values())
    assert 0 <= result["test", "balanced-accuracy"] <= result["test", "balanced-accuracy_oracle"] <= 100
    assert {name for split, name in result if split == "validation"} == {"support-accuracy", "support-loss"}
    predictions = items_of(tmp_path)["predictions_by_epoch"]
    assert predictions.shape[0] == 6
    assert result["train", "mechanism.reported_epoch"] in (3.0, 4.0, 5.0, 6.0)


@pytest.mark.parametrize("arm", UNTRAINED)
def test_methods_without_a_training_take_no_step_and_are_scored(suite: Path, tmp_path: Path, arm: str) -> None:
    outcome = run(suite, tmp_path, arm)
    result = results_of(outcome)
    assert (outcome.status, outcome.steps, outcome.series) == ("done", 0, [])
    if arm == "majority":
        assert result["test", "balanced-accuracy"] == pytest.approx(100 / 3)
        assert result["test", "target-accuracy"] == pytest.approx(result["test", "trivial.target-accuracy"])
    if arm == "knn-raw":
        assert result["test", "balanced-accuracy"] > 60


@pytest.mark.full
def test_permuted_hidden_labels_change_the_test_scores_and_what_hindsight_sees_and_nothing_else(
    suite: Path, tmp_path: Path
) -> None:
    for arm in ("knn-mmd", "released", "dann", "fine-tune", "knn-raw"):
        plain, permuted = (run(suite, tmp_path / f"{arm}-{flag}", arm, permute_hidden=flag) for flag in (False, True))
        assert series_of(plain) == series_of(permuted)
        first, second = results_of(plain), results_of(permuted)
        changed = {key for key in first.keys() | second.keys() if first.get(key) != second.get(key)}
        seen = {("train", f"mechanism.{name}") for name in HINDSIGHT}
        assert {key for key in changed if key[0] != "test"} <= seen, arm
        assert any(split == "test" for split, _ in changed), arm
        items = [items_of(tmp_path / f"{arm}-{flag}") for flag in (False, True)]
        for name in ("item", "predictions", "predictions_by_epoch"):
            np.testing.assert_array_equal(items[0][name], items[1][name])


@pytest.mark.full
@pytest.mark.parametrize("arm", ["leak", "in-domain"])
def test_the_arms_that_say_they_leak_do(suite: Path, tmp_path: Path, arm: str) -> None:
    plain, permuted = (run(suite, tmp_path / str(flag), arm, permute_hidden=flag) for flag in (False, True))
    assert series_of(plain)["train", "loss"] != series_of(permuted)["train", "loss"]


def test_balanced_accuracy_is_the_fields() -> None:
    draws = np.random.default_rng(0)
    labels, rows = draws.integers(0, 5, 80), draws.integers(0, 5, (7, 80))
    epochs = Epochs(list(rows), [0.0] * 7, [0.0] * 7)
    expected = [100 * balanced_accuracy_score(labels, row) for row in rows]
    np.testing.assert_allclose(epochs.balanced(labels), expected)
    np.testing.assert_allclose(epochs.accuracy(labels), 100 * (rows == labels).mean(axis=1))


def test_the_reported_epoch_is_the_rules() -> None:
    rule = StoppingRule(StoppingOptions(earliest=2, latest=20, patience=2))
    epochs = Epochs()
    for accuracy, loss in ((50, 1.0), (100, 0.5), (50, 0.9), (50, 0.9), (50, 0.9), (50, 0.9)):
        if not rule.stopped:
            rule.update(accuracy, loss)
        epochs.append(np.zeros(3, dtype=np.int64), accuracy, loss)
    assert rule.stopped
    assert epochs.stop("support", rule) == rule.epoch - 1 < 5
    assert epochs.stop("last", rule) == 5
    assert epochs.stop("best-support", rule) == rule.best_epoch - 1
    copy = Epochs.restored(epochs.state())
    np.testing.assert_array_equal(copy.matrix(), epochs.matrix())
    assert (copy.accuracies, copy.losses) == (epochs.accuracies, epochs.losses)


def _domain(windows: int = 60) -> CsiDomain:
    draws = np.random.default_rng(0)
    labels = np.tile(np.arange(3), windows // 3)
    return CsiDomain(
        draws.standard_normal((windows, 6, 4)).astype(np.float32), labels, np.arange(windows) // 6, np.arange(windows)
    )


def test_no_recording_of_a_shot_is_scored() -> None:
    domain = _domain()
    target = draw_shots(domain, 1, Streams(0), permute_hidden=False)
    assert sorted(target.support_labels) == [0, 1, 2]
    assert not set(domain.recordings[target.support]) & set(target.recordings)


def test_an_empty_help_set_and_too_many_shots_are_said() -> None:
    target = draw_shots(_domain(), 1, Streams(0), permute_hidden=False)
    options = SensingOptions(reduce="none", help_share=0.01)
    with pytest.raises(HarnessError, match=r"help_share 0\.01"):
        help_set(target, 3, options, Streams(0))
    with pytest.raises(HarnessError, match="lower 'shots'"):
        draw_shots(_domain(), 20, Streams(0), permute_hidden=False)


@pytest.mark.full
def test_one_process_answers_for_every_embedding_and_ends_with_its_input(tmp_path: Path) -> None:
    from suites.tasks import reduction

    rows = np.zeros((2, 4), dtype=np.float32)
    with pytest.raises(HarnessError, match=r"UMAP of \(2, 4\) to 3 failed: ValueError: .* 3 items or more"):
        reduction._embed(rows, 3, 1)
    (first,) = reduction._running
    with pytest.raises(HarnessError, match="failed"):
        reduction._embed(rows, 3, 2)
    assert reduction._running == [first]
    first.process.kill()
    first.process.wait()
    with pytest.raises(HarnessError, match="3 items or more"):  # another one takes its place
        reduction._embed(rows, 3, 1)
    (second,) = reduction._running
    assert second is not first
    second.process.stdin.close()
    assert second.process.wait(timeout=60) == 0


@pytest.mark.slow
def test_umap_runs_beside_the_trial_and_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from suites.tasks import reduction

    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    rows = np.random.default_rng(0).standard_normal((40, 12)).astype(np.float32)
    first = reduction.embedding(rows, 4, 1)
    assert first.shape == (40, 4)
    again = reduction._embed(rows, 4, 1)  # by the same process, which has embedded before
    np.testing.assert_array_equal(again, first)
    monkeypatch.setattr(reduction, "_embed", lambda *_: pytest.fail("the cache was passed over"))
    np.testing.assert_array_equal(reduction.embedding(rows, 4, 1), first)
