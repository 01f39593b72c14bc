"""Known answers: every row of the verdict tables, the sizes they use, and what stops a claim before them."""

import ast
import json
import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from judge_support import METHOD, World, around, benchmark, binding, fact, flat, reading, write_suite

import harness
from harness import stats
from harness.errors import SuiteError
from harness.judge.bindings import RATIOS
from harness.judge.correction import CorrectedFamily
from harness.judge.design import Pairing
from harness.judge.evidence import StoredTrial
from harness.judge.fairness import weak_teacher
from harness.judge.pairs import _difference as difference_of
from harness.judge.protocols import SearchResult
from harness.judge.rows import _deciding as deciding
from harness.judge.verdicts import SENSITIVE, Criteria, decide, least_favourable
from harness.suite.models import MechanismCheck
from harness.trial.options import Values
from harness.vocabulary import Status, Verdict

PAPER = benchmark("a", paper=True)


def one(
    folder: Path,
    values: list[Any],
    *,
    scale: str = "paper",
    base: list[Any] | None = None,
    published: dict[str, float] | None = None,
    sequential: bool = False,
    metric: str = "{unit: percent, better: higher}",
    judge: str = "{}",
    **bound: Any,
) -> dict[str, Any]:
    """The verdict of a single primary claim; ``base`` is flat unless given."""
    measured = dict(part.split(": ") for part in metric.strip("{}").split(", "))
    message = {name: measured[name] for name in ("unit", "better")}
    described = fact("c", **message, **({} if published is None else {"published": published}))
    where = benchmark("a", paper=scale == "paper", metric=metric)
    bindings = [binding("c", primary=True, **bound)]
    suite = write_suite(folder, [described], bindings, benchmarks=where, judge=judge)
    scores = {("a", "ours"): values, ("a", "base"): base or flat(len(values))}
    return World(suite, scores, scale).verdicts(sequential=sequential)["c"]


@pytest.mark.parametrize(
    ("mean", "spread", "n", "word"),
    [
        (2.0, 0.5, 5, "reproduced"),
        (1.05, 0.2, 5, "reproduced"),
        (0.95, 0.2, 5, "direction only"),
        (-2.0, 0.5, 5, "contradicted"),
        (0.0, 0.2, 10, "not reproduced"),
        (1.0, 3.0, 5, "inconclusive"),
    ],
)
def test_paper_table(tmp_path: Path, mean: float, spread: float, n: int, word: str) -> None:
    row = one(tmp_path, around(mean, spread, n))
    assert row["verdict"] == word
    assert row["stand_in"] == []
    assert row["n"] == n
    assert row["difference"] == pytest.approx(mean)


@pytest.mark.parametrize(
    ("mean", "spread", "n", "word"),
    [
        (2.0, 0.5, 5, "direction confirmed"),
        (0.01, 0.001, 5, "direction confirmed"),  # the published size means nothing on a stand-in
        (-2.0, 0.5, 5, "direction reversed"),
        (1.0, 3.0, 5, "inconclusive"),
    ],
)
def test_stand_in_table(tmp_path: Path, mean: float, spread: float, n: int, word: str) -> None:
    row = one(tmp_path, around(mean, spread, n), scale="mini")
    assert row["verdict"] == word
    assert row["stand_in"]


def test_no_effect_worth_having_needs_a_small_interval(tmp_path: Path) -> None:
    shared = around(0.0, 4.0, 10)
    values = [score + own for score, own in zip(shared, around(0.0, 0.2, 10, base=0.0)[::-1], strict=True)]
    registered = "{unit: percent, better: higher, smallest: 0.8}"
    row = one(tmp_path, values, base=shared, scale="mini", metric=registered)
    assert row["design"]["numbers"]["smallest"] == 0.8
    assert row["verdict"] == Verdict.NO_EFFECT
    assert one(tmp_path, values, base=shared, scale="mini")["verdict"] == "inconclusive", "nothing is registered"


