"""Corrections and scopes: equality with statsmodels, and simulated error under dependence."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests

from harness.stats import (
    benjamini_hochberg,
    holm,
    log_e_process,
    overlapping_two_way,
    paired_t,
    partial_conjunction,
    two_way_interval,
)

INF, NAN = math.inf, math.nan
P = st.floats(0, 1).map(lambda x: round(x, 4))
FAMILY = st.lists(P, min_size=1, max_size=12)


def shared_baseline(rng, repeats, effects, n):
    """Differences with a shared baseline, as repeats × comparisons × n. Two comparisons correlate by ½."""
    methods = rng.standard_normal((repeats, len(effects), n)) + np.array(effects)[:, None]
    return methods - rng.standard_normal((repeats, 1, n))


def t_test_p(differences):
    n = differences.shape[-1]
    t = differences.mean(axis=-1) / (differences.std(axis=-1, ddof=1) / math.sqrt(n))
    return 2 * stats.t.sf(np.abs(t), n - 1)


# simulations


@pytest.mark.full
@pytest.mark.parametrize("effects", [[0.0] * 5, [0.0, 0.0, 3.0, 3.0, 0.0]])
def test_holm_family_wise_error_with_a_shared_baseline(effects):
    rng = np.random.default_rng(31)
    null = np.array(effects) == 0
    p = t_test_p(shared_baseline(rng, 8_000, effects, 6))
    wrong = np.mean([(holm(row)[null] <= 0.05).any() for row in p])
    assert wrong <= 0.055
    assert np.mean((p[:, null] <= 0.05).any(axis=1)) > 0.08  # uncorrected, so there was something to control


@pytest.mark.full
def test_benjamini_hochberg_false_discovery_rate_with_a_shared_baseline():
    effects = [0.0] * 8 + [2.5] * 4
    p = t_test_p(shared_baseline(np.random.default_rng(32), 8_000, effects, 6))
    rejected = np.array([benjamini_hochberg(row) <= 0.05 for row in p])
    false = rejected[:, :8].sum(axis=1) / np.maximum(rejected.sum(axis=1), 1)
    assert false.mean() <= 0.05
    assert rejected[:, 8:].mean() > 0.5


@pytest.mark.full
def test_holm_over_p_of_the_largest_evidence_at_data_dependent_stops():
    """Comparisons with a shared baseline stop once any is significant after correction."""
    paths = shared_baseline(np.random.default_rng(35), 3_000, [0.0] * 4, 15)
    p = np.exp(-np.maximum(np.maximum.accumulate(log_e_process(paths), axis=-1), 0.0))
    smallest = p.min(axis=(1, 2)) * 4  # Holm's first step at the most favourable look
    assert np.mean(smallest <= 0.05) <= 0.05


@pytest.mark.full
def test_partial_conjunction_level_when_one_fewer_is_real():
    rng = np.random.default_rng(36)
    p = t_test_p(shared_baseline(rng, 8_000, [50.0, 0.0, 0.0, 0.0, 0.0], 6))
    at_least_two = [partial_conjunction(row, 2) <= 0.05 for row in p]
    assert 0.02 <= np.mean(at_least_two) <= 0.05
    assert np.mean(p.max(axis=1) <= 0.05) <= 0.05
    all_but_one = t_test_p(shared_baseline(rng, 8_000, [50.0, 50.0, 50.0, 0.0], 6))
    assert np.mean(all_but_one.max(axis=1) <= 0.05) == pytest.approx(0.05, abs=0.01)


@pytest.mark.full
@pytest.mark.parametrize(
    ("seeds", "seed_sd", "item_sd", "noise", "least"),
    [(3, 0.0, 1.0, 1.0, 0.94), (3, 0.3, 1.0, 1.0, 0.91), (5, 0.2, 0.2, 1.0, 0.93), (6, 1.0, 0.0, 1.0, 0.935)],
)
def test_two_way_coverage(seeds, seed_sd, item_sd, noise, least):
    rng = np.random.default_rng(39)
    items, covered, seeds_only = 100, [], []
    for _ in range(2_500):
        of_seeds, of_items = seed_sd * rng.standard_normal((seeds, 1)), item_sd * rng.standard_normal((1, items))
        matrix = 0.4 + of_seeds + of_items + noise * rng.standard_normal((seeds, items))
        result, naive = two_way_interval(matrix), paired_t(matrix.mean(axis=1))
        covered.append(result.low <= 0.4 <= result.high)
        seeds_only.append(naive.low <= 0.4 <= naive.high)
    assert np.mean(covered) >= least
    assert seed_sd > 0.1 or np.mean(seeds_only) < 0.9  # an interval over seeds alone ignores the items


# known answers


@settings(max_examples=10, deadline=None)  # statsmodels takes 50 ms for one Holm
@given(FAMILY)
def test_holm_equals_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)


@settings(deadline=None)
@given(FAMILY)
def test_benjamini_hochberg_equals_statsmodels(p):
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1], abs=1e-12)


def test_the_family_of_85_claims():
    # three seeds, 85 tests: the smallest |d_z| that Holm's first step accepts
    d = np.array([23.7, 23.9])
    p = 2 * stats.t.sf(d * math.sqrt(3), 2)
    family = np.ones(84)
    assert holm([p[0], *family])[0] > 0.05 >= holm([p[1], *family])[0]


def test_degrees_of_freedom_are_at_least_those_of_the_seeds():
    matrix = np.random.default_rng(0).normal(size=(6, 2)) + np.array([0.0, 9.0])
    half = [result.high - result.estimate for result in (overlapping_two_way(matrix, alpha) for alpha in (0.05, 0.5))]
    quantiles = stats.t.ppf([0.975, 0.75], 5)
    assert half[0] / half[1] == pytest.approx(quantiles[0] / quantiles[1])


def test_two_seeds_of_overlapping_items_are_enough():
    matrix = np.array([[1.0, 2.0, 4.0, np.nan], [2.0, 3.0, np.nan, 4.0]])
    assert math.isfinite(overlapping_two_way(matrix).high)
    assert math.isinf(overlapping_two_way(matrix[:1]).high)


def test_two_way_mean_squares_equal_an_analysis_of_variance():
    rng = np.random.default_rng(3)
    seeds, items = 4, 6
    matrix = rng.normal(size=(seeds, items)) + 2 * rng.normal(size=(seeds, 1)) + rng.normal(size=(1, items)) + 1
    s, i = np.indices(matrix.shape)
    table = anova_lm(ols("y ~ C(s) + C(i)", pd.DataFrame({"y": matrix.ravel(), "s": s.ravel(), "i": i.ravel()})).fit())
    ms_s, ms_i, ms_e = table["mean_sq"]
    result = two_way_interval(matrix)
    total = ms_s + ms_i - ms_e
    df = total**2 / (ms_s**2 / (seeds - 1) + ms_i**2 / (items - 1) + ms_e**2 / ((seeds - 1) * (items - 1)))
    assert df > seeds - 1
    error = math.sqrt((ms_s + ms_i - ms_e) / (seeds * items))
    assert result.high - result.estimate == pytest.approx(stats.t.ppf(0.975, df) * error)
    assert result.p == pytest.approx(2 * stats.t.sf(abs(matrix.mean()) / error, df))
    assert result.seed_sd == pytest.approx(math.sqrt((ms_s - ms_e) / items))
    assert result.item_sd == pytest.approx(math.sqrt((ms_i - ms_e) / seeds))


def test_partial_conjunction_between_bonferroni_and_the_largest():
    p = [0.04, 0.001, 0.02]
    assert partial_conjunction(p, 1) == pytest.approx(0.003)
    assert partial_conjunction(p, 2) == pytest.approx(0.04)
    assert partial_conjunction(p, 3) == 0.04
    assert partial_conjunction([0.9, 0.8], 1) == 1.0


# properties


@settings(deadline=None)
@given(FAMILY, st.randoms())
def test_corrections_follow_the_input_order(p, random):
    order = list(range(len(p)))
    random.shuffle(order)
    shuffled = [p[i] for i in order]
    for correct in (holm, benjamini_hochberg):
        adjusted = correct(p)
        assert correct(shuffled) == pytest.approx(adjusted[order])
        assert (adjusted >= np.array(p) - 1e-15).all()
        assert (adjusted <= 1.0).all()
        by_p = np.argsort(p, kind="stable")
        assert (np.diff(adjusted[by_p]) >= -1e-15).all()
    assert (benjamini_hochberg(p) <= holm(p) + 1e-12).all()


@settings(deadline=None)
@given(FAMILY, P, st.data())
def test_a_smaller_p_never_hurts(p, smaller, data):
    i = data.draw(st.integers(0, len(p) - 1))
    better = [*p]
    better[i] = min(p[i], smaller)
    k = data.draw(st.integers(1, len(p)))
    for correct in (holm, benjamini_hochberg):
        assert (correct(better) <= correct(p) + 1e-12).all()
    assert partial_conjunction(better, k) <= partial_conjunction(p, k)
    if k > 1:
        assert partial_conjunction(p, k) >= sorted(p)[k - 1]


# directions and awkward data


def test_a_member_without_a_test_stays_in_the_family_and_one_may_be_empty():
    assert holm([0.01, NAN, 0.02]) == pytest.approx([0.03, NAN, 0.04], nan_ok=True)
    assert benjamini_hochberg([0.01, NAN, 0.02]) == pytest.approx([0.03, NAN, 0.03], nan_ok=True)
    assert partial_conjunction([0.01, NAN], 1) == pytest.approx(0.02)
    for correct in (holm, benjamini_hochberg):
        assert correct([]).shape == (0,)
    assert partial_conjunction([], 1) == 1.0
    assert partial_conjunction([0.001], 2) == 1.0


@pytest.mark.parametrize("wrong", [[-0.1], [1.1], [INF], [[0.1]]])
def test_wrong_p(wrong):
    for correct in (holm, benjamini_hochberg):
        with pytest.raises(ValueError, match="p:"):
            correct(wrong)
    with pytest.raises(ValueError, match="k:"):
        partial_conjunction([0.1], 0)


def test_two_way_with_awkward_matrices():
    matrix = np.random.default_rng(5).normal(1, 1, (4, 9))
    whole = two_way_interval(matrix)
    gap = matrix.copy()
    gap[2, 3] = NAN
    dropped, three = two_way_interval(gap), two_way_interval(matrix[[0, 1, 3]])
    assert (dropped.n, dropped.dropped) == (3, 1)
    assert (dropped.low, dropped.high) == (three.low, three.high)
    unseen = np.column_stack([matrix, np.full(4, NAN)])
    assert two_way_interval(unseen) == whole
    for empty in (np.zeros((0, 3)), np.ones((1, 5)), np.ones((3, 1)), np.zeros((3, 4)), np.full((3, 3), INF)):
        result = two_way_interval(empty)
        assert (result.low, result.high, result.p) == (-INF, INF, 1.0)
    for interval in (two_way_interval, overlapping_two_way):
        with pytest.raises(ValueError, match="expected seeds × items"):
            interval([1.0, 2.0])


def test_two_way_approaches_the_seed_interval_when_items_agree():
    by_seed = np.array([0.5, 1.0, 1.8, 0.9])
    result, seeds_only = two_way_interval(np.repeat(by_seed[:, None], 50, axis=1)), paired_t(by_seed)
    assert (result.low, result.high, result.p) == pytest.approx((seeds_only.low, seeds_only.high, seeds_only.p))


# seeds tested on overlapping sets of items


def drawn(rng: np.random.Generator, seeds: int, seed_sd: float, item_sd: float) -> np.ndarray:
    """Differences without effect; each seed is tested on 80 of 120 items."""
    values, items = np.full((seeds, 120), NAN), rng.normal(0, item_sd, 120)
    for row in values:
        chosen = rng.choice(120, 80, replace=False)
        row[chosen] = rng.normal(0, seed_sd) + items[chosen] + rng.normal(0, 0.7, 80)
    return values


def test_overlapping_items_that_are_common_give_the_balanced_interval() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(5, 60)) + 0.3 * rng.normal(size=(5, 1)) + rng.normal(size=(1, 60))
    crossed, unbalanced = two_way_interval(matrix), overlapping_two_way(matrix)
    assert unbalanced.estimate == pytest.approx(crossed.estimate)
    assert (unbalanced.seed_sd, unbalanced.item_sd) == pytest.approx((crossed.seed_sd, crossed.item_sd))
    assert unbalanced.high - unbalanced.low == pytest.approx(crossed.high - crossed.low, rel=0.02)


@pytest.mark.full
@pytest.mark.parametrize("seeds", [3, 6])
def test_coverage_with_two_thirds_shared(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    samples = [drawn(rng, seeds, 0.02, 0.5) for _ in range(400)]
    covered = [result.low <= 0 <= result.high for result in map(overlapping_two_way, samples)]
    over_seeds = [paired_t(np.nanmean(sample, axis=1)) for sample in samples]
    assert np.mean(covered) >= 0.93
    assert np.mean([result.low <= 0 <= result.high for result in over_seeds]) < 0.92


@pytest.mark.parametrize(
    "matrix",
    [
        np.full((3, 4), NAN),
        np.ones((1, 5)),
        np.eye(3) + np.where(np.eye(3) > 0, 0.0, NAN),
        np.array([[1.0, INF], [1.0, 2.0]]),
        np.ones((4, 4)),
    ],
)
def test_overlapping_items_without_information_give_the_whole_line(matrix: np.ndarray) -> None:
    result = overlapping_two_way(matrix)
    assert (result.low, result.high, result.p) == (-INF, INF, 1.0)
