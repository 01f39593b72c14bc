"""`harness judge --over`: data sets as the unit, and published means."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import harness
from harness import stats
from harness.cli.judge import judge_command
from harness.errors import HarnessError
from harness.vocabulary import Verdict


def results(methods: int, sets: int, seeds: int, tau: float = 1.0, gap: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Scores with effects of data sets (sd ``tau``), noise 1 and equal steps of ``gap`` between methods."""
    rng = np.random.default_rng(seed)
    effects = rng.normal(0, tau / 2**0.5, (sets, methods)) - gap * np.arange(methods)
    return pd.DataFrame(
        [
            (f"set{place}", f"m{arm}", number, 70 + place + effects[place, arm] + rng.normal(0, 0.5**0.5))
            for place in range(sets)
            for arm in range(methods)
            for number in range(seeds)
        ],
        columns=["dataset", "method", "seed", "accuracy"],
    )


def test_one_mean_a_data_set_decides_and_holm_corrects() -> None:
    frame = results(3, 12, 4, tau=0.3, gap=1.0)
    judged = harness.judge(frame, metric="accuracy", over="dataset", smallest=0.2)
    means = frame.groupby(["method", "dataset"])["accuracy"].mean()
    p = [stats.signed_rank((means[item.method] - means[item.against]).to_numpy()).p for item in judged]
    assert [item.test for item in judged] == ["m0 − m1", "m0 − m2", "m1 − m2"]
    assert [item.p for item in judged] == pytest.approx(p)
    assert [item.adjusted_p for item in judged] == pytest.approx(stats.holm(p))
    assert {item.word for item in judged} == {Verdict.CONFIRMED}
    assert (judged[0].n, judged[0].share_better) == (12, 1.0)
    assert judged[0].shares is not None
    assert judged[0].shares[2] > 0.9
    assert judged.over is not None
    assert [method.arm for method in judged.over.methods] == ["m0", "m1", "m2"]
    assert (judged.over.groups, judged.over.methods[0].better, judged.over.methods[2].worse) == ((), 2, 2)


def test_one_pair_reversed_and_too_few_data_sets() -> None:
    frame = results(2, 8, 3, tau=0.1, gap=1.0)
    (item,) = harness.judge(frame, metric="accuracy", over="dataset", method="m1", against="m0")
    assert (item.word, item.n) == (Verdict.REVERSED, 8)
    few = frame[frame["dataset"].isin([f"set{place}" for place in range(5)])]
    (item,) = harness.judge(few, metric="accuracy", over="dataset")
    assert item.word == Verdict.INCONCLUSIVE
    assert "6 data sets" in " ".join(item.row.detail.warnings)


def test_a_missing_arm_costs_its_data_set_a_rank() -> None:
    frame = results(3, 9, 1)
    judged = harness.judge(
        frame[(frame["dataset"] != "set3") | (frame["method"] != "m2")], metric="accuracy", over="dataset"
    )
    assert [item.n for item in judged if "m2" in item.test] == [8, 8]
    assert any("1 of 9 (set3) lack an arm" in note for note in judged.notes)
    assert judged.over is not None
    assert len(judged.over.datasets) == 8