def test_the_numbers_are_those_of_the_paired_t(tmp_path: Path) -> None:
    values, base = around(1.5, 0.6, 6), around(0.0, 0.9, 6)[::-1]
    row = one(tmp_path, values, base=base)
    result = stats.paired_t([a - b for a, b in zip(values, base, strict=True)])
    assert (row["ci_low"], row["ci_high"], row["p"]) == pytest.approx((result.low, result.high, result.p))
    effect = row["design"]["effect"]
    assert effect["seeds_won"] == 6
    assert effect["sign_flip_p"] == pytest.approx(2 / 64)
    assert effect["correlation"] == pytest.approx(stats.paired_correlation(values, base))
    assert effect["relative_error_reduction"] == pytest.approx(1.5 / 50)
    assert row["design"]["per_benchmark"][0]["differences"]["0"] == pytest.approx(values[0] - base[0])


def test_smallest_effect_is_the_larger_of_a_fifth_and_the_floor(tmp_path: Path) -> None:
    assert one(tmp_path, around(2, 0.5, 4))["design"]["numbers"]["smallest"] == pytest.approx(0.4)
    small = one(tmp_path, around(2, 0.5, 4), published={"difference": 0.3})
    assert small["design"]["numbers"]["smallest"] == pytest.approx(0.1)
    value = one(tmp_path, around(2, 0.5, 4), m=0.7)
    assert value["design"]["numbers"]["smallest"] == pytest.approx(0.7)


def test_relative_floor_of_perplexity(tmp_path: Path) -> None:
    metric = "{unit: perplexity, better: lower}"
    row = one(tmp_path, around(-0.4, 0.05, 5, base=20), base=flat(5, 20), published={"difference": -0.4}, metric=metric)
    assert row["design"]["numbers"]["smallest"] == pytest.approx(0.1)
    assert row["verdict"] == "reproduced"
    assert row["difference"] == pytest.approx(0.4)


def test_unknown_size_has_no_size_verdict(tmp_path: Path) -> None:
    row = one(tmp_path, around(0.5, 0.05, 5), published={})
    assert row["verdict"] == "direction confirmed"
    assert row["design"]["estimand"]["delta"] is None
    null = one(tmp_path, around(0.0, 0.02, 10), published={})
    assert null["verdict"] == "not reproduced"  # m is the metric's floor


def test_published_effect_below_the_floor_is_no_worse(tmp_path: Path) -> None:
    row = one(tmp_path, around(0.0, 0.03, 8), published={"difference": 0.07})
    assert row["design"]["question"]["scope"] == "no_worse"
    assert row["design"]["estimand"]["margin"] == pytest.approx(0.1)
    assert row["verdict"] == "not worse"
    stand_in = one(tmp_path, around(0.0, 0.03, 8), published={"difference": 0.07}, scale="mini")
    assert stand_in["design"]["question"]["scope"] == "each"


@pytest.mark.parametrize(
    ("published", "better", "sign"),
    [
        ({"difference": -1.0}, "higher", -1),
        ({"difference": 0, "computed_difference": -0.02}, "higher", -1),
        ({"difference": 0, "computed_difference": 0.02}, "lower", 1),
        ({}, "lower", -1),
        ({}, "higher", 1),
    ],
)
def test_direction(tmp_path: Path, published: dict[str, float], better: str, sign: int) -> None:
    where = benchmark("a", metric=f"{{unit: percent, better: {better}}}")
    suite = write_suite(tmp_path, [fact("c", published=published, better=better)], [binding("c")], benchmarks=where)
    row = World(suite, {("a", "ours"): around(3.0 * sign, 0.5, 5), ("a", "base"): flat(5)}).verdicts()["c"]
    assert row["design"]["estimand"]["direction"] == sign
    assert row["verdict"] == "direction confirmed"
    assert row["difference"] == pytest.approx(3.0)


