"""The share of draws that give a word again: drawn tests are the judge's, edges are even, what is clear comes again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judge_support import World, around, benchmark, binding, fact, flat, write_suite

from harness import stats
from harness.judge.replication import DRAWS, WHOLE, _drawn, _samples, _series, _weights
from harness.judge.tests import Conjunction, NoWorse, Paired, Test
from harness.judge.verdicts import Criteria

BOUGHT = stats.SequentialRule(0.5, 12)
CRITERIA = Criteria(0.05, 0.5, 1.0, 0.4, sizeless=False)


def series(mean: float, n: int) -> tuple[float, ...]:
    return tuple(np.random.default_rng([n, int(10 * abs(mean))]).normal(mean, 1.0, n).tolist())


@pytest.mark.parametrize("rule", [None, BOUGHT])
@pytest.mark.parametrize("n", [3, 5, 6, 9])
@pytest.mark.parametrize("kind", ["paired", "no worse", "all", "at least"])
def test_drawn_tests_are_those_of_the_judge(kind: str, n: int, rule: stats.SequentialRule | None) -> None:
    def test(rows: list[tuple[float, ...]]) -> Test:
        if kind == "paired":
            return Paired(rows[0], rule)
        if kind == "no worse":
            return NoWorse(rows[0], rule, margin=0.5)
        return Conjunction(tuple(Paired(row, rule) for row in rows), 3 if kind == "all" else 2)

    stored = [series(mean, n) for mean in (0.8, -0.6, 1.5)][: 3 if kind in ("all", "at least") else 1]
    whole = test(stored)
    samples = _samples([each.values for each in _series(whole)])
    drawn = _drawn(whole, iter(samples), CRITERIA)
    for row in range(25):
        one = test([tuple(sample[row].tolist()) for sample in samples])
        found = (drawn.above[row], drawn.below[row], drawn.estimate[row])
        assert found == pytest.approx((one.p_above, one.p_below, one.estimate), abs=1e-9)
        assert drawn.fragile[row] == one.fragile(0.05)
        if kind != "no worse":
            assert drawn.smaller[row] == pytest.approx(one.p_smaller(0.4), abs=1e-9)


@pytest.mark.parametrize("n", [6, WHOLE, WHOLE + 1, 300])
def test_draws_have_the_mean_and_the_covariance_of_the_stored_differences(n: int) -> None:
    one = np.array(series(0.7, n))
    other = 0.5 * one + np.array(series(0.2, n)) / 2
    samples = _samples([tuple(one), tuple(other), tuple(other[: n - 1])])
    assert [sample.shape for sample in samples] == [(DRAWS, n), (DRAWS, n), (DRAWS, n - 1)]
    drawn = np.stack([sample.ravel() for sample in samples[:2]])
    assert drawn.mean(axis=1) == pytest.approx([one.mean(), other.mean()], abs=0.06)
    assert np.cov(drawn) == pytest.approx(np.cov(np.stack([one, other])), abs=0.08)
    # each place of a draw is drawn alone
    assert np.corrcoef(samples[0][:, 0], samples[0][:, 1])[0, 1] == pytest.approx(0.0, abs=0.12)
    assert samples[0].mean(axis=1).std() == pytest.approx(one.std(ddof=1) / np.sqrt(n), rel=0.1)


def test_a_draw_of_few_pairs_has_numbers_of_its_own_for_every_value() -> None:
    assert _weights(6).shape == (DRAWS, 6, 6)


def judged(folder: Path, values: list[Any], sequential: bool = False, others: int = 0) -> dict[str, Any]:
    names = [f"x{i}" for i in range(1 + others)]
    where = "".join(benchmark(name, level=60 + i) for i, name in enumerate(names))
    bindings = [binding(f"c{i}", benchmarks=[name], primary=True) for i, name in enumerate(names)]
    suite = write_suite(folder, [fact(f"c{i}") for i in range(len(names))], bindings, benchmarks=where)
    scores: dict[tuple[str, str], Any] = {("x0", "ours"): values, ("x0", "base"): flat(len(values))}
    for name in names[1:]:
        scores |= {(name, "ours"): around(0.0, 1.0, len(values)), (name, "base"): flat(len(values))}
    return World(suite, scores).verdicts(sequential=sequential)["c0"]


@pytest.mark.parametrize("sequential", [False, True])
def test_what_is_clear_comes_again(tmp_path: Path, sequential: bool) -> None:
    clear = judged(tmp_path, around(3.0, 0.3, 8), sequential)
    assert (clear["verdict"], clear["design"]["replication"]) == ("direction confirmed", 1.0)
    few = judged(tmp_path, [52.0, 53.0])
    assert few["design"]["replication"] is None


def test_a_word_at_its_edge_comes_again_in_half_of_the_draws(tmp_path: Path) -> None:
    def p(mean: float) -> float:
        return stats.paired_t([v - 50 for v in around(mean, 1.0, 8)]).p

    edge = next(mean for mean in np.arange(0.3, 3.0, 0.005) if p(mean) <= 0.05)
    row = judged(tmp_path, around(edge, 1.0, 8))
    assert row["verdict"] == "direction confirmed"
    assert row["design"]["replication"] == pytest.approx(0.5, abs=0.1)
    corrected = next(mean for mean in np.arange(0.3, 3.0, 0.005) if p(mean) <= 0.05 / 4)
    row = judged(tmp_path, around(corrected, 1.0, 8), others=3)
    assert row["verdict"] == "direction confirmed"
    assert row["design"]["replication"] == pytest.approx(0.5, abs=0.1)


def test_sizes_are_told_from_the_end_of_the_exact_interval(tmp_path: Path) -> None:
    values = around(1.5, 1.0, 5)
    exact = stats.effect_size_interval([v - 50 for v in values])
    alone = judged(tmp_path, values)["design"]
    assert (alone["d_z"], alone["d_z_low"], alone["d_z_high"]) == pytest.approx((exact.estimate, exact.low, exact.high))
    assert alone["level"] == pytest.approx(0.05)
    assert alone["seeds_needed"] == stats.seeds_for_power(exact.low, 1.0, 0.05)
    family = judged(tmp_path, values, others=3)["design"]
    assert family["level"] == pytest.approx(0.05 / 4)
    assert family["seeds_needed"] == stats.seeds_for_power(exact.low, 1.0, 0.05 / 4) > alone["seeds_needed"]
    open_ = judged(tmp_path, around(0.5, 1.0, 5))["design"]
    assert open_["d_z_low"] < 0
    assert open_["seeds_needed"] is None  # "about 3 seeds would decide" stood beside claims that had three
    bought = judged(tmp_path, values, sequential=True)["design"]
    wider = stats.effect_size_interval([v - 50 for v in values], 0.05 / 18)
    assert (bought["d_z_low"], bought["d_z_high"]) == pytest.approx((wider.low, wider.high))
    assert bought["stopping_rule"] == "capped at 20 seeds"


def test_a_run_beyond_its_cap_says_so(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, [fact("c")], [binding("c")], seeds="{min: 3, max: 6}")
    row = World(suite, {("a", "ours"): around(2.0, 1.0, 8), ("a", "base"): flat(8)}).verdicts(sequential=True)["c"]
    assert row["design"]["stopping_rule"] == (
        "1/α: 8 pairs are beyond the registered cap of 6 seeds, whose guarantee has ended"
    )
    assert row["p"] == pytest.approx(stats.anytime_p([v - 50 for v in around(2.0, 1.0, 8)]))