DOUBTS: dict[str, tuple[dict[str, Any], str]] = {
    "a pair": ({"pair": "seed"}, "leave out --pair"),
    "a scope": ({"scope": "mean"}, "leave out --scope mean"),
    "half of published": ({"sd": "accuracy", "over": ()}, "both --sd COLUMN and --n COLUMN"),
    "no column": ({"over": "task"}, "has no column 'task'"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_a_doubt_is_an_error(doubt: str) -> None:
    options, message = DOUBTS[doubt]
    arms = {"method": "m0", "against": "m1"}
    with pytest.raises(HarnessError, match=message):
        harness.judge(results(2, 6, 2), **({"metric": "accuracy", "over": "dataset"} | arms | options))


def test_rows_of_two_parts_are_not_averaged() -> None:
    frame = results(2, 6, 2)
    frame["split"] = ["test", "train"] * (len(frame) // 2)
    with pytest.raises(HarnessError, match=r"differ in 'split' \(test, train\); keep one with --where split="):
        harness.judge(frame, metric="accuracy", over="dataset")
    assert len(harness.judge(frame, metric="accuracy", over="dataset", where={"split": "test"})) == 1


def test_forty_methods_fit_a_screen(tmp_path: Path) -> None:
    results(40, 30, 1, gap=0.05).to_csv(tmp_path / "means.csv", index=False)
    command = [str(tmp_path / "means.csv"), "--metric", "accuracy", "--over", "dataset"]
    shown = CliRunner().invoke(judge_command, [*command, "--out", str(tmp_path / "page.html")])
    assert shown.exit_code == 0, shown.output
    assert len(shown.output.splitlines()) <= 50
    assert "Holm over 780 tests" in shown.output
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Average ranks and critical differences" in page
    record = json.loads(CliRunner().invoke(judge_command, [*command, "--no-page", "--format", "json"]).output)
    assert (len(record["verdicts"]), len(record["over"]["methods"])) == (780, 40)


def test_a_mean_names_the_data_sets_it_is_about() -> None:
    (item,) = harness.judge(results(2, 5, 4), metric="accuracy", method="m0", against="m1", by="dataset", scope="mean")
    assert item.test == "mean over these 5 data sets: m0 − m1"


@pytest.mark.full
def test_effects_of_data_sets_are_no_false_words_over_them() -> None:
    """Ten data sets, ten seeds, no effect on average: a mean over these sets finds their own."""
    tables = 300
    options = {"metric": "accuracy", "method": "m0", "against": "m1", "unit": "percent"}
    over = mean = 0
    for seed in range(tables):
        frame = results(2, 10, 10, tau=1.0, seed=seed)
        over += Verdict.of(harness.judge(frame, over="dataset", **options)[0].word).decisive
        mean += Verdict.of(harness.judge(frame, by="dataset", scope="mean", **options)[0].word).decisive
    print(f"over {100 * over / tables:.1f} %, mean {100 * mean / tables:.1f} %")
    assert over / tables <= 0.05 + 2 * (0.05 * 0.95 / tables) ** 0.5
    assert mean / tables >= 0.2


PUBLISHED = {
    "dataset": ["a", "a", "b", "b"],
    "method": ["ours", "base"] * 2,
    "error": [4.8, 5.4, 2.9, 3.0],
    "sd": [0.2, 0.3, 0.4, 0.3],
    "runs": [5, 5, 3, 3],
}
ARMS = {"method": "ours", "against": "base"}
COLUMNS: dict[str, Any] = ARMS | {"metric": "error", "by": "dataset", "sd": "sd", "n": "runs"}


class TestPublishedMeans:
    def test_welch_decides_and_says_that_it_is_unpaired(self) -> None:
        judged = harness.judge(PUBLISHED, **COLUMNS)
        p = [stats.welch_t((5.4, 4.8), (0.3, 0.2), (5, 5)).p, stats.welch_t((3.0, 2.9), (0.3, 0.4), (3, 3)).p]
        assert [item.p for item in judged] == pytest.approx(p)
        assert [item.adjusted_p for item in judged] == pytest.approx(stats.holm(p))
        assert [item.word for item in judged] == [Verdict.CONFIRMED, Verdict.INCONCLUSIVE]
        assert judged[0].decided_by == "Welch's t test, unpaired"
        assert "unpaired" in judged.layout
        assert "unpaired" in judged[0].row.detail.warnings[0]

    def test_sizes_and_sds_are_checked(self) -> None:
        for column, values, message in (
            ("runs", [5, 5, 1, 3], "table:3: .*at least 2"),
            ("sd", [0.2, 0.3, 0.0, 0.0], "both sds are 0"),
        ):
            with pytest.raises(HarnessError, match=message):
                harness.judge(PUBLISHED | {column: values}, **COLUMNS)