def test_mixed_setting_is_judged_on_the_gains(tmp_path: Path) -> None:
    described = fact("c", setting="mixed", published={"difference": 0.09}, gain_difference=-0.25)
    bound = binding("c", baselines=["other", "third"])
    suite = write_suite(tmp_path, [described], [bound], benchmarks=PAPER)
    scores = {
        ("a", "ours"): around(3.0, 0.02, 5),
        ("a", "other"): flat(5, 50.0),
        ("a", "base"): flat(5, 52.9),
        ("a", "third"): flat(5, 49.5),
    }
    row = World(suite, scores, "paper").verdicts()["c"]
    assert row["design"]["estimand"]["direction"] == -1
    assert row["difference"] == pytest.approx(0.4)  # gains 3.0 and 3.4, although the plain difference is +0.1
    assert row["verdict"] == "reproduced"


def test_distribution_sensitive(tmp_path: Path) -> None:
    values = [50 + d for d in (-0.02, 2.0, 2.1, 2.0, 1.9)]
    assert one(tmp_path, values)["verdict"] == SENSITIVE
    assert one(tmp_path, [100 - v for v in values])["verdict"] == SENSITIVE


class TestTrouble:
    """Missing, failed and diverged trials are counted, never dropped in silence."""

    def test_missing_seed_is_dropped_from_both(self, tmp_path: Path) -> None:
        row = one(tmp_path, [*around(2.0, 0.5, 5), None], base=flat(6))
        assert row["n"] == 5
        assert row["design"]["numbers"]["missing"] == 1
        assert row["verdict"] == "reproduced"

    def test_failures_within_and_beyond_tolerance(self, tmp_path: Path) -> None:
        row = one(tmp_path, around(2.0, 0.5, 6), base=[*flat(5), "failed"])
        assert row["verdict"] == "reproduced"
        assert row["design"]["numbers"]["failed"] == 1
        lost = one(tmp_path, [*around(2.0, 0.5, 5), "failed"], base=flat(6))
        assert lost["verdict"] == "inconclusive", "had the method lost that pair, six would decide nothing"
        row = one(tmp_path, [*around(2.0, 0.5, 3), "failed", "timeout"], base=["failed", *flat(4)])
        assert row["verdict"] == "invalid"
        assert f"2 of 5 trials of {METHOD} failed" in row["design"]["reason"]

    def test_divergence_is_invalid_unless_declared(self, tmp_path: Path) -> None:
        row = one(tmp_path, around(2.0, 0.5, 6), base=[*flat(5), "diverged"])
        assert row["verdict"] == "invalid"
        assert row["design"]["numbers"]["diverged"] == 1

    def test_worst_counts_a_diverged_baseline_as_a_lost_pair(self, tmp_path: Path) -> None:
        row = one(tmp_path, around(2.0, 0.5, 6), base=[*flat(5), "diverged"], on_divergence="worst")
        assert row["p"] == pytest.approx(2.0**-5)
        assert row["verdict"] == "direction only"  # signs know no size
        assert row["n"] == 6
        assert math.isinf(row["ci_low"])
        row = one(tmp_path, around(2, 0.5, 8), base=[*flat(7), "diverged"], on_divergence="worst", sequential=True)
        assert row["p"] == pytest.approx(9 / 2**8)

    def test_worst_counts_a_diverged_method_as_the_worse_one(self, tmp_path: Path) -> None:
        row = one(tmp_path, [*around(2.0, 0.5, 7), "diverged"], base=flat(8), on_divergence="worst")
        assert row["verdict"] == "inconclusive"
        assert row["design"]["per_benchmark"][0]["differences"]["7"] == -math.inf
        lost = one(tmp_path, ["diverged"] * 6, base=flat(6), on_divergence="worst")
        assert lost["verdict"] == "contradicted"
        published = {"difference": -2.0}
        row = one(tmp_path, ["diverged"] * 6, base=flat(6), on_divergence="worst", published=published)
        assert row["verdict"] == "direction only"

    def test_nothing_ran(self, tmp_path: Path) -> None:
        row = one(tmp_path, [None, None, None])
        assert (row["verdict"], row["n"]) == ("not run", 0)

    def test_another_environment_makes_no_pair(self, tmp_path: Path) -> None:
        suite = write_suite(tmp_path, [fact("c")], [binding("c")])
        scores = {("a", "ours"): around(2.0, 0.5, 6), ("a", "base"): flat(6)}
        world = World(suite, scores, elsewhere=frozenset({("a", "ours", 5)}))
        row = world.verdicts()["c"]
        assert (row["n"], row["design"]["numbers"]["mismatched"]) == (5, 1)
        nowhere = World(suite, scores, elsewhere=frozenset(("a", "ours", seed) for seed in range(6)))
        assert nowhere.verdicts()["c"]["verdict"] == "invalid"


