"""Anytime-valid evidence: simulated error over 30 looks, the formula by integration, duality and limits."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from harness.stats import e_value, interval_half_widths, log_e_process, paired_t, sign_sensitive

INF, NAN = math.inf, math.nan
PATHS, LOOKS = 20_000, 30
LOG_20 = math.log(20.0)
REAL = st.floats(-50, 50, allow_nan=False).map(lambda x: round(x, 2))
PATH = st.lists(REAL, min_size=2, max_size=12).filter(lambda v: max(v) - min(v) > 0.05)


@pytest.fixture(scope="module")
def null_paths():
    return np.random.default_rng(2024).standard_normal((PATHS, LOOKS))


# simulations


def test_false_alarms_over_thirty_looks(null_paths):
    crossed = np.mean(log_e_process(null_paths, 2.0).max(axis=1) >= LOG_20)
    assert crossed <= 0.05
    assert crossed == pytest.approx(0.024, abs=0.004)


@pytest.mark.parametrize(("truth", "g"), [(0.0, 2.0), (1.7, 2.0), (-3.0, 0.5)])
def test_simultaneous_coverage(null_paths, truth, g):
    mean, half = interval_half_widths(3.0 * null_paths + truth, g)
    assert np.mean((np.abs(mean - truth) <= half).all(axis=1)) >= 0.95


def test_mean_of_e_is_one_at_a_fixed_n_under_the_null():
    paths = np.random.default_rng(6).normal(0.0, 5.0, (200_000, 4))
    assert np.exp(log_e_process(paths)).mean(axis=0) == pytest.approx(np.ones(4), abs=0.03)


def test_skewed_differences_inflate_it_and_sign_flips_do_not_help():
    paths = np.random.default_rng(13).exponential(1.0, (PATHS, LOOKS)) - 1.0
    crossed = log_e_process(paths) >= LOG_20
    assert 0.09 <= np.mean(crossed.any(axis=1)) <= 0.13
    alarms = np.flatnonzero(crossed.any(axis=1))[:400]
    stopped = [paths[i, : crossed[i].argmax() + 1] for i in alarms]
    assert np.mean([paired_t(path).p <= 0.05 and sign_sensitive(path) for path in stopped]) < 0.05


def test_a_stopping_rule_that_sees_the_scale():
    """Going on only after a middling first difference makes E no e-value."""
    rows = np.random.default_rng(1).standard_normal((400_000, 2))
    stop = (np.abs(rows[:, 0]) > 0.25) & (np.abs(rows[:, 0]) < 2.0)
    assert np.where(stop, np.exp(log_e_process(rows, 2.0)[:, 1]), 1.0).mean() > 1.01


# the formula


@pytest.mark.parametrize(("t", "n", "g"), [(0.0, 3, 2.0), (1.3, 5, 2.0), (4.0, 6, 0.5), (2.5, 12, 4.0)])
def test_e_is_the_bayes_factor_of_t(t, n, g):
    shape = np.random.default_rng(n).normal(size=n)
    shape = (shape - shape.mean()) / shape.std(ddof=1)
    values = shape + t / math.sqrt(n)
    assert stats.ttest_1samp(values, 0.0).statistic == pytest.approx(t, abs=1e-9)

    def integrand(delta):
        return stats.nct.pdf(t, n - 1, delta * math.sqrt(n)) * stats.norm.pdf(delta, scale=math.sqrt(g))

    marginal, _ = integrate.quad(integrand, -6 * math.sqrt(g), 6 * math.sqrt(g), limit=400)
    assert e_value(values, g) == pytest.approx(marginal / stats.t.pdf(t, n - 1), rel=1e-5)


@settings(deadline=None)
@given(PATH, st.sampled_from([0.5, 2.0]), st.sampled_from([0.01, 0.05, 0.2]))
def test_the_written_formulas(values, g, alpha):
    n, nu = len(values), len(values) - 1
    sd, mean = np.std(values, ddof=1), np.mean(values)
    t2 = n * mean**2 / sd**2
    log_e = -0.5 * math.log(1 + n * g) + n / 2 * (math.log1p(t2 / nu) - math.log1p(t2 / (nu * (1 + n * g))))
    assert log_e_process(values, g)[-1] == pytest.approx(log_e, abs=1e-6)
    c = (math.sqrt(1 + n * g) / alpha) ** (2 / n)
    half = INF if c >= 1 + n * g else sd / math.sqrt(n) * math.sqrt(nu * (c - 1) / (1 - c / (1 + n * g)))
    means, halves = interval_half_widths(values, g, alpha)
    assert (means[-1], halves[-1]) == pytest.approx((mean, half), rel=1e-6, abs=1e-9)


# properties


@settings(deadline=None)
@given(PATH, st.sampled_from([1e-200, 0.01, 3.0, 1e200]))
def test_unit_and_sign_do_not_matter(values, factor):
    scaled = [v * factor for v in values]
    assert log_e_process(scaled) == pytest.approx(log_e_process(values), abs=1e-6)
    assert log_e_process([-v for v in values]) == pytest.approx(log_e_process(values), abs=1e-9)


def test_paths_along_leading_axes():
    paths = np.random.default_rng(0).normal(1.0, 1.0, (2, 3, 6))
    together = log_e_process(paths)
    assert together.shape == (2, 3, 6)
    for index in np.ndindex(2, 3):
        assert together[index] == pytest.approx(log_e_process(paths[index]))


# awkward data


@pytest.mark.parametrize("values", [[], [3.0], [NAN], [NAN, 3.0]])
def test_no_evidence_below_two(values):
    assert e_value(values) == 1.0


def test_an_infinite_difference_ends_the_evidence_but_not_what_was_shown():
    shown = [1.0, 1.1, 0.9, 1.0, 1.05, 1.0]
    assert e_value([*shown, -INF]) == 0.0
    assert list(log_e_process([*shown, -INF, 1.0])) == [*log_e_process(shown), -INF, -INF]
    assert list(interval_half_widths([*shown, -INF])[1]) == [*interval_half_widths(shown)[1], INF]


@pytest.mark.parametrize("value", [5.0, -1e-300, 1e300])
def test_equal_differences_have_the_finite_limit(value):
    for n in (2, 3, 6):
        assert log_e_process([value] * n, 2.0)[-1] == pytest.approx((n - 1) / 2 * math.log1p(2 * n))
    assert list(interval_half_widths([value] * 5, 2.0)[1]) == [INF, INF, INF, 0.0, 0.0]


def test_identical_arms_never_gain_evidence():
    assert log_e_process([0.0] * 10).max() == 0.0
    assert e_value([0.0] * 10) == pytest.approx(1 / math.sqrt(6))


def test_large_t_stays_finite_in_logs():
    noise = np.random.default_rng(0).normal(size=2_000)
    values = 1e9 + noise
    assert log_e_process(values, 2.0)[-1] == pytest.approx(1999 / 2 * math.log1p(4000), rel=1e-6)
    assert e_value(values) == INF
    mean, half = interval_half_widths(values)
    assert abs(mean[-1] - 1e9) < half[-1] < 0.5


@pytest.mark.parametrize("g", [0.0, -1.0, INF, NAN])
def test_wrong_g(g):
    for test in (interval_half_widths, e_value, log_e_process):
        with pytest.raises(ValueError, match="g:"):
            test([1.0, 2.0, 3.0], g)
