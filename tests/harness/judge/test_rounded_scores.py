"""Rounded scores: equal differences and constant arms."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from false_words import suite_of

from harness import stats
from harness.errors import HarnessError
from harness.imports.table_verdicts import TableVerdict, judge_table
from harness.judge.simulating import SimulatedNoise, simulate_suite
from harness.plan.planning import Selection
from harness.vocabulary import Verdict

TENTHS = {"ours": [90.1, 90.2, 89.9], "base": [90.0, 90.1, 89.8]}
"""One unit of the last digit apart at every seed."""


def table(**arms: list[float]) -> dict[str, list[object]]:
    """A row a result."""
    rows = [(arm, seed, score) for arm, scores in arms.items() for seed, score in enumerate(scores)]
    return {
        name: list(column) for name, column in zip(("arm", "seed", "accuracy"), zip(*rows, strict=True), strict=True)
    }


def verdict_of(arms: dict[str, list[float]], **options: Any) -> TableVerdict:
    """The verdict of the method against its baseline."""
    return judge_table(table(**arms), method="ours", against="base", metric="accuracy", unit="percent", **options)[0]


def test_the_least_sd_is_that_of_rounding_both_scores() -> None:
    """Two scores rounded to h: h/√6, as for values rounded by numpy."""
    exact = np.random.default_rng(0).normal(0, 1, (2, 200_000))
    rounding = np.diff(np.round(exact, 1) - exact, axis=0).std()
    scores = np.round(exact[:, :50], 1)
    assert stats.least_sd_of(scores.ravel(), scores[0] - scores[1]) == pytest.approx(rounding, rel=0.02)
    assert stats.least_sd_of([50.0, 50.0, 50.0], [0.0]) == 0.0
    assert stats.least_sd_of([0.1 + 0.2, 0.3], [0.0]) == 0.0


def test_distinct_differences_keep_their_own_sd() -> None:
    """Continuous scores far apart do not hide a precise difference."""
    base = np.array([40.0, 50.0, 60.0])
    ours = base + np.array([5.0, 5.01, 4.99])
    sd = np.std(ours - base, ddof=1)
    assert stats.least_sd_of([*ours, *base], ours - base) < sd


@pytest.mark.parametrize("rule", [None, stats.SequentialRule(0.5, 20)])
def test_equal_differences_have_the_sd_of_rounding(rule: stats.SequentialRule | None) -> None:
    """Every number is that of any three differences with this sd."""
    sd = 0.1 / 6**0.5
    equal, spread = np.full(5, 0.1), 0.1 + sd * np.array([-1.0, 1.0, 0.0, 1.0, -1.0])
    if rule is None:
        tested, same = stats.paired_t(equal, noise=stats.Noise(sd)), stats.paired_t(spread)
        assert (tested.low, tested.high, tested.p) == pytest.approx((same.low, same.high, same.p))
        assert stats.hedges_d(equal, noise=stats.Noise(sd)) == pytest.approx(stats.hedges_d(spread))
        assert stats.non_inferiority(equal, 0.0, noise=stats.Noise(sd)).p == pytest.approx(same.p / 2)
        bootstrap = stats.studentised_bootstrap(equal, noise=stats.Noise(sd))
        assert (bootstrap.low, bootstrap.p) == pytest.approx((same.low, same.p))
    else:
        tested, exact = rule.inference(equal, noise=stats.Noise(sd)), rule.inference(equal)
        assert tested.p > exact.p
        assert tested.low < exact.low == pytest.approx(0.1)


def test_one_last_digit_at_three_seeds_is_no_gain() -> None:
    verdict = verdict_of(TENTHS)
    assert (verdict.word, verdict.n) == (Verdict.INCONCLUSIVE, 3)
    assert verdict.row.p == pytest.approx(stats.paired_t([0.1] * 3, noise=stats.Noise(0.1 / 6**0.5)).p)
    assert 0.05 < verdict.row.p < 0.06


class TestConstantArms:
    def test_a_table_of_one_score_is_one_result(self) -> None:
        """nanoGPT with a fixed seed: n = 1, however many rows."""
        verdict = verdict_of({"ours": [91.5] * 5, "base": [91.2] * 5})
        assert (verdict.word, verdict.p) == (Verdict.INVALID, None)
        assert "does it use its seed?" in verdict.meaning

    def test_a_declared_arm_may_be_constant(self) -> None:
        arms = {"ours": [91.5, 91.9, 91.6, 91.3, 91.7], "base": [50.0] * 5}
        assert verdict_of(arms).word == Verdict.INVALID
        assert verdict_of(arms, deterministic="base").word == Verdict.CONFIRMED
        with pytest.raises(HarnessError, match="--deterministic 'bse': no compared arm"):
            verdict_of(arms, deterministic="bse")


@dataclass(frozen=True)
class Rounded(SimulatedNoise):
    """Normal scores, rounded to whole numbers; ``sd`` is that of a pair."""

    sd: float = 1.0

    def draw(self, rng: np.random.Generator, share: float, first: bool) -> float:
        return float(np.round(self.sd * np.sqrt(share / 2) * rng.standard_normal()))


SUITES = {1: 2_000, 5: 1_000, 20: 400, 60: 200}
"""Simulated by number of claims."""


@pytest.mark.full
@pytest.mark.parametrize("claims", SUITES)
@pytest.mark.parametrize("n", [3, 4, 6, 12])
@pytest.mark.parametrize("sd", [1.0, 3.0])
def test_false_words_of_rounded_scores(tmp_path: Path, claims: int, n: int, sd: float) -> None:
    """Few null suites have one, up to two standard errors."""
    suite = suite_of(tmp_path, claims)
    result = simulate_suite(suite, Selection(seeds=tuple(range(n))), Rounded(sd=sd), SUITES[claims], seed=11)
    for row in result.rows():
        print(f"sd {sd:g} n {n} claims {claims} {row['family']}: {100 * float(row['suites']):.1f} %")
        if row["family"] != "any":
            assert float(row["suites"]) <= 0.05 + 2 * (0.05 * 0.95 / result.repeats) ** 0.5