SHARE = {"metric": "mechanism.share", "arm": "ours", "op": ">=", "value": 0.9}


class TestGates:
    """Mechanism checks come first."""

    def judged(self, folder: Path, gate: Any, mechanisms: dict[tuple[str, str], dict[str, float]]) -> dict[str, Any]:
        suite = write_suite(folder, [fact("c")], [binding("c", mechanism=gate)])
        scores = {("a", "ours"): around(2.0, 0.5, 5), ("a", "base"): flat(5)}
        return World(suite, scores, mechanisms=mechanisms).verdicts()["c"]

    @pytest.mark.parametrize(
        ("share", "word", "mechanism"),
        [
            (0.95, "direction confirmed", "acted"),
            (0.9, "direction confirmed", "acted"),
            (0.89, "inactive", "did not act"),
        ],
    )
    def test_a_failed_one_shows_the_effect_that_decides_nothing(
        self, tmp_path: Path, share: float, word: str, mechanism: str
    ) -> None:
        result = stats.paired_t([value - 50 for value in around(2.0, 0.5, 5)])
        row = self.judged(tmp_path, SHARE, {("a", "ours"): {"mechanism.share": share}})
        assert (row["verdict"], row["design"]["mechanism"]) == (word, mechanism)
        assert row["design"]["gate_readings"][0]["value"] == pytest.approx(share)
        assert (row["n"], row["difference"]) == (5, pytest.approx(2.0))
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((result.low, result.high))
        assert all((row[name] is None) == (word == "inactive") for name in ("p", "adjusted_p"))

    @pytest.mark.parametrize(("share", "mechanism"), [(0.95, "acted"), (0.5, "did not act"), (None, "not measured")])
    def test_at_paper_scale_the_score_stands(self, tmp_path: Path, share: float | None, mechanism: str) -> None:
        suite = write_suite(tmp_path, [fact("c")], [binding("c", mechanism=SHARE)], benchmarks=PAPER)
        scores = {("a", "ours"): around(2.0, 0.5, 5), ("a", "base"): flat(5)}
        logged = {} if share is None else {("a", "ours"): {"mechanism.share": share}}
        row = World(suite, scores, "paper", logged).verdicts()["c"]
        assert (row["verdict"], row["design"]["mechanism"]) == ("reproduced", mechanism)
        assert row["adjusted_p"] < 0.05

    def test_one_that_fails_on_a_benchmark_of_several_takes_its_evidence_away(self, tmp_path: Path) -> None:
        where = benchmark("a") + benchmark("b", level=51)
        bound = binding("c", benchmarks=["a", "b"], scope={"at_least": 1}, mechanism=SHARE)
        suite = write_suite(tmp_path, [fact("c")], [bound], benchmarks=where)
        scores: dict[tuple[str, str], Any] = {(name, "base"): flat(5) for name in "ab"}
        scores |= {("a", "ours"): around(2.0, 0.5, 5), ("b", "ours"): around(0.0, 0.5, 5)}
        logged = {("a", "ours"): {"mechanism.share": 0.5}, ("b", "ours"): {"mechanism.share": 0.95}}
        row = World(suite, scores, mechanisms=logged).verdicts()["c"]
        assert row["verdict"] == "inconclusive"  # the effect of a is none
        both = World(suite, scores, mechanisms={(n, "ours"): {"mechanism.share": 0.5} for n in "ab"}).verdicts()["c"]
        assert both["verdict"] == "inactive"
        assert both["difference"] == pytest.approx(2.0)

    def test_ratio(self, tmp_path: Path) -> None:
        gate = {"metric": "mechanism.growth", "arm": "base", "relative_to": "ours", "op": ">=", "value": 1.5}
        growth = {("a", "ours"): {"mechanism.growth": 2.0}, ("a", "base"): {"mechanism.growth": 2.9}}
        assert self.judged(tmp_path, gate, growth)["verdict"] == "inactive"
        growth["a", "base"]["mechanism.growth"] = 3.1
        assert self.judged(tmp_path, gate, growth)["verdict"] == "direction confirmed"

    def test_difference_from_an_arm_below_zero(self, tmp_path: Path) -> None:
        gate = {"metric": "mechanism.skill", "arm": "ours", "minus": "base", "op": ">=", "value": 0.2}
        skill = {("a", "ours"): {"mechanism.skill": 0.7}, ("a", "base"): {"mechanism.skill": -0.02}}
        row = self.judged(tmp_path, gate, skill)
        assert row["verdict"] == "direction confirmed"
        assert row["design"]["gate_readings"][0]["value"] == pytest.approx(0.72)
        skill["a", "base"]["mechanism.skill"] = 0.55
        row = self.judged(tmp_path, gate, skill)
        assert row["verdict"] == "inactive"
        assert f"mechanism.skill of {METHOD} − base is 0.15 on a, not >= 0.2" in row["design"]["reason"]
        del skill["a", "base"]
        assert self.judged(tmp_path, gate, skill)["verdict"] == "invalid"

    def test_a_gate_is_a_ratio_or_a_difference(self) -> None:
        both = {"metric": "mechanism.skill", "arm": "ours", "relative_to": "base", "minus": "base"}
        with pytest.raises(ValueError, match="not both"):
            MechanismCheck.model_validate({**both, "op": ">=", "value": 0.2})

    def test_every_gate_must_pass_on_logged_values(self, tmp_path: Path) -> None:
        gates = [{"metric": "mechanism.share", "arm": "ours", "op": op, "value": 0.5} for op in (">", "<")]
        row = self.judged(tmp_path, gates, {("a", "ours"): {"mechanism.share": 0.9}})
        assert row["verdict"] == "inactive"
        row = self.judged(tmp_path, SHARE, {})
        assert row["verdict"] == "invalid"
        assert "not logged" in row["design"]["reason"]
        assert self.judged(tmp_path, {**SHARE, "arm": "third"}, {})["verdict"] == "not run"


