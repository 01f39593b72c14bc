"""Paired tests: known answers, simulated coverage with fixed seeds, and the rules for awkward data."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from harness.stats import (
    effect_size_interval,
    equivalence,
    hedges_d,
    log_ratio,
    minimum_detectable_effect,
    non_inferiority,
    paired_correlation,
    paired_t,
    paired_t_power,
    seeds_for_power,
    seeds_won,
    sign_flip_p,
    sign_sensitive,
    studentised_bootstrap,
)

INF, NAN = math.inf, math.nan
REAL = st.floats(-100, 100, allow_nan=False).map(lambda x: round(x, 3))
SAMPLES = st.lists(REAL, min_size=2, max_size=9).filter(lambda v: max(v) - min(v) > 0.01)


def coverage(draw, truth, n, interval, repeats):
    result = [interval(row) for row in draw((repeats, n))]
    return np.mean([item.low <= truth <= item.high for item in result])


def distribution_sensitive(differences, alpha=0.05):
    return paired_t(differences, alpha).p <= alpha and sign_sensitive(differences, alpha)


# simulations


@pytest.mark.full
@pytest.mark.parametrize("n", [3, 5, 10])
def test_paired_t_covers_at_its_nominal_level_on_normal_data(n):
    rng = np.random.default_rng(100 + n)
    covered = coverage(lambda shape: rng.normal(0.7, 2.0, shape), 0.7, n, paired_t, 20_000)
    assert 0.94 <= covered <= 0.96


@pytest.mark.full
def test_sign_flip_keeps_its_level_on_symmetric_heavy_tails():
    rng = np.random.default_rng(3)
    rejected = np.mean([sign_flip_p(row) <= 0.05 for row in rng.standard_cauchy((4_000, 8))])
    attainable = math.floor(0.05 * 2**7) / 2**7  # the level is a multiple of 2^(1-n)
    assert abs(rejected - attainable) < 0.012
    assert rejected <= 0.055


@pytest.mark.full
def test_bootstrap_coverage():
    rng = np.random.default_rng(11)
    normal = coverage(rng.standard_normal, 0.0, 10, lambda row: studentised_bootstrap(row, resamples=499), 1_500)
    skewed = coverage(
        lambda shape: rng.exponential(1.0, shape), 1.0, 10, lambda row: studentised_bootstrap(row, resamples=499), 1_500
    )
    assert 0.92 <= normal <= 0.98
    assert skewed >= 0.91


# known answers


@settings(deadline=None)
@given(SAMPLES, st.sampled_from([0.01, 0.05, 0.1]))
def test_paired_t_equals_scipy(values, alpha):
    ours, theirs = paired_t(values, alpha), stats.ttest_1samp(values, 0.0)
    interval = theirs.confidence_interval(1 - alpha)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-6)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), rel=1e-7, abs=1e-9)
    assert (ours.estimate, ours.n) == (pytest.approx(np.mean(values), abs=1e-9), len(values))


@settings(deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=2, max_size=7))
def test_sign_flip_equals_scipy_with_ties_and_zeros(values):
    theirs = stats.permutation_test(
        (np.array(values, dtype=float),), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    # scipy doubles the smaller tail; for a sum symmetric about 0 that is the same count
    assert sign_flip_p(values) == pytest.approx(min(1.0, theirs.pvalue), abs=1e-12)


def exact_p_of_integers(values):
    counts = {0: 1}
    for value in values:
        grown = {}
        for total, ways in counts.items():
            for reached in (total + value, total - value):
                grown[reached] = grown.get(reached, 0) + ways
        counts = grown
    return sum(ways for total, ways in counts.items() if abs(total) >= abs(sum(values))) / 2 ** len(values)


def test_sign_flip_monte_carlo_agrees_with_the_exact_count_and_repeats_itself():
    values = [int(v) for v in np.random.default_rng(4).integers(-6, 10, 26)]
    exact = exact_p_of_integers(values)
    assert 0.001 < exact < 0.9
    assert sign_flip_p(values) == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 99_999))
    assert sign_flip_p(values) == sign_flip_p(values)
    assert sign_flip_p([1.0] * 40) == 1 / 100_000  # never zero


def test_sign_flip_ties_survive_rounding():
    # 0.1 + 0.2 against 0.3: the two sums tie in decimal and differ in binary
    assert sign_flip_p([0.1, 0.2, -0.3]) == 1.0
    assert sign_flip_p([0.3, 0.1, 0.2]) == 0.25


@pytest.mark.parametrize(("effect", "n", "alpha"), [(0.2, 30, 0.05), (0.5, 34, 0.05), (1.0, 10, 0.01), (3.0, 3, 0.05)])
def test_power_equals_statsmodels(effect, n, alpha):
    assert paired_t_power(effect, 1.0, n, alpha) == pytest.approx(TTestPower().power(effect, n, alpha), abs=1e-8)
    assert paired_t_power(-effect * 7, 7.0, n, alpha) == pytest.approx(paired_t_power(effect, 1.0, n, alpha), abs=1e-12)


@settings(deadline=None)
@given(st.floats(0.02, 60), st.floats(0.05, 0.99), st.sampled_from([0.001, 0.05]))
def test_seeds_for_power_is_the_fewest(d, power, alpha):
    n = seeds_for_power(d, 1.0, alpha, power)
    assert n is not None
    assert paired_t_power(d, 1.0, n, alpha) >= power
    assert n == 2 or paired_t_power(d, 1.0, n - 1, alpha) < power


def test_seeds_for_power_at_the_edges():
    assert seeds_for_power(0.0) is None
    assert seeds_for_power(NAN) is None
    assert seeds_for_power(1.0, INF) is None
    assert seeds_for_power(0.5, maximum=33) is None
    assert seeds_for_power(0.5, maximum=34) == 34
    assert seeds_for_power(1.0, 0.0) == 2
    assert paired_t_power(5.0, 1.0, 1) == 0.0
    assert paired_t_power(40.0, 1.0, 2, 0.001) < 1.0 == paired_t_power(1e6, 1.0, 2, 0.001)
    with pytest.raises(ValueError, match="sd"):
        paired_t_power(1.0, -1.0, 5)


@settings(deadline=None)
@given(SAMPLES, st.floats(0, 50))
def test_non_inferiority_and_equivalence_equal_statsmodels(values, margin):
    theirs = DescrStatsW(values)
    assert non_inferiority(values, margin).p == pytest.approx(theirs.ttest_mean(-margin, "larger")[1], rel=1e-6)
    assert equivalence(values, 3.0, margin).p == pytest.approx(
        theirs.ttost_mean(3.0 - margin, 3.0 + margin)[0], rel=1e-6
    )
    low, high = theirs.tconfint_mean(alpha=0.1)
    ours = equivalence(values, 3.0, margin)
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-7, abs=1e-9)


@settings(deadline=None)
@given(SAMPLES, st.floats(0.001, 50))
def test_one_sided_p_and_interval_agree(values, margin):
    inferior, equal = non_inferiority(values, margin), equivalence(values, 0.0, margin)
    assume(abs(inferior.low + margin) > 1e-9)
    assume(abs(inferior.high - margin) > 1e-9)
    assert (inferior.p <= 0.05) == (inferior.low >= -margin)
    assert (equal.p <= 0.05) == (equal.low >= -margin and equal.high <= margin)


def test_correlation_equals_scipy_and_has_edges():
    a, b = np.random.default_rng(1).normal(size=(2, 9))
    theirs = stats.pearsonr(a, b)
    assert paired_correlation(a, b) == pytest.approx(theirs.statistic)
    assert math.isnan(paired_correlation([1.0], [2.0]))
    assert math.isnan(paired_correlation([1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]))
    assert paired_correlation([1.0, 2.0, 4.0, NAN, INF], [2.0, 4.0, 8.0, 4.0, 5.0]) == pytest.approx(1.0)


def test_hedges_correction_at_ten_degrees_of_freedom():
    values = np.random.default_rng(2).normal(1, 1, 11)
    # J(10) = Γ(5) / (√5 Γ(4.5)) = 0.9227...
    assert hedges_d(values) == pytest.approx(values.mean() / values.std(ddof=1) * 24 / (math.sqrt(5) * math.gamma(4.5)))


def test_log_ratio_and_seeds_won():
    assert log_ratio([2.0, 1.0, 3.0], [1.0, 2.0, 3.0]) == pytest.approx([math.log(2), -math.log(2), 0.0])
    assert np.isnan(log_ratio([0.0, -1.0, NAN, INF], [1.0, 1.0, 1.0, INF])).all()
    assert paired_t(log_ratio([2.0, 2.2, 0.0], [1.0, 1.0, 1.0])).dropped == 1
    assert seeds_won([1.0, 0.0, -1.0, NAN, INF, 2.0]) == (3, 5)
    with pytest.raises(ValueError, match="3 on one side and 2"):
        log_ratio([1, 2, 3], [1, 2])


# properties


@settings(deadline=None)
@given(SAMPLES)
def test_a_changed_sign_mirrors_every_answer(values):
    flipped = [-v for v in values]
    for test in (paired_t, lambda v: equivalence(v, 0.0, 1.0)):
        item, other = test(values), test(flipped)
        assert (item.p, item.low, item.high) == pytest.approx((other.p, -other.high, -other.low), rel=1e-9, abs=1e-12)
    assert sign_flip_p(values) == sign_flip_p(flipped)
    assert hedges_d(values) == pytest.approx(-hedges_d(flipped), nan_ok=True)
    assert distribution_sensitive(values) == distribution_sensitive(flipped)


@settings(deadline=None)
@given(SAMPLES, st.sampled_from([1e-200, 1e-3, 4.0, 1e250]))
def test_the_unit_does_not_matter(values, factor):
    scaled = [v * factor for v in values]
    item, other = paired_t(values), paired_t(scaled)
    assert other.p == pytest.approx(item.p, rel=1e-7)
    assert (other.low, other.high) == pytest.approx(
        (item.low * factor, item.high * factor), rel=1e-7, abs=1e-9 * factor
    )
    assert sign_flip_p(scaled) == sign_flip_p(values)
    assert hedges_d(scaled) == pytest.approx(hedges_d(values), rel=1e-7, nan_ok=True)
    assert minimum_detectable_effect(scaled) == pytest.approx(minimum_detectable_effect(values) * factor, rel=1e-7)


@settings(deadline=None)
@given(SAMPLES, st.floats(0.001, 10), st.floats(0.01, 0.5), st.floats(0.01, 0.5))
def test_monotone_in_alpha_margin_and_shift(values, more, alpha, beta):
    wide, narrow = paired_t(values, min(alpha, beta)), paired_t(values, max(alpha, beta))
    assert wide.low <= narrow.low + 1e-9
    assert narrow.high <= wide.high + 1e-9
    assert non_inferiority(values, 1.0 + more).p <= non_inferiority(values, 1.0).p + 1e-12
    assert equivalence(values, 0.0, 1.0 + more).p <= equivalence(values, 0.0, 1.0).p + 1e-12
    assert non_inferiority([v + more for v in values], 1.0).p <= non_inferiority(values, 1.0).p + 1e-9


# the disagreement rule


@settings(deadline=None)
@given(SAMPLES)
def test_disagreement_is_the_stated_rule(values):
    t_rejects = stats.ttest_1samp(values, 0.0).pvalue <= 0.05
    one_sign = all(v > 0 for v in values) or all(v < 0 for v in values)
    unsupported = sign_flip_p(values) > 0.05 + 2.0 ** (1 - len(values)) + 1e-9 if len(values) > 5 else not one_sign
    assert distribution_sensitive(values) == (t_rejects and unsupported)


# awkward data

WHOLE_LINE = (-INF, INF, 1.0)
TESTS = {
    "paired_t": paired_t,
    "bootstrap": studentised_bootstrap,
    "non_inferiority": lambda v: non_inferiority(v, 1.0),
    "equivalence": lambda v: equivalence(v, 0.0, 1.0),
}


@pytest.mark.parametrize("name", TESTS)
@pytest.mark.parametrize(
    ("values", "estimate", "n", "dropped"),
    [
        ([], NAN, 0, 0),
        ([NAN, NAN], NAN, 0, 2),
        ([2.5], 2.5, 1, 0),
        ([2.5, NAN], 2.5, 1, 1),
        ([INF, 1.0, 2.0, 3.0, 4.0, 5.0], INF, 6, 0),
        ([-INF, 1.0, NAN, 2.0], -INF, 3, 1),
        ([-INF, INF, 1.0], NAN, 3, 0),
    ],
)
def test_no_variance_no_verdict(name, values, estimate, n, dropped):
    result = TESTS[name](values)
    assert (result.low, result.high, result.p) == WHOLE_LINE
    assert (result.estimate, result.n, result.dropped) == (pytest.approx(estimate, nan_ok=True), n, dropped)


def test_missing_pairs_are_dropped_and_counted():
    values = [1.0, 2.0, 4.0, 3.0, 2.5]
    with_gaps = [1.0, NAN, 2.0, 4.0, NAN, 3.0, 2.5]
    for test in TESTS.values():
        full, gapped = test(values), test(with_gaps)
        assert (gapped.estimate, gapped.low, gapped.high, gapped.p) == (full.estimate, full.low, full.high, full.p)
        assert (gapped.n, gapped.dropped) == (5, 2)
    assert sign_flip_p(with_gaps) == sign_flip_p(values)
    assert hedges_d(with_gaps) == hedges_d(values)


@pytest.mark.parametrize("value", [0.3, -2.0, 1e-9])
def test_equal_differences_are_the_limit_of_nearly_equal_ones(value):
    """(2, 2, 2) used to be inconclusive beside a decisive (2, 2, 2 and a bit)."""
    for n in (3, 6):
        equal, nearly = paired_t([value] * n), paired_t([*[value] * (n - 1), value * (1 + 1e-7)])
        assert (equal.low, equal.high) == (pytest.approx(value), pytest.approx(value))
        assert equal.p < nearly.p < 1e-9
    assert studentised_bootstrap([value] * 6).p < 1e-9
    assert hedges_d([value] * 6) == math.copysign(INF, value)
    assert minimum_detectable_effect([value] * 3) == 0.0


def test_equal_up_to_rounding_is_equal():
    steps = [76.3 - 76.2, 50.1 - 50.0, 0.1]  # differ in the fourteenth digit
    assert len(set(steps)) == 3
    assert paired_t(steps).p == pytest.approx(paired_t([0.1] * 3).p)
    assert paired_t([1.0, 1.0, 1.0 + 1e-6]).p < 1e-6


def test_identical_arms():
    result = paired_t([0.0] * 8)
    assert (result.estimate, result.low, result.high, result.p) == (0.0, 0.0, 0.0, 1.0)
    assert hedges_d([0.0] * 8) == 0.0
    assert sign_flip_p([0.0] * 8) == 1.0
    assert non_inferiority([0.0] * 6, 0.1).p < 1e-9
    assert equivalence([0.0] * 6, 0.0, 0.1).p < 1e-9
    assert equivalence([1.0] * 6, 0.0, 0.1).p == pytest.approx(1.0)


def test_equal_differences_on_coarse_scores_keep_the_level():
    """Out of 100 items three differences are often equal; t and the rule for equal ones together reject ≤ 5 %."""
    rng = np.random.default_rng(23)
    for p, shared in ((0.5, 0), (0.8, 80), (0.95, 0), (0.95, 80), (0.99, 0)):
        common = rng.binomial(shared, p, (40_000, 3))
        d = common + rng.binomial(100 - shared, p, (40_000, 3)) - common - rng.binomial(100 - shared, p, (40_000, 3))
        mean, sd = d.mean(axis=1), d.std(axis=1, ddof=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(mean == 0, 0.0, np.abs(mean) / (sd / math.sqrt(3)))
        assert np.mean(t >= stats.t.ppf(0.975, 2)) <= 0.052


@pytest.mark.full
def test_six_seeds_are_worth_more_than_five():
    rng = np.random.default_rng(29)

    def confirmed(effect, n):
        rows = rng.normal(effect, 1.0, (2_000, n))
        return np.mean([paired_t(row).p <= 0.05 and not distribution_sensitive(row) for row in rows])

    assert confirmed(1.0, 6) == pytest.approx(0.49, abs=0.035)
    assert confirmed(2.0, 6) == pytest.approx(0.96, abs=0.015)
    assert confirmed(0.0, 6) == pytest.approx(0.046, abs=0.015)


@pytest.mark.full
@pytest.mark.parametrize(("n", "effect"), [(3, 4.0), (5, 1.0), (8, 0.0), (6, -2.0)])
def test_interval_of_the_standardised_effect_covers(n, effect):
    rows = np.random.default_rng(50 + n).normal(effect, 1.0, (3_000, n))
    result = [effect_size_interval(row) for row in rows]
    assert np.mean([item.low <= effect <= item.high for item in result]) == pytest.approx(0.95, abs=0.013)


def test_interval_of_the_standardised_effect_is_exact():
    result = effect_size_interval([10.0, 11.0, 11.1])
    t = stats.ttest_1samp([10.0, 11.0, 11.1], 0.0).statistic
    for end, tail in ((result.low, 0.975), (result.high, 0.025)):
        assert stats.nct.cdf(t, 2, end * math.sqrt(3)) == pytest.approx(tail, rel=2e-3)
    mirrored = effect_size_interval([-10.0, -11.0, -11.1])
    assert (mirrored.low, mirrored.high) == (-result.high, -result.low)
    assert result.high / result.estimate > 3  # not symmetric, unlike the mean's interval over the sample sd
    assert (result.low > 0) == (paired_t([10.0, 11.0, 11.1]).p <= 0.05)
    for nothing in ([1.0, 2.0], [2.0, 2.0, 2.0], [1.0, 2.0, INF]):
        assert (effect_size_interval(nothing).low, effect_size_interval(nothing).high) == (-INF, INF)


def test_a_diverged_arm_loses_its_pair_in_the_sign_flip_test():
    values = [-INF, 3.0, -1.0, 2.0, 2.0, 4.0]
    assert sign_flip_p(values) == sign_flip_p([-1e6, 3.0, -1.0, 2.0, 2.0, 4.0])
    assert sign_flip_p([INF] * 6) == 0.03125
    assert sign_flip_p([INF, -INF]) == 1.0
    assert sign_flip_p([INF, -INF, 1.0]) == sign_flip_p([1e6, -1e6, 1.0])


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, NAN])
def test_wrong_alpha(alpha):
    for test in (paired_t, studentised_bootstrap, minimum_detectable_effect):
        with pytest.raises(ValueError, match="alpha"):
            test([1.0, 2.0, 3.0], alpha)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="one dimension"):
        paired_t([[1.0, 2.0]])
    with pytest.raises(ValueError, match="margin"):
        non_inferiority([1.0, 2.0], -0.1)
    with pytest.raises(ValueError, match="target"):
        equivalence([1.0, 2.0], NAN, 0.1)


def test_interval_of_nearly_equal_differences_ends():
    """From t = 1000 on the law of the sd suffices; the inverse of the non-central t fails at millions."""
    before, after = (effect_size_interval([2.0, 2.0, 2.0 + step]) for step in (6.1e-3, 5.9e-3))
    assert after.low / before.low == pytest.approx(6.1 / 5.9, rel=1e-3)
    assert after.high / before.high == pytest.approx(6.1 / 5.9, rel=1e-3)
    far = effect_size_interval([2.0, 2.0, 2.0 + 1e-6])
    assert 1e5 < far.low < far.estimate * 3 < far.high * 3
