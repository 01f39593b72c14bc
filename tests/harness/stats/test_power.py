"""Detectable effects and repeats against simulation."""

import math

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from harness import stats

PATHS = 4_000


@pytest.mark.parametrize("n", [3, 4, 6, 20])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_detectable_effect_has_its_power(n: int, alpha: float) -> None:
    values = np.random.default_rng(n).normal(0, 3.0, n)
    effect = stats.minimum_detectable_effect(values, alpha) / values.std(ddof=1)
    assert TTestPower().power(effect, n, alpha) == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize(("n", "alpha"), [(6, 0.05), (12, 0.05), (12, 0.01)])
def test_added_seeds_detect_what_their_rule_says(n: int, alpha: float) -> None:
    """At least 80 %, a little more by earlier interim analyses; a fixed test's effect has far less."""
    rule, spread = stats.SequentialRule(0.5, 20), np.random.default_rng(0).normal(0, 1, n)
    effect, fixed = (
        stats.minimum_detectable_effect(spread, alpha, rule=each) / spread.std(ddof=1) for each in (rule, None)
    )
    draws = np.random.default_rng(1).normal(0, 1, (PATHS // 4, n))
    shares = [np.mean([rule.directed_p(path + shift)[0] <= alpha for path in draws]) for shift in (effect, fixed)]
    error = 2 * math.sqrt(0.8 * 0.2 / len(draws))
    assert 0.8 - error <= shares[0] <= 0.86 + error
    assert shares[1] < 0.8 - 4 * error


def test_a_rule_that_cannot_reject_detects_nothing() -> None:
    rule = stats.SequentialRule(0.5, 20)
    assert stats.minimum_detectable_effect([1.0, 2.0, 3.0], rule=rule) == math.inf
    assert stats.critical_t(3, 0.05, rule) == math.inf


def test_more_splits_of_one_data_set_stop_helping() -> None:
    """√r·sd is the limit of the standard error."""
    split, values = stats.Noise(resampled=0.25), np.random.default_rng(0).normal(0, 1, 2_000)
    limit = (stats.critical_t(2_000, 0.05) + 0.8416) * 0.5 * values.std(ddof=1)
    assert stats.minimum_detectable_effect(values, noise=split) == pytest.approx(limit, rel=0.01)


def _t(draws: np.ndarray) -> np.ndarray:
    return draws.mean(axis=1) / draws.std(axis=1, ddof=1) * math.sqrt(draws.shape[1])


@pytest.mark.parametrize("n", [6, 12])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_same_verdict_again_is_as_frequent_as_predicted(n: int, alpha: float) -> None:
    """Over effects of the prior, among first runs that reject or not."""
    rng = np.random.default_rng([n, int(1000 * alpha)])
    effects = rng.normal(0, math.sqrt(0.5), PATHS)[:, None]
    first, second = (rng.normal(0, 1, (PATHS, n)) + effects for _ in range(2))
    up, again = _t(first) > 0, _t(second) > stats.critical_t(n, alpha)
    rejects = _t(first) > stats.critical_t(n, alpha)
    predicted = np.array(
        [stats.same_verdict_again(path, alpha) if chosen else 0 for path, chosen in zip(first, up, strict=True)]
    )
    for chosen in (up, rejects):
        share, many = again[chosen].mean(), chosen.sum()
        assert predicted[chosen].mean() == pytest.approx(share, abs=3 * math.sqrt(share * (1 - share) / many))


def test_few_or_dependent_pairs_predict_nothing() -> None:
    values = [1.0, 1.5, 2.0, 0.8, 1.2, 1.1]
    assert 0.0 < stats.same_verdict_again(values, 0.01) < stats.same_verdict_again(values) < 1.0
    assert math.isnan(stats.same_verdict_again(values[:5]))
    assert math.isnan(stats.same_verdict_again(values, noise=stats.Noise(resampled=0.25)))
    assert math.isnan(stats.same_verdict_again([1.0] * 6))
