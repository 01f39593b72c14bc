"""Added seeds up to a maximum: table, level, coverage, power and limits."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.stats import SequentialRule, half_width_of_moments, interval_half_widths, log_e_process
from harness.stats.capped import TABLE, capped_table
from harness.stats.capped_table import CAPS, FIRST_LOOK, START, STEP, exceeded

INF = math.inf
REAL = st.floats(-50, 50, allow_nan=False).map(lambda x: round(x, 2))
PATH = st.lists(REAL, min_size=1, max_size=14)


def largest(paths):
    return log_e_process(paths)[:, FIRST_LOOK - 1 :].max(axis=1)


# the table


@pytest.mark.full
def test_the_table_is_what_its_script_makes():
    stored = json.loads(TABLE.read_text(encoding="utf-8"))
    assert stored["paths"] >= 1_000_000
    assert [int(cap) for cap in stored["counts"]] == list(CAPS) == list(range(3, 21))
    assert (stored["start"], stored["step"], stored["first_look"]) == (START, STEP, FIRST_LOOK)
    again = exceeded(200_000, seed=7) / 200_000
    kept = np.array(list(stored["counts"].values())) / stored["paths"]
    seen = kept > 1e-3
    error = np.sqrt(kept * (1 - kept) / 200_000 + 1e-12)
    assert np.max((np.abs(again - kept) / error)[seen]) < 5.0
    assert (exceeded(400, seed=stored["seed"], batch=200) == exceeded(400, seed=stored["seed"], batch=200)).all()


@pytest.mark.parametrize(("cap", "five", "hundredth"), [(12, 5.60, 16.8), (20, 7.26, 25.6)])
def test_thresholds_of_the_specification(cap, five, hundredth):
    rule = SequentialRule(0.5, cap)
    assert math.exp(rule.log_threshold(0.05)) == pytest.approx(five, rel=0.005)
    assert math.exp(rule.log_threshold(0.01)) == pytest.approx(hundredth, rel=0.02)


def test_a_cap_of_three_is_the_t_test():
    """A single interim analysis: the threshold at .05 is E of the t quantile."""
    t2 = 4.302653**2
    log_e = -0.5 * math.log(2.5) + 1.5 * (math.log1p(t2 / 2) - math.log1p(t2 / 5))
    assert SequentialRule(0.5, 3).log_threshold(0.05) == pytest.approx(log_e, abs=0.003)


def test_half_widths_of_the_specification():
    threshold = SequentialRule(0.5, 20).log_threshold(0.05)
    result = [float(half_width_of_moments(n, n - 1, 0.5, threshold)) * math.sqrt(n) for n in (6, 8, 12, 20)]
    assert result == pytest.approx([4.30, 3.43, 3.02, 2.85], abs=0.01)


@pytest.mark.parametrize("cap", [3, 12, 20])
def test_p_and_threshold_are_each_other_inverted(cap):
    rule = SequentialRule(0.5, cap)
    for alpha in (0.9, 0.2, 0.05, 0.01, 1e-3, 1e-4):
        assert float(rule.p(rule.log_threshold(alpha))) == pytest.approx(alpha, rel=1e-6)
    grid = rule.p(np.linspace(-1, 30, 500))
    assert (np.diff(grid) <= 0).all()
    assert (grid <= np.exp(-np.maximum(np.linspace(-1, 30, 500), 0)) + 1e-12).all()  # never weaker than Ville


# simulations


@pytest.mark.full
@pytest.mark.parametrize("cap", [3, 6, 12, 20])
def test_level_over_every_look_up_to_the_cap(cap):
    paths = np.random.default_rng(400 + cap).normal(0.0, 3.0, (60_000, cap))
    rule = SequentialRule(0.5, cap)
    for alpha in (0.05, 0.01):
        crossed = np.mean(largest(paths) >= rule.log_threshold(alpha))
        assert crossed == pytest.approx(alpha, abs=4.5 * math.sqrt(alpha / 60_000))


def test_simultaneous_coverage():
    truth, rule = -3.0, SequentialRule(0.5, 12)
    paths = np.random.default_rng(77).normal(truth, 2.0, (20_000, 12))
    mean, half = interval_half_widths(paths, 0.5, log_threshold=rule.log_threshold(0.05))
    covered = (np.abs(mean - truth) <= half)[:, FIRST_LOOK - 1 :].all(axis=1)  # one miss at any look is a miss
    assert np.mean(covered) == pytest.approx(0.95, abs=0.007)
    for path, within in zip(paths[:50], covered, strict=False):
        result = rule.inference(path)
        assert (result.low <= truth <= result.high) == within


@pytest.mark.parametrize(
    ("draw", "most"),
    [
        (lambda rng, shape: rng.standard_t(3, shape), 0.06),
        (lambda rng, shape: (rng.binomial(100, 0.6, shape) - rng.binomial(100, 0.6, shape)).astype(float), 0.06),
    ],
)
def test_level_of_heavy_tails_and_coarse_scores(draw, most):
    paths = draw(np.random.default_rng(78), (20_000, 20))
    assert np.mean(largest(paths) >= SequentialRule(0.5, 20).log_threshold(0.05)) <= most


def test_skew_inflates_it():
    """Skewed data break every t-based rule; the documentation states it."""
    paths = np.random.default_rng(79).lognormal(0.0, 1.0, (20_000, 20)) - math.exp(0.5)
    assert 0.22 <= np.mean(largest(paths) >= SequentialRule(0.5, 20).log_threshold(0.05)) <= 0.28


# properties and edges


@settings(deadline=None)
@given(PATH, st.sampled_from([3, 8, 20]), st.sampled_from([0.01, 0.05, 0.2]))
def test_the_interval_excludes_zero_exactly_where_p_rejects(values, cap, alpha):
    rule = SequentialRule(0.5, cap)
    result = rule.inference(values, alpha)
    up, down = rule.directed_p(values)
    if abs(math.log(min(up, down)) - math.log(alpha)) > 1e-6:
        assert (result.low > 0) == (up <= alpha)
        assert (result.high < 0) == (down <= alpha)
    assert result.p == min(up, down)
    mirrored = rule.directed_p([-value for value in values])
    assert mirrored == pytest.approx((down, up))


@settings(deadline=None)
@given(st.lists(REAL, min_size=3, max_size=12))
def test_p_only_falls_up_to_the_cap(values):
    rule = SequentialRule(0.5, 12)
    p = [rule.inference(values[:n]).p for n in range(1, len(values) + 1)]
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in itertools.pairwise(p))


def test_nothing_below_the_first_look():
    rule = SequentialRule(0.5, 12)
    for values in ([], [1.0], [1.0, 1.0001]):
        result = rule.inference(values)
        assert (result.low, result.high, result.p) == (-INF, INF, 1.0)


def test_beyond_the_cap_the_guarantee_has_ended():
    values = [1.0, 0.4, 1.6, 0.7, 1.1, 0.2, 1.5, 0.9]
    within, beyond = SequentialRule(0.5, 8), SequentialRule(0.5, 6)
    assert within.after(8) == within
    assert beyond.after(8) == SequentialRule(0.5, None)
    assert beyond.inference(values).p == pytest.approx(math.exp(-log_e_process(values)[2:].max()))
    assert beyond.inference(values).p > within.inference(values).p
    mean, half = interval_half_widths(values, 0.5)
    assert beyond.inference(values).low == pytest.approx(np.max(mean - half))


@pytest.mark.parametrize(("g", "cap"), [(2.0, 12), (0.5, 21), (0.5, 2), (0.5, None)])
def test_without_a_table_ville_decides(g, cap):
    rule = SequentialRule(g, cap)
    assert not rule.capped
    assert rule.log_threshold(0.05) == pytest.approx(math.log(20))
    assert float(rule.p(math.log(20))) == pytest.approx(0.05)


def test_p_is_never_zero_and_no_less_than_the_table_shows():
    rule = SequentialRule(0.5, 20)
    end = capped_table().log_e[-1]
    assert float(rule.p(end)) >= 1 / capped_table().paths
    assert 0.0 < float(rule.p(60.0)) == pytest.approx(math.exp(-60.0))
    assert rule.log_threshold(1e-12) == pytest.approx(12 * math.log(10))


@pytest.mark.parametrize("g", [0.0, -1.0, INF, math.nan])
def test_a_wrong_g(g):
    with pytest.raises(ValueError, match="g:"):
        SequentialRule(g, 12)
