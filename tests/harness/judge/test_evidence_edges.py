"""Scores that cannot be computed with, and failed trials: never dropped in silence, never an exception."""

import math
from pathlib import Path
from typing import Any

import pytest
from judge_support import METHOD, WHEN, World, around, benchmark, binding, fact, flat, record_verdicts, write_suite
from recomputing import differing

from harness.judge import judge, judging
from harness.judge.bindings import claim_designs
from harness.judge.evidence import LARGEST, StoredTrial
from harness.judge.judging import judge_designs
from harness.store import open_reader

UNUSABLE = [math.nan, math.inf, -math.inf, 1e155, -1e155, 1e200, 1e308]


def judged(folder: Path, ours: list[Any], base: list[Any], *, sequential: bool = False, **bound: Any) -> dict[str, Any]:
    suite = write_suite(folder, [fact("c")], [binding("c", **bound)])
    return World(suite, {("a", "ours"): ours, ("a", "base"): base}).verdicts(sequential=sequential)["c"]


@pytest.mark.parametrize("value", UNUSABLE)
@pytest.mark.parametrize("sequential", [False, True])
def test_a_score_that_is_none_is_a_failed_trial(tmp_path: Path, value: float, sequential: bool) -> None:
    row = judged(tmp_path, [*around(2.0, 0.5, 5), value], flat(6), sequential=sequential)
    assert row["design"]["numbers"]["failed"] == 1
    assert row["verdict"] == "inconclusive", "one of six lost pairs would leave nothing decided"
    assert row["n"] == 5
    several = judged(tmp_path, [*around(2.0, 0.5, 4), value, value], flat(6))
    assert several["verdict"] == "invalid"
    assert f"2 of 6 trials of {METHOD} failed; ours reported {value:g} for score" in several["design"]["reason"]
    assert "20% of an arm's are tolerated" in several["design"]["reason"]


@pytest.mark.parametrize("value", [*UNUSABLE, None])
def test_a_score_that_is_none_loses_its_pair_where_divergence_does(tmp_path: Path, value: float | None) -> None:
    suite = write_suite(tmp_path, [fact("c")], [binding("c", on_divergence="worst")])
    world = World(suite, {("a", "ours"): [*around(2.0, 0.5, 7), 50.0], ("a", "base"): flat(8)})
    evidence = world.evidence()
    last = world.plan.trial_ids("a", "ours")[7]
    results = {} if value is None else {("test", "score"): value}  # None: the metric is left out
    evidence[last] = StoredTrial(last, "done", "here", results, 1.0)
    row = judge_designs(claim_designs(suite, world.plan, sequential=False), evidence, {}, WHEN)[0][1]
    assert row.detail.per_benchmark[0].differences[7] == -math.inf
    assert (row.n, row.detail.numbers.diverged, row.verdict) == (8, 1, "inconclusive")


def test_the_largest_score_that_is_computed_with(tmp_path: Path) -> None:
    row = judged(tmp_path, [LARGEST, *around(2.0, 0.5, 5)], [-LARGEST, *flat(5)])
    assert (row["n"], row["design"]["numbers"]["failed"]) == (6, 0)


def test_a_trial_that_leaves_the_metric_out_has_failed(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, [fact("c")], [binding("c")])
    world = World(suite, {("a", "ours"): around(2.0, 0.2, 4), ("a", "base"): flat(4)})
    evidence = world.evidence()
    first = world.plan.trial_ids("a", "ours")[0]
    evidence[first] = StoredTrial(first, "done", "here", {("test", "other"): 1.0}, 1.0)
    row = judge_designs(claim_designs(suite, world.plan, sequential=False), evidence, {}, WHEN)[0][1]
    assert (row.verdict, row.n) == ("invalid", 0)
    assert f"1 of 4 trials of {METHOD} failed; ours left out score at seed 0" in row.detail.reason


def test_bad_seeds_cannot_be_hidden_as_nan(tmp_path: Path) -> None:
    """No effect; the method reports NaN wherever it scores low, as often as is tolerated."""
    import numpy as np

    rng, words = np.random.default_rng(8), []
    suite = write_suite(tmp_path, [fact("c")], [binding("c")])
    world = World(suite, {("a", "ours"): flat(20), ("a", "base"): flat(20)})
    designs, plain = claim_designs(suite, world.plan, sequential=False), world.evidence()
    cells = world.plan.trial_ids("a", "ours")
    for _ in range(200):
        scores = {trial: float(rng.normal(50, 1)) for trial in plain}
        worst = sorted(cells.values(), key=lambda trial: scores[trial])[:4]
        scores |= dict.fromkeys(worst, math.nan)
        evidence = {
            trial: StoredTrial(trial, "done", item.environment, {("test", "score"): scores[trial]}, 1.0)
            for trial, item in plain.items()
        }
        words.append(judge_designs(designs, evidence, {}, WHEN)[0][1].verdict)
    assert words.count("direction confirmed") <= 0.05 * len(words)