class TestFairness:
    """Arms that differ in more than the claim says are shown; unequal budgets make a claim invalid."""

    def judged(self, folder: Path, ours: str, **bench: Any) -> dict[str, Any]:
        where = benchmark("a", **bench)
        suite = write_suite(folder, [fact("c")], [binding("c")], arms={"ours": ours}, benchmarks=where)
        scores = {("a", "ours"): around(2.0, 0.5, 5), ("a", "base"): flat(5)}
        return World(suite, scores).verdicts()["c"]

    @pytest.mark.parametrize(
        ("more", "unequal"),
        [("sgd, lr: 0.5}", None), ("sgd, lr: 0.5}, set: {gamma: 0.5}", "gamma"), ("adamw, lr: 0.5}", "optimizer.lr")],
    )
    def test_what_differs_beyond_the_claims_slot_is_shown(self, tmp_path: Path, more: str, unequal: str | None) -> None:
        row = self.judged(tmp_path, f"{{role: method, optimizer: {{name: {more}}}")
        assert row["verdict"] == "direction confirmed"
        shown = row["design"]["numbers"]["unequal"]
        assert any(unequal in text for text in shown) if unequal else shown == []

    @pytest.mark.parametrize("change", ["steps: 40", "batch_size: 64", "threads: 2"])
    def test_unequal_budget(self, tmp_path: Path, change: str) -> None:
        row = self.judged(tmp_path, f"{{role: method, optimizer: {{name: sgd, lr: 0.5}}, set: {{{change}}}}}")
        assert row["verdict"] == "invalid"
        assert change.partition(":")[0] in row["design"]["reason"]

    def test_nothing_learnt_is_no_verdict(self, tmp_path: Path) -> None:
        """Both arms below what a predictor reaches that learns nothing: a weak baseline, with the numbers."""
        suite = write_suite(tmp_path, [fact("c")], [binding("c")])
        scores = {("a", "ours"): [52.0, 53, 52.5, 53.1], ("a", "base"): [50.0, 51, 50.4, 51.2]}
        for trivial, word in ((60.0, "weak baseline"), (51.5, "direction confirmed")):
            existing = {("a", arm): {"trivial.score": trivial} for arm in ("ours", "base")}
            verdict = World(suite, scores, mechanisms=existing).verdicts()["c"]
            assert verdict["verdict"] == word, verdict["design"]["reason"]
        where = benchmark("a", metric=json.dumps({"unit": "percent", "better": "higher", "trivial": 60}))
        in_file = write_suite(tmp_path, [fact("c")], [binding("c")], benchmarks=where)
        assert World(in_file, scores).verdicts()["c"]["verdict"] == "weak baseline"
        verdict = World(suite, scores, mechanisms={("a", "base"): {"trivial.score": 60.0}}).verdicts()["c"]
        reason = str(verdict["design"]["reason"])
        assert re.search(r"ours 52.65 and base 50.65 percent on a: no better than the .* 60", reason)

    def test_weak_baseline(self, tmp_path: Path) -> None:
        ours = "{role: method, optimizer: {name: sgd, lr: 0.5}}"
        weak = self.judged(tmp_path, ours, competent={"score": 51})
        assert weak["verdict"] == "weak baseline"
        assert re.fullmatch(r"base reaches 50 percent on a; .+ 51", weak["design"]["reason"])
        assert self.judged(tmp_path, ours, competent={"score": 49})["verdict"] == "direction confirmed"

    def test_an_arm_is_the_bar(self, tmp_path: Path) -> None:
        """Claims against the dummy baseline itself need no other threshold."""
        benchmarks = benchmark("a", competent={"score": "other"})
        facts, bound = [fact("c"), fact("bar")], [binding("c"), binding("bar", against=["other"])]
        suite = write_suite(tmp_path, facts, bound, benchmarks=benchmarks)
        scores = {("a", "ours"): [52.0, 52.1, 51.9], ("a", "base"): [50.0, 50.1, 50.1]}
        for level, word in ((50.5, "weak baseline"), (49.5, "direction confirmed")):
            rows = World(suite, scores | {("a", "other"): [level, level + 0.1, level]}).verdicts()
            assert rows["c"]["verdict"] == word
            assert rows["bar"]["verdict"] == "direction confirmed"
        row = World(suite, scores | {("a", "other"): [51.0] * 3}).verdicts()["c"]
        assert "other reaches" in row["design"]["reason"]
        assert World(suite, scores).verdicts()["c"]["verdict"] == "direction confirmed"  # the bar has not run

    def test_a_bar_that_is_no_arm_is_told_at_its_place(self, tmp_path: Path) -> None:
        with pytest.raises(SuiteError, match="no arm 'nobody'"):
            write_suite(tmp_path, [fact("c")], [binding("c")], benchmarks=benchmark("a", competent={"score": "nobody"}))


