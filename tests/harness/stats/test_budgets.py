"""Tuning curves: the U-statistic against every subset, its bias, and simultaneous coverage of the bands."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from harness.stats import expected_best, expected_best_band, median_best_band

INF, NAN = math.inf, math.nan
SCORES = st.lists(st.floats(-100, 100).map(lambda x: round(x, 2)), min_size=1, max_size=8)


# simulations


@pytest.mark.full
@pytest.mark.parametrize("levels", [0, 5])
def test_expected_best_band_covers_the_whole_curve(levels):
    """Uniform scores, and the same rounded down to a few levels (ties)."""
    rng = np.random.default_rng(17)
    budgets = [1, 2, 3, 5, 8, 13, 20, 50, 200]
    b = np.array(budgets)
    if levels:
        cdf = np.arange(1, levels + 1) / levels
        truth = np.array([(np.arange(levels) / levels * np.diff(cdf**item, prepend=0.0)).sum() for item in budgets])
    else:
        truth = b / (b + 1)
    covered = []
    for _ in range(1_200):
        scores = rng.random(20)
        scores = np.floor(scores * levels) / levels if levels else scores
        band = expected_best_band(scores, 0.1, budgets, support=(0.0, 1.0))
        covered.append(((band.low <= truth + 1e-12) & (truth <= band.high + 1e-12)).all())
    assert np.mean(covered) >= 0.9


@pytest.mark.full
def test_median_band_covers_the_whole_curve():
    rng = np.random.default_rng(18)
    budgets = [1, 2, 3, 5, 8, 13, 20, 50]
    truth = 0.5 ** (1 / np.array(budgets))  # uniform scores
    covered = []
    for _ in range(3_000):
        band = median_best_band(rng.random(25), 0.1, budgets)
        covered.append(((band.low <= truth) & (truth <= band.high)).all())
    assert 0.9 <= np.mean(covered) < 1.0


# known answers


@settings(deadline=None)
@given(SCORES, st.data())
def test_expected_best_is_the_mean_over_all_subsets(scores, data):
    budget = data.draw(st.integers(1, len(scores)))
    best = [max(subset) for subset in itertools.combinations(scores, budget)]
    assert expected_best(scores, budget) == pytest.approx(np.mean(best), abs=1e-9)


@settings(deadline=None)
@given(st.permutations(range(6)), st.integers(1, 6))
def test_report_scores_the_winner_on_test(ranks, budget):
    test = [0.3, -1.0, 2.0, 0.0, 5.0, 1.5]
    winners = [max(subset, key=lambda i: ranks[i]) for subset in itertools.combinations(range(6), budget)]
    assert expected_best(ranks, budget, test) == pytest.approx(np.mean([test[i] for i in winners]))


def test_equal_validation_scores_share_their_test_score():
    assert expected_best([1.0, 1.0, 0.0], 3, [4.0, 2.0, 9.0]) == pytest.approx(3.0)
    assert expected_best([1.0, 1.0, 0.0], 3, [2.0, 4.0, 9.0]) == pytest.approx(3.0)


def test_many_configurations_stay_accurate():
    scores = np.arange(1, 5_001) / 5_000
    # the mean of the largest of a B-subset of 1..N is B (N + 1) / (B + 1)
    for budget in (1, 70, 2_500, 5_000):
        assert expected_best(scores, budget) == pytest.approx(budget * 5_001 / (budget + 1) / 5_000, rel=1e-9)


def test_band_by_hand():
    band = expected_best_band([0.2, 0.6], 0.5, [1, 2], support=(0.0, 1.0))
    margin = float(special.smirnovi(2, 0.25))
    pairs = np.sort(np.random.default_rng(0).random((200_000, 2)), axis=1)
    assert np.mean((np.array([0.5, 1.0]) - pairs).max(axis=1) > margin) == pytest.approx(0.25, abs=0.005)
    low_steps, high_steps = [margin, min(1.0, 0.5 + margin), 1.0], [0.0, max(0.0, 0.5 - margin), 1.0 - margin, 1.0]
    for i, b in enumerate([1, 2]):
        low = np.diff(np.array(low_steps) ** b, prepend=0.0) @ [0.0, 0.2, 0.6]
        high = np.diff(np.array(high_steps) ** b, prepend=0.0) @ [0.0, 0.2, 0.6, 1.0]
        assert (band.low[i], band.high[i]) == pytest.approx((low, high))


# properties


@settings(deadline=None)
@given(SCORES, st.floats(0.01, 0.5))
def test_bands_hold_their_estimates(scores, alpha):
    for band in (expected_best_band(scores, alpha, support=(-100.0, 100.0)), median_best_band(scores, alpha)):
        assert (band.low <= band.estimate + 1e-9).all()
        assert (band.estimate <= band.high + 1e-9).all()
        assert (band.low[:-1] <= band.low[1:] + 1e-9).all()
        assert (band.high[:-1] <= band.high[1:] + 1e-9).all()
        assert list(band.budgets) == list(range(1, len(scores) + 1))


# awkward data


def test_budget_beyond_the_data():
    assert math.isnan(expected_best([1.0, 2.0], 3))
    assert math.isnan(expected_best([], 1))
    band = expected_best_band([0.5, 0.7, 0.6], budgets=[2, 30], support=(0.0, 1.0))
    assert not math.isnan(band.estimate[0])
    assert math.isnan(band.estimate[1])
    assert 0.0 <= band.low[1] <= 0.7 < band.high[1] <= 1.0


def test_without_a_known_range_a_mean_has_no_bound():
    band = expected_best_band([0.5, 0.7, 0.6, 0.9])
    assert (band.low == -INF).all()
    assert (band.high == INF).all()
    one_sided = expected_best_band([-0.5, -0.7, -0.6, -0.9], support=(-INF, 0.0))
    assert (one_sided.low == -INF).all()
    assert (one_sided.high < 0.0).all()


def test_missing_and_diverged_configurations():
    assert expected_best([1.0, NAN, 3.0], 2) == pytest.approx(3.0)
    band = expected_best_band([0.1, NAN, 0.3], support=(0.0, 1.0))
    assert (band.n, band.dropped, len(band.budgets)) == (2, 1, 2)
    assert expected_best([1.0, -INF, 3.0], 1) == -INF
    assert expected_best([1.0, -INF, 3.0], 2) == pytest.approx((1.0 + 2 * 3.0) / 3)  # its weight is zero
    assert math.isnan(expected_best([INF, -INF], 1))


def test_empty_and_single():
    for band in (expected_best_band([]), median_best_band([])):
        assert (band.n, len(band.budgets)) == (0, 0)
    none = median_best_band([], budgets=[1, 2])
    assert np.isnan(none.estimate).all()
    assert (none.low == -INF).all()
    item = expected_best_band([0.4], support=(0.0, 1.0))
    assert item.low[0] < 0.4 < item.high[0]
    empty = expected_best_band([], budgets=[1, 2], support=(0.0, 1.0))
    assert (list(empty.low), list(empty.high)) == ([0.0, 0.0], [1.0, 1.0])


def test_wrong_arguments():
    for wrong in (0, -1, 1.5):
        with pytest.raises(ValueError, match="budget"):
            expected_best([1.0, 2.0], wrong)
    with pytest.raises(ValueError, match="support"):
        expected_best_band([0.5, 1.5], support=(0.0, 1.0))
    with pytest.raises(ValueError, match="support"):
        expected_best_band([0.5], support=(1.0, 0.0))
    with pytest.raises(ValueError, match="report"):
        expected_best([1.0, 2.0], 1, [1.0])
