"""Pairs that split one data set: the corrected resampled t test decides, or the user states independence."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as reference
from sklearn.base import ClassifierMixin
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import RepeatedKFold, ShuffleSplit
from sklearn.tree import DecisionTreeClassifier

import harness
from harness import stats
from harness.cli.group import run_main
from harness.errors import HarnessError
from harness.judge.detail import from_json
from harness.judge.resampled import is_resampled
from harness.judge.tests import Mean, NoWorse, Paired
from harness.stats import SequentialRule

ARMS = {"method": "a", "against": "b", "metric": "accuracy"}


def folds(repeats: int = 3, k: int = 5, gain: float = 0.8, datasets: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"dataset": f"d{d}", "arm": arm, "repeat": r, "fold": f, "accuracy": 80 + rng.normal() + gain * (arm == "a")}
        for d in range(datasets)
        for arm in "ab"
        for r in range(repeats)
        for f in range(k)
    ]
    return pd.DataFrame(rows)


def differences(frame: pd.DataFrame) -> np.ndarray[Any, Any]:
    wide = frame.pivot(index=["repeat", "fold"], columns="arm", values="accuracy")
    return (wide["a"] - wide["b"]).to_numpy()


def nadeau_bengio(values: np.ndarray[Any, Any], ratio: float) -> tuple[float, float, float]:
    """p and 95 % interval by the formula of the paper (section 3, corrected resampled t test)."""
    n = len(values)
    error = math.sqrt((1 / n + ratio) * values.var(ddof=1))
    half = reference.t.ppf(0.975, n - 1) * error
    return 2 * reference.t.sf(abs(values.mean()) / error, n - 1), values.mean() - half, values.mean() + half


def test_the_ratio_is_part_of_the_variance() -> None:
    frame = folds(repeats=3, gain=3.0)
    (item,) = harness.judge(frame, **ARMS, pair=["repeat", "fold"], resampled="k-fold")
    assert (item.p, item.low, item.high) == pytest.approx(nadeau_bengio(differences(frame), 1 / 4))
    assert item.decided_by == "corrected resampled t test (n_test/n_train 0.25)"
    (same,) = harness.judge(frame, **ARMS, pair=["repeat", "fold"], resampled=0.25)
    assert same.p == item.p
    effect = item.row.detail.effect
    assert effect is not None
    assert (effect.bootstrap, effect.sign_flip_p, effect.seeds_needed) == (None, None, None)
    assert ((effect.d_z_low or 0) > 0) == ((item.low or 0) > 0), "the intervals of d_z and of the mean agree"
    plain = harness.judge(frame, **ARMS, pair=["repeat", "fold"], independent=True)[0]
    assert plain.decided_by == "paired t test"
    assert plain.p == pytest.approx(reference.ttest_1samp(differences(frame), 0).pvalue)
    assert (item.detectable or 0) > 2 * (plain.detectable or 0)


def test_scopes_and_lost_pairs_keep_the_correction() -> None:
    frame = folds(datasets=2)
    (mean,) = harness.judge(frame, **ARMS, pair=["repeat", "fold"], by="dataset", scope="mean", resampled=0.25)
    averaged = frame.groupby(["arm", "repeat", "fold"], as_index=False)["accuracy"].mean()
    assert mean.p == pytest.approx(nadeau_bengio(differences(averaged), 0.25)[0])
    lost = folds(gain=9.0)
    lost.loc[len(lost) - 1, "accuracy"] = math.nan
    options = {**ARMS, "pair": ["repeat", "fold"], "on_divergence": "worst"}
    assert harness.judge(lost, **options, independent=True)[0].word == "direction confirmed"
    (signs,) = harness.judge(lost, **options, resampled=0.25)
    assert (signs.p, signs.word) == (1.0, "inconclusive")
    assert signs.decided_by == "none: the signs of resampled pairs are not independent"


def test_other_tests_of_resampled_pairs() -> None:
    values = tuple(np.random.default_rng(3).normal(1.0, 1.0, 12))
    rule, split = SequentialRule(0.5, 20), stats.Noise(resampled=0.25)
    fixed, added, both = Paired(values, None, split), Paired(values, rule), Paired(values, rule, split)
    assert both.p == max(fixed.p, added.p)
    assert both.interval(0.05)[0] == min(fixed.interval(0.05)[0], added.interval(0.05)[0])
    assert both.p_smaller(2.0) == max(fixed.p_smaller(2.0), added.p_smaller(2.0))
    assert NoWorse(values, None, split, 0.5).p_above == stats.non_inferiority(values, 0.5, noise=split).p
    assert stats.non_inferiority(values, 0.5, noise=split).p > stats.non_inferiority(values, 0.5).p
    assert stats.equivalence(values, 1.0, 2.0, noise=split).p > stats.equivalence(values, 1.0, 2.0).p
    seeds = tuple(range(12))
    assert Mean((Paired(values), fixed), (seeds, seeds), (1.0, 1.0)).p == pytest.approx(fixed.p)
    with pytest.raises(ValueError, match="not a finite ratio"):
        stats.Noise(resampled=-1)


def test_names_of_splits() -> None:
    named = ("fold", "cv_fold", "splitSeed", "random_state", "randomState", "Repeat", "rep", "k-fold", "data split 2")
    assert [name for name in named if not is_resampled(name)] == []
    other = ("seed", "random_seed", "dataset", "folder", "scaffold", "report", "person", "rng_seed")
    assert [name for name in other if is_resampled(name)] == []


DOUBTS: dict[str, tuple[dict[str, Any], str]] = {
    "folds and no statement": ({"where": {"repeat": 0}}, r"'fold' pairs the results.*--resampled RATIO.*--independent"),
    "two columns": ({}, "differ in 'repeat': pair by all of them with --pair fold --pair repeat"),
    "both": ({"pair": ["repeat", "fold"], "resampled": 0.2, "independent": True}, "exclude each other"),
    "no ratio": ({"pair": ["repeat", "fold"], "resampled": "80/20"}, "--resampled 80/20: not a ratio n_test/n_train"),
    "no positive ratio": ({"pair": ["repeat", "fold"], "resampled": 0}, "--resampled 0: not a ratio"),
    "no fold": ({"pair": "repeat", "where": {"fold": 0}, "resampled": "k-fold"}, "paired by 'repeat'; give the ratio"),
    "one fold": ({"pair": ["repeat", "fold"], "where": {"fold": 0}, "resampled": "k-fold"}, "'fold' has 1; give"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_each_doubt_is_one_message(doubt: str) -> None:
    options, message = DOUBTS[doubt]
    with pytest.raises(HarnessError, match=message) as refused:
        harness.judge(folds(), **{**ARMS, **options})
    assert "\n" not in str(refused.value)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    folds().to_csv("folds.csv", index=False)
    command = ["judge", "folds.csv", "--method", "a", "--against", "b", "--metric", "accuracy"]
    pairs = ["--pair", "repeat", "--pair", "fold"]
    assert run_main([*command, *pairs]) == 2
    assert "--independent" in capsys.readouterr().err
    assert run_main([*command, *pairs, "--resampled", "k-fold"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "which split one data set: corrected resampled t test (n_test/n_train 0.25)" in text
    assert "corrected resampled t test" in (tmp_path / "folds-verdicts.html").read_text()
    assert run_main([*command, *pairs, "--independent", "--no-page", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdicts"][0]["decided_by"] == "paired t test"


def test_a_verdict_stored_before_the_ratio_existed_is_read() -> None:
    stored = harness.judge(folds(), **ARMS, pair=["repeat", "fold"], independent=True)[0].row.detail.to_json()
    assert stored["blocks"][0].pop("resampled") == 0.0
    assert from_json(stored).blocks[0].resampled == 0.0


SPLITS: dict[str, tuple[Any, float | str]] = {
    "10 splits 80/20": (lambda seed: ShuffleSplit(10, test_size=0.2, random_state=seed), 0.25),
    "20 splits 80/20": (lambda seed: ShuffleSplit(20, test_size=0.2, random_state=seed), 0.25),
    "30 splits 70/30": (lambda seed: ShuffleSplit(30, test_size=0.3, random_state=seed), 3 / 7),
    "10 folds, 5 times": (lambda seed: RepeatedKFold(n_splits=10, n_repeats=5, random_state=seed), "k-fold"),
    "5 folds, 4 times": (lambda seed: RepeatedKFold(n_splits=5, n_repeats=4, random_state=seed), "k-fold"),
}
LEARNERS: dict[str, ClassifierMixin] = {
    "ridge": RidgeClassifier(),
    "tree": DecisionTreeClassifier(max_depth=4, random_state=0),
}
TABLES = 400


def compared(learner: ClassifierMixin, splits: Any, seed: int, items: int = 200) -> pd.DataFrame:
    """Accuracies of one learner on two exchangeable halves of the features: equal in expectation."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(items, 20))
    y = (x.sum(axis=1) / math.sqrt(20) + rng.normal(size=items) > 0).astype(int)
    k = splits.n_repeats and splits.cvargs["n_splits"] if isinstance(splits, RepeatedKFold) else 1
    rows = []
    for place, (train, test) in enumerate(splits.split(x)):
        for arm, half in (("a", x[:, :10]), ("b", x[:, 10:])):
            accuracy = 100 * float(learner.fit(half[train], y[train]).score(half[test], y[test]))
            rows.append({"arm": arm, "repeat": place // k, "fold": place % k, "accuracy": accuracy})
    return pd.DataFrame(rows)


@pytest.mark.full
@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("design", SPLITS)
def test_equal_learners_are_told_apart_in_at_most_6_percent(design: str, learner: str) -> None:
    """Monte Carlo error: 1.1 points at 5 %, 2.5 at 40 %."""
    splits, ratio = SPLITS[design]
    false = {"corrected": 0, "independent": 0}
    for seed in range(TABLES):
        frame = compared(LEARNERS[learner], splits(seed), seed)
        for name, how in (("corrected", {"resampled": ratio}), ("independent", {"independent": True})):
            (item,) = harness.judge(frame, **ARMS, pair=["repeat", "fold"], **how)
            false[name] += item.word in ("direction confirmed", "direction reversed")
    print(
        f"\n{design}, {learner}: false verdicts", {name: f"{100 * many / TABLES:.1f} %" for name, many in false.items()}
    )
    assert false["corrected"] <= 0.06 * TABLES
    assert false["independent"] >= 0.12 * TABLES