def test_sequential_uses_anytime_intervals_only(tmp_path: Path) -> None:
    values = around(2.0, 0.5, 6)
    row = one(tmp_path, values, sequential=True)
    result = stats.SequentialRule(0.5, 20).inference([v - 50 for v in values])
    assert (row["ci_low"], row["ci_high"], row["p"]) == pytest.approx((result.low, result.high, result.p))
    assert row["e_value"] == pytest.approx(stats.e_value([v - 50 for v in values]))
    assert row["sequential"]
    three = one(tmp_path, values[:3], sequential=True)
    assert three["verdict"] == "inconclusive"  # the interval is infinite below five seeds
    assert one(tmp_path, values[:3])["e_value"] is None


def test_log_ratio_of_times(tmp_path: Path) -> None:
    described = fact("c", metric="score", unit="seconds", better="lower", published={"method": 5, "baseline": 10})
    where = benchmark("a", paper=True, metric="{unit: seconds, better: lower}")
    suite = write_suite(tmp_path, [described], [binding("c")], benchmarks=where)
    base = [8.0, 11.0, 10.0, 13.0, 9.0]
    noisy = [0.5, 0.52, 0.48, 0.51, 0.49]
    scores = {("a", "ours"): [b * x for b, x in zip(base, noisy, strict=True)], ("a", "base"): base}
    row = World(suite, scores, "paper").verdicts()["c"]
    assert row["difference"] == pytest.approx(-sum(map(math.log, noisy)) / 5)
    assert row["design"]["pairing"]["log_ratio"]
    halved_more = difference_of(Pairing(log_ratio=True), -1, [5.0, 10.0, 12.0, 16.0])
    assert halved_more == pytest.approx(-math.log(5 / 10) + math.log(12 / 16)), "beyond the change of the own baselines"