class TestFailuresAnArm:
    def test_one_of_five_is_tolerated_on_either_side(self, tmp_path: Path) -> None:
        many = around(2.0, 0.2, 8)
        assert judged(tmp_path, many + [50.0] * 2, [*flat(8), "failed", "failed"])["verdict"] == "direction confirmed"
        row = judged(tmp_path, [*around(2.0, 0.2, 7), 50.0, 50.0, 50.0], [*flat(7), "failed", "failed", "timeout"])
        assert row["verdict"] == "invalid"
        assert "3 of 10 trials of base failed" in row["design"]["reason"]

    def test_the_worst_case_must_not_change_the_word(self, tmp_path: Path) -> None:
        firm = judged(tmp_path, [*around(2.0, 0.2, 11), "failed"], flat(12))
        assert firm["verdict"] == "direction confirmed"
        assert firm["p"] == pytest.approx(2 * 13 / 2**12), "the sign test of all twelve pairs, one of them lost"
        frail = judged(tmp_path, [*around(2.0, 0.2, 5), "failed"], flat(6))
        assert (frail["verdict"], frail["difference"]) == ("inconclusive", pytest.approx(2.0))

    def test_a_failed_baseline_is_the_worst_case_of_a_reversal(self, tmp_path: Path) -> None:
        row = judged(tmp_path, around(-2.0, 0.2, 6), [*flat(5), "failed"])
        assert row["verdict"] == "inconclusive"
        assert judged(tmp_path, [*around(-2.0, 0.2, 5), "failed"], flat(6))["verdict"] == "direction reversed"

    def test_both_failed_is_no_information(self, tmp_path: Path) -> None:
        row = judged(tmp_path, [*around(2.0, 0.2, 5), "failed"], [*flat(5), "failed"])
        assert (row["verdict"], row["n"]) == ("direction confirmed", 5)


@pytest.mark.parametrize("scope", ["all", "mean"])
def test_failures_on_one_benchmark_of_several(tmp_path: Path, scope: str) -> None:
    where = "".join(benchmark(name, level=60 + i) for i, name in enumerate("ab"))
    bound = binding("c", benchmarks=["a", "b"], scope=scope)
    suite = write_suite(tmp_path, [fact("c")], [bound], benchmarks=where)
    for seeds, verdict in ((12, "direction confirmed"), (6, "inconclusive")):
        scores: dict[tuple[str, str], Any] = {(name, "base"): flat(seeds) for name in "ab"}
        scores["a", "ours"] = [*around(2.0, 0.2, seeds - 1), "failed"]
        scores["b", "ours"] = around(2.0, 0.3, seeds)
        assert World(suite, scores).verdicts()["c"]["verdict"] == verdict


def test_pairs_that_both_diverged_are_no_evidence_of_being_no_worse(tmp_path: Path) -> None:
    bound: dict[str, Any] = {"scope": "no_worse", "margin": 1.0, "on_divergence": "worst"}
    row = judged(tmp_path, ["diverged"] * 12, ["diverged"] * 12, **bound)
    assert (row["n"], row["design"]["numbers"]["missing"], row["design"]["numbers"]["diverged"]) == (0, 12, 24)
    assert row["verdict"] == "invalid"


@pytest.mark.parametrize(
    ("ours", "base", "shares"),
    [
        ([0.60, 0.61, 0.62], [0.65, 0.66, 0.67], f"{METHOD} and base"),
        ([51.0, 52.0, 53.0], [0.51, 0.52, 0.50], "base"),
        ([2.1, 2.2, 2.3], [0.6, 0.5, 0.7], None),
        ([60.0, 61.0, 62.0], [0.0, 0.0, 0.0], None),
    ],
)
def test_shares_are_no_percent(tmp_path: Path, ours: list[float], base: list[float], shares: str | None) -> None:
    row = judged(tmp_path, ours, base)
    reason = shares and f"score is in percent (0 to 100), and every score of {shares} lies in [0, 1]"
    assert (row["verdict"], row["design"]["reason"]) == ("invalid" if shares else "direction confirmed", reason)


def test_the_judges_error_on_one_claim_spares_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = "".join(benchmark(name, level=60 + i) for i, name in enumerate("ab"))
    bindings = [binding("good"), binding("bad", benchmarks=["b"])]
    suite = write_suite(tmp_path, [fact("good"), fact("bad")], bindings, benchmarks=where)
    scores = {(name, "ours"): around(2.0, 0.2, 4) for name in "ab"} | {(name, "base"): flat(4) for name in "ab"}
    world = World(suite, scores)
    honest = judging.units_of

    def broken(design: Any, evidence: Any) -> Any:
        if design.claim_id == "bad":
            raise OverflowError("(34, 'Numerical result out of range')")
        return honest(design, evidence)

    monkeypatch.setattr(judging, "units_of", broken)
    rows = world.verdicts()
    assert rows["good"]["verdict"] == "direction confirmed"
    assert rows["bad"]["verdict"] == "invalid"
    assert "OverflowError: (34, 'Numerical result out of range')" in rows["bad"]["design"]["reason"]


def test_unusable_scores_in_a_store_are_judged_and_recompute(tmp_path: Path, database: Path) -> None:
    suite = write_suite(tmp_path, [fact("c"), fact("d")], [binding("c"), binding("d", on_divergence="worst")])
    world = World(suite, {("a", "ours"): [*around(2.0, 0.2, 10), 1e200, math.nan], ("a", "base"): flat(12)})
    world.store(database)
    with open_reader(database) as reader:
        judgement = judge(suite, world.plan, reader, judged_at=WHEN)
    failing, worst = judgement.verdicts
    assert (failing.detail.numbers.failed, worst.detail.numbers.diverged) == (2, 2)
    record_verdicts(database, suite, "mini", judgement)
    with open_reader(database) as reader:
        assert differing(reader, "c", "mini", WHEN) == []
