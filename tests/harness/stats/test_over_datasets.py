"""Tests over data sets against scipy and brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness import stats
from harness.stats.over_datasets import EXACT


@pytest.mark.parametrize("n", [1, 5, 6, 13, 60])
def test_signed_ranks_without_ties_are_scipys(n: int) -> None:
    values = np.random.default_rng(n).normal(0.4, 1.0, n)
    assert stats.signed_rank(values).p == pytest.approx(scipy_stats.wilcoxon(values, method="exact").pvalue)


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=11))
def test_ties_and_zeros_are_exact(values: list[int]) -> None:
    """Every sign of every difference, after Pratt."""
    if any(values):
        every = scipy_stats.wilcoxon(values, zero_method="pratt", method=scipy_stats.PermutationMethod()).pvalue
        assert stats.signed_rank(values).p == pytest.approx(min(1.0, every))
    else:
        assert stats.signed_rank(values).p == 1.0


@pytest.mark.parametrize("n", [5, 6, 20])
def test_the_interval_inverts_the_test(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(50):
        tested = stats.signed_rank(rng.normal(0.5, 1.0, n))
        assert tested.low <= tested.estimate <= tested.high
        assert (tested.p <= 0.05) == (not tested.low <= 0.0 <= tested.high)


def test_many_data_sets_have_the_normal_limit() -> None:
    values = np.random.default_rng(0).normal(0.1, 1.0, 2 * EXACT)
    limit = scipy_stats.wilcoxon(values, method="asymptotic", correction=True).pvalue
    assert stats.signed_rank(values).p == pytest.approx(limit, rel=0.02)


def test_an_infinite_difference_has_a_rank() -> None:
    tested = stats.signed_rank([np.inf, 1.0, 2.0, 3.0, 4.0, 5.0, np.nan])
    assert (tested.n, tested.dropped, tested.low, tested.p) == (6, 1, -np.inf, pytest.approx(2 / 2**6))


def test_wins_have_the_interval_of_clopper_and_pearson() -> None:
    share = stats.share_better([1, 2, -1, 3, 1, 1, -2, 1])
    exact = scipy_stats.binomtest(6, 8).proportion_ci(0.95, "exact")
    assert (share.estimate, share.low, share.high) == pytest.approx((0.75, exact.low, exact.high))
    half = stats.share_better([1.0, 0.0])
    assert (half.estimate, half.n) == (0.75, 2)
    assert (stats.share_better([1.0] * 6).high, stats.share_better([]).n) == (1.0, 0)


def test_practical_shares_are_those_of_drawn_weights() -> None:
    """One draw at a time, with loops."""
    values, smallest = [0.9, 0.2, -0.1, 0.5, -0.8, 0.4], 0.3
    rng, counts = np.random.default_rng(1), np.zeros(3)
    placed = [0.0, *values]
    for _ in range(1_500):
        gammas = rng.gamma([0.5] + [1.0] * len(values))
        masses = np.zeros(3)
        for i, left in enumerate(placed):
            for j, right in enumerate(placed):
                middle = (left + right) / 2
                masses[0 if middle < -smallest else 2 if middle > smallest else 1] += gammas[i] * gammas[j]
        counts[masses.argmax()] += 1
    assert stats.practical_shares(values, smallest) == pytest.approx(counts / counts.sum(), abs=0.05)
    with pytest.raises(ValueError, match="positive smallest"):
        stats.practical_shares(values, 0.0)


def test_ranks_profiles_and_the_interquartile_mean() -> None:
    table = np.random.default_rng(2).normal(0, 1, (9, 4)) + np.arange(4)
    table[0, 1] = table[0, 2]
    ranks = stats.average_ranks(np.vstack([table, np.full(4, np.nan)]))
    assert ranks.ranks.sum() == pytest.approx(10)
    assert (ranks.n, ranks.p) == (9, pytest.approx(scipy_stats.friedmanchisquare(*table.T).pvalue))
    assert stats.average_ranks(table[:, :2]).p == 1.0
    profile = stats.performance_profile(table, [0.0, 1.0])
    assert profile[0].tolist() == [1.0] * 4
    assert profile[1].sum() >= 1.0
    iqm = stats.interquartile_mean(list(table))
    assert iqm.low < iqm.estimate < iqm.high
    assert iqm.estimate == pytest.approx(np.sort(table.ravel())[9:27].mean())


def test_welch_is_scipys() -> None:
    theirs = scipy_stats.ttest_ind_from_stats(95.2, 0.2, 5, 94.6, 0.3, 4, equal_var=False)
    ours = stats.welch_t((95.2, 94.6), (0.2, 0.3), (5, 4))
    ends = theirs.confidence_interval(0.95) if hasattr(theirs, "confidence_interval") else None
    assert ours.p == pytest.approx(theirs.pvalue)
    assert ends is None or (ours.low, ours.high) == pytest.approx((ends.low, ends.high))
    assert stats.welch_t((1.0, 1.0), (0.2, 0.0), (5, 4)).p == 1.0
    with pytest.raises(ValueError, match="positive sd"):
        stats.welch_t((1.0, 2.0), (0.0, 0.0), (5, 5))