def test_a_significant_p_without_its_interval_decides_nothing() -> None:
    criteria = Criteria(alpha=0.05, kappa=0.5, delta=2.0, smallest=0.4, sizeless=False)
    assert decide(reading(), 0.04, criteria) == "reproduced"
    assert decide(reading(), 0.06, criteria) == "inconclusive"  # adjusted p decides, not the interval alone
    assert decide(reading(above=False), 0.04, criteria) == "inconclusive"


def test_among_equal_words_the_weakest_evidence_decides() -> None:
    units: Any = [SimpleNamespace(contrast=name, p=p) for name, p in (("a", 0.02), ("b", 0.04), ("c", None))]
    families = dict.fromkeys("ab", CorrectedFamily(adjusted={"a": 0.02, "b": 0.04}))
    assert [deciding(units[:n], ["inconclusive"] * n, families) for n in (1, 2, 3)] == [0, 1, 2]


def test_a_teacher_below_its_student_cannot_teach() -> None:
    block: Any = SimpleNamespace(teacher_trials=("t",), metric="score", split="test", better="higher", unit="points")
    evidence = {"t": StoredTrial("t", Status.DONE, "", {("test", "score"): 50.0})}
    assert weak_teacher(block, evidence, [40.0, 50.0]) is None
    assert weak_teacher(block, evidence, []) is None
    reason = weak_teacher(block, evidence, [50.0])
    assert reason == "the teacher (50 points) is no better than its student alone (50)"


def test_every_verdict_has_a_rank_and_the_least_favourable_decides() -> None:
    ranked = sorted(Verdict, key=lambda verdict: verdict.rank)
    assert len({verdict.rank for verdict in ranked}) == len(Verdict)
    for worse, better in pairwise(ranked):
        assert least_favourable([better, worse]) == 1
        assert least_favourable([worse, better]) == 0
    against = ["invalid", "not run", "inactive", "contradicted", "direction reversed", "not reproduced"]
    others = ["inconclusive", "not comparable", "direction only", "direction confirmed", "reproduced"]
    published = [*against, Verdict.NO_EFFECT, *others]
    assert [str(verdict) for verdict in ranked if verdict in published] == published
    assert least_favourable(["reproduced", "contradicted", "inconclusive"]) == 1
    assert least_favourable(["direction confirmed", SENSITIVE]) == 1


@pytest.mark.parametrize(
    "verdict", [each for each in Verdict if each.decisive and each != Verdict.CONTRADICTED_BY_LESS]
)
def test_what_is_decisive_is_taken_back_where_the_shape_decides(verdict: Verdict) -> None:
    against = verdict in (Verdict.CONTRADICTED, Verdict.REVERSED)
    delta = {Verdict.REPRODUCED: 2.0, Verdict.DIRECTION_ONLY: 9.0, Verdict.CONTRADICTED: 2.0}.get(verdict)
    criteria = Criteria(0.05, 0.5, delta, smallest=0.4, sizeless=verdict == Verdict.REVERSED)
    result = reading(above=not against, below=against, margin=verdict == Verdict.NOT_WORSE)
    assert decide(result, 0.01, criteria) == verdict
    assert decide(replace(result, fragile=True), 0.01, criteria) == SENSITIVE


def test_a_loss_stands_where_the_margin_rests_on_the_shape() -> None:
    criteria = Criteria(0.05, 0.5, 0.07, smallest=0.1, sizeless=False)
    assert decide(reading(margin=True), 0.01, criteria, 0.01) == Verdict.CONTRADICTED_BY_LESS
    assert decide(reading(margin=True, fragile=True), 0.01, criteria, 0.01) == Verdict.CONTRADICTED
    assert decide(reading(margin=True), 0.01, replace(criteria, delta=None), 0.01) == Verdict.NOT_WORSE


def test_a_verdict_is_written_in_one_place() -> None:
    """Adding one touches the vocabulary alone; no other source of the engine contains its text.

    Three are words of something else too: a divergence that makes ``invalid``, a check ``reported``, a tone ``holds``.
    """
    words = {str(verdict) for verdict in Verdict} - {"invalid", "reported", "holds"}
    home = Path(harness.__file__).parent
    text = {
        (str(path.relative_to(home)), node.value)
        for path in home.rglob("*.py")
        if path.name != "vocabulary.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in words
    }
    assert text == set()


@pytest.mark.parametrize(
    ("counts", "verdict", "reason"),
    [
        ({"new": 3, "base": 4}, "not run", "not tuned on a yet (search 2, configurations: new 3 of 4, base 4 of 4)"),
        ({"new": 4, "base": 4}, "invalid", "no configuration of new on a ended with a score"),
    ],
)
def test_a_search_without_a_comparison_has_its_reason(counts: dict[str, int], verdict: str, reason: str) -> None:
    search: Any = SimpleNamespace(benchmark="a", budget=4, tuning=SimpleNamespace(number=1))
    chosen = {"new": Values(), "base": Values(params={"optimizer.lr": 0.1})}
    result = SearchResult(search, (search,), counts, chosen, {})
    word, message = result.lack
    assert word == verdict
    assert message.startswith(reason)
    assert not result.equal
    assert result.params == {"base": {"optimizer.lr": 0.1}}


def test_ratios_are_compared_on_logs() -> None:
    """Step decays of three seeds: a factor of five to ten, which raw differences do not show."""
    named = ("mechanism.effective_step_decay.conv", "mechanism.weight_norm_growth", "weight_decay_error")
    assert [RATIOS.search(name) is not None for name in named] == [True, True, False]
    pairs = ((1981.0, 400.0), (3647.0, 345.0), (1881.0, 356.0))
    raw, logs = ([difference_of(Pairing(log_ratio=on), 1, list(pair)) for pair in pairs] for on in (False, True))
    assert stats.paired_t([value for value in raw if value is not None]).p > 0.05
    assert stats.paired_t([value for value in logs if value is not None]).p == pytest.approx(0.016, abs=0.001)
