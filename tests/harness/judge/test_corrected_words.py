"""Verdicts after the correction of their family."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judge_support import World, around, benchmark, binding, fact, flat, write_suite

from harness import stats
from harness.judge.bindings import claim_designs
from harness.judge.pairs import Pairs
from harness.judge.tests import Conjunction, Mean, NoWorse, Paired, guarded, sign_test_p
from harness.judge.verdicts import SENSITIVE, read
from harness.vocabulary import Verdict

BOUGHT = stats.SequentialRule(0.5, 20)


def many(folder: Path, means: list[float], n: int = 6, smallest: str = "", **more: Any) -> World:
    """A claim and a benchmark for each mean difference, at sd 1."""
    names = [f"x{i}" for i in range(len(means))]
    metric = f"{{unit: percent, better: higher{smallest}}}"
    where = "".join(benchmark(name, level=60 + i, metric=metric) for i, name in enumerate(names))
    bindings = [binding(f"c{i}", benchmarks=[name], **more) for i, name in enumerate(names)]
    suite = write_suite(folder, [fact(f"c{i}") for i in range(len(names))], bindings, benchmarks=where)
    scores: dict[tuple[str, str], Any] = {}
    for name, mean in zip(names, means, strict=True):
        scores |= {(name, "ours"): around(mean, 1.0, n), (name, "base"): flat(n)}
    return World(suite, scores)


@pytest.mark.parametrize("primary", [True, False])
@pytest.mark.parametrize("side", [1, -1])
def test_reversals_are_corrected_like_confirmations(tmp_path: Path, primary: bool, side: int) -> None:
    """p = .03 among ten tests is neither: a reversal used to ask only that the interval lies below zero."""
    edge = next(m for m in np.arange(0.5, 2, 0.01) if stats.paired_t([v - 50 for v in around(m, 1.0, 6)]).p < 0.03)
    alone = many(tmp_path, [side * edge], primary=primary).verdicts()["c0"]
    assert alone["verdict"] == ("direction confirmed" if side > 0 else "direction reversed")
    rows = many(tmp_path, [side * edge, *[0.0] * 4], primary=primary).verdicts()
    assert rows["c0"]["p"] == alone["p"] < 0.03
    assert rows["c0"]["adjusted_p"] > 0.05
    assert rows["c0"]["verdict"] == "inconclusive"


def test_no_effect_worth_having_is_corrected_too(tmp_path: Path) -> None:
    n, value = 10, {"n": 10, "smallest": ", smallest: 0.8"}
    alone = many(tmp_path, [0.1], **value).verdicts()["c0"]
    p = stats.paired_t([0.8 - (v - 50) for v in around(0.1, 1.0, n)]).p / 2
    assert 0.02 < p < 0.05
    assert alone["verdict"] == Verdict.NO_EFFECT
    rows = many(tmp_path, [0.1, 0.8, 0.9, 1.0], **value).verdicts()
    assert rows["c0"]["verdict"] == "inconclusive"
    everywhere = many(tmp_path, [0.1, 0.1, 0.1, 0.1], **value).verdicts()
    assert {row["verdict"] for row in everywhere.values()} == {Verdict.NO_EFFECT}


def test_a_shared_test_asks_about_its_bound_both_ways(tmp_path: Path) -> None:
    """Two claims on one test that point opposite ways: what is too small for one is not for the other."""
    where = benchmark("a", metric="{unit: percent, better: higher, smallest: 0.3}")
    facts = [fact("up"), fact("down", published={"difference": -1.0})]
    suite = write_suite(tmp_path, facts, [binding("up"), binding("down")], benchmarks=where)
    rows = World(suite, {("a", "ours"): around(-0.2, 0.4, 8), ("a", "base"): flat(8)}).verdicts()
    assert len(rows["up"]["design"]["test"]["p"]) == 1
    assert (rows["up"]["verdict"], rows["down"]["verdict"]) == (Verdict.NO_EFFECT, "inconclusive")


class TestFamiliesApart:
    def rows(self, folder: Path) -> dict[str, Any]:
        arms = {"removed": "{role: ablation, optimizer: {name: sgd, lr: 0.5}}"}
        mechanism = fact("mechanism", kind="mechanism", metric="mechanism.share", unit="ratio", published={})
        order = fact("order", kind="ordering", published={})
        facts = [fact("score"), fact("first"), mechanism, fact("without"), order]
        bindings = [
            binding("score"),
            binding("first", arm="other", primary=True),
            binding("mechanism", primary=True),
            binding("without", against=["removed"]),
            binding("order", against=["base", "removed"], order="best"),
        ]
        suite = write_suite(folder, facts, bindings, arms=arms)
        scores = {
            ("a", arm): around(mean, 1.0, 6)
            for arm, mean in (("ours", 1.0), ("base", 0.0), ("other", 2.0), ("removed", -1.0))
        }
        shares = {("a", arm): {"mechanism.share": value} for arm, value in (("ours", 2.0), ("base", 1.0))}
        return World(suite, scores, mechanisms=shares).verdicts()

    def test_what_is_near_certain_does_not_share_the_correction_of_scores(self, tmp_path: Path) -> None:
        rows = self.rows(tmp_path)
        family = {name: row["design"]["multiplicity"]["family"] for name, row in rows.items()}
        others = {"without": "ablation", "order": "ablation"}
        assert family == {"score": "secondary", "first": "primary", "mechanism": "mechanism"} | others
        sizes = {name: len(row["design"]["test"]["p"]) for name, row in rows.items()}
        assert sizes == {"score": 1, "first": 1, "mechanism": 1, "without": 2, "order": 2}
        assert rows["score"]["adjusted_p"] == rows["score"]["p"]

    def test_nulls_beside_certain_mechanisms(self, tmp_path: Path) -> None:
        """Certain mechanism claims do not loosen the correction of nulls."""
        names = [f"x{i}" for i in range(3)]
        where = "".join(benchmark(name, level=60 + i) for i, name in enumerate(names))
        kinds = [
            fact("null"),
            *(fact(f"m{i}", kind="mechanism", metric="mechanism.s", unit="ratio", published={}) for i in (1, 2)),
        ]
        bindings = [binding("null", benchmarks=["x0"]), *(binding(f"m{i}", benchmarks=[f"x{i}"]) for i in (1, 2))]
        suite = write_suite(tmp_path, kinds, bindings, benchmarks=where)
        scores = {
            (name, arm): around(0.3, 1.0, 6) if arm == "ours" else flat(6) for name in names for arm in ("ours", "base")
        }
        shares = {(name, arm): {"mechanism.s": 2.0 if arm == "ours" else 1.0} for name, arm in scores}
        rows = World(suite, scores, mechanisms=shares).verdicts()
        assert rows["m1"]["adjusted_p"] < 1e-9
        assert rows["null"]["adjusted_p"] == rows["null"]["p"]
        assert list(rows["null"]["design"]["multiplicity"]["members"]) == ["x0: ours − base (score)"]


class TestDivergence:
    def bought(self, folder: Path, ours: list[Any], base: list[Any]) -> dict[str, Any]:
        where = benchmark("a", paper=True)
        bound = binding("c", primary=True, on_divergence="worst")
        suite = write_suite(folder, [fact("c")], [bound], benchmarks=where)
        return World(suite, {("a", "ours"): ours, ("a", "base"): base}, "paper").verdicts(sequential=True)["c"]

    def test_one_diverged_trial_does_not_turn_eleven_wins_round(self, tmp_path: Path) -> None:
        """One diverged trial must not outweigh eleven wins."""
        won = self.bought(tmp_path, [*around(2.0, 0.3, 11), "diverged"], flat(12))
        assert won["verdict"] == "direction only"  # signs know no size
        assert won["p"] < 0.05
        lost = self.bought(tmp_path, around(-2.0, 0.3, 12), [*flat(11), "diverged"])
        assert lost["verdict"] == "contradicted"
        even = self.bought(tmp_path, [*around(2.0, 0.3, 6), *["diverged"] * 6], flat(12))
        assert even["verdict"] == "inconclusive"


class TestFewestPairs:
    @pytest.mark.parametrize("sequential", [False, True])
    @pytest.mark.parametrize("scale", ["paper", "mini"])
    def test_two_pairs_decide_nothing(self, tmp_path: Path, scale: str, sequential: bool) -> None:
        where = benchmark("a", paper=scale == "paper")
        suite = write_suite(tmp_path, [fact("c")], [binding("c", primary=True)], benchmarks=where)
        for ours in ([52.0, 52.0 + 1e-6], [48.0, 48.0 - 1e-6], [50.0, 50.0]):
            world = World(suite, {("a", "ours"): ours, ("a", "base"): flat(2)}, scale)
            row = world.verdicts(sequential=sequential)["c"]
            assert row["verdict"] == "inconclusive"
            assert row["p"] == 1.0

    def test_a_value_needs_three_seeds(self, tmp_path: Path) -> None:
        described = fact("c", kind="absolute", published={"method": 50.0})
        where = benchmark("a", paper=True)
        suite = write_suite(tmp_path, [described], [binding("c", against=[], margin=0.5)], benchmarks=where)
        for values in ([50.0, 50.001], [90.0, 90.001]):
            assert World(suite, {("a", "ours"): values}, "paper").verdicts()["c"]["verdict"] == "inconclusive"


class TestMean:
    def test_shared_seeds_are_one_sample(self) -> None:
        """Type I with four benchmarks at correlation .6: strata that were taken for independent rejected 24 %."""
        rng = np.random.default_rng(61)
        rejected = 0
        for _ in range(1_500):
            shared = rng.normal(0, 0.6**0.5, 6)
            parts = tuple(Paired(tuple(shared + rng.normal(0, 0.4**0.5, 6))) for _ in range(4))
            rejected += Mean(parts, (tuple(range(6)),) * 4, (1.0,) * 4).p <= 0.05
        assert rejected / 1_500 == pytest.approx(0.05, abs=0.02)

    def test_fragile_asks_the_p_of_the_design(self) -> None:
        """A fixed design asked the anytime p: 16 of 466 skewed rejections were marked where its own rule marks 141."""
        skewed = (3.0, 3.1, 2.9, 0.02, 3.2, 3.0, -0.3, -0.2, -0.1)
        whole = Mean((Paired(skewed), Paired(skewed)), (tuple(range(9)),) * 2, (1.0, 1.0))
        assert whole.p <= 0.05
        assert whole.fragile(0.05) == Paired(skewed).fragile(0.05) is True

    def test_only_seeds_that_every_benchmark_has(self) -> None:
        whole = Mean((Paired((1.0, 2.0, 3.0, 9.0)), Paired((3.0, 2.0, 4.0))), ((0, 1, 2, 3), (0, 2, 5)), (1.0, 1.0))
        assert whole.values == (2.0, 2.5)
        assert whole.p == 1.0
        parts = (Paired((1.0, -math.inf, math.inf)), Paired((1.0, 1.0, -math.inf)))
        assert Mean(parts, ((0, 1, 2), (0, 1, 2)), (1.0, 1.0)).values == (1.0, -math.inf)


def test_a_conjunction_and_a_margin_have_a_p_for_either_side() -> None:
    up, down = Paired(tuple(around(2.0, 0.3, 6, 0.0))), Paired(tuple(around(-2.0, 0.3, 6, 0.0)))
    everywhere = Conjunction((up, down), 2)
    assert everywhere.p_above == 1.0
    assert everywhere.p_below == pytest.approx(2 * down.p)
    assert read(everywhere, 0.05).below
    worse = NoWorse(tuple(around(-1.0, 0.2, 6, 0.0)), margin=0.5)
    assert worse.p_below == pytest.approx(stats.paired_t([v + 0.5 for v in around(-1.0, 0.2, 6, 0.0)]).p)
    assert worse.p == worse.p_below < 0.05
    assert NoWorse((1.0, 1.0), margin=0.5).p == 1.0


def test_six_seeds_with_one_small_loss_decide(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, [fact("c")], [binding("c")])

    def word(differences: list[float]) -> str:
        scores = {("a", "ours"): [50 + d for d in differences], ("a", "base"): flat(len(differences))}
        return World(suite, scores).verdicts()["c"]["verdict"]

    assert word([1.0, 1.1, 0.9, 1.0, 1.2, -0.001]) == "direction confirmed"
    assert word([1.0, 1.1, 0.9, 1.0, -0.001]) == SENSITIVE


def test_the_registered_cap_is_that_of_the_suite_file(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, [fact("c")], [binding("c")], seeds="{min: 3, max: 12}")
    world = World(suite, {("a", "ours"): around(2, 1, 6), ("a", "base"): flat(6)})
    (design,) = claim_designs(suite, world.plan, sequential=True)
    assert design.rules.stopping == stats.SequentialRule(0.5, 12)
    (fixed,) = claim_designs(suite, world.plan, sequential=False)
    assert fixed.rules.stopping is None


class TestFamiliesOfTests:
    def world(self, folder: Path, *more: dict[str, Any]) -> World:
        """A primary claim on x0, and other claims on all five benchmarks."""
        here = many(folder, [1.0, 0.0, 0.1, -0.1, 0.2])
        rows = [binding("main", benchmarks=["x0"], primary=True), *more]
        suite = write_suite(
            folder,
            [fact(row["id"]) for row in rows],
            rows,
            benchmarks="".join(benchmark(f"x{i}", level=60 + i) for i in range(5)),
        )
        return World(suite, here.scores)

    def test_a_shared_test_leaves_the_others_in_their_family(self, tmp_path: Path) -> None:
        alone = self.world(tmp_path).verdicts()["main"]
        everywhere = binding("everywhere", benchmarks=[f"x{i}" for i in range(5)])
        rows = self.world(tmp_path, everywhere).verdicts()
        numbers = ("p", "adjusted_p", "verdict")
        assert [rows["main"][name] for name in numbers] == [alone[name] for name in numbers]
        assert len(rows["main"]["design"]["test"]["p"]) == 1
        detail = rows["everywhere"]["design"]
        assert detail["multiplicity"]["family"] == detail["test"]["family"] == "secondary"
        assert len(detail["test"]["p"]) == len(detail["multiplicity"]["members"]) == 4
        assert [each["family"] for each in detail["other_families"]] == ["primary"]

    def test_rules_of_divergence_make_tests(self, tmp_path: Path) -> None:
        """Claims with different `on_divergence` share no p."""
        here = self.world(tmp_path, binding("lost", benchmarks=["x0"], on_divergence="worst"))
        here.scores = here.scores | {("x0", "base"): ["diverged", *[50.0] * 5]}
        rows = here.verdicts()
        assert (rows["main"]["verdict"], rows["main"]["p"]) == ("invalid", None)
        assert rows["lost"]["p"] is not None
        assert rows["lost"]["design"]["multiplicity"]["contrast_claims"] == ["lost"]


class TestLossesWithinTheMargin:
    @pytest.mark.parametrize(
        ("mean", "spread", "word"),
        [
            (0.0, 0.03, Verdict.NOT_WORSE),
            (0.06, 0.03, Verdict.NOT_WORSE),
            (-0.06, 0.02, Verdict.CONTRADICTED_BY_LESS),
            (-0.1, 0.02, Verdict.CONTRADICTED),
            (-0.5, 0.02, Verdict.CONTRADICTED),
            (-0.05, 0.2, Verdict.INCONCLUSIVE),
        ],
    )
    def test_a_loss_is_never_reproduced(self, tmp_path: Path, mean: float, spread: float, word: Verdict) -> None:
        """A published gain of .07 with a margin of .1."""
        where = benchmark("a", paper=True)
        suite = write_suite(tmp_path, [fact("c", published={"difference": 0.07})], [binding("c")], benchmarks=where)
        scores = {("a", "ours"): around(mean, spread, 6), ("a", "base"): flat(6)}
        assert World(suite, scores, scale="paper").verdicts()["c"]["verdict"] == word
        assert Verdict.of(word) == word


def test_absolute_claims_are_corrected_as_a_family(tmp_path: Path) -> None:
    """A value outside of its margin, alone and among five."""
    words = []
    for claims in (1, 5):
        names = [f"x{i}" for i in range(claims)]
        facts = [fact(f"c{i}", kind="absolute", published={"method": 50.0}) for i in range(claims)]
        rows = [binding(f"c{i}", benchmarks=[name], against=[], margin=1.0) for i, name in enumerate(names)]
        where = "".join(benchmark(name, paper=True, level=60 + i) for i, name in enumerate(names))
        suite = write_suite(tmp_path, facts, rows, benchmarks=where)
        scores = {(name, "ours"): around(2.17 if name == "x0" else 1.0, 1.0, 6) for name in names}
        row = World(suite, scores, scale="paper").verdicts()["c0"]
        assert row["design"]["multiplicity"]["family"] == "absolute"
        words.append(row["verdict"])
    assert words == [Verdict.NOT_REPRODUCED, Verdict.INCONCLUSIVE]


def test_failures_count_at_seeds_of_every_benchmark(tmp_path: Path) -> None:
    """A seed that one benchmark lacks gives no sign."""
    up = {seed: 1.0 + 0.1 * seed for seed in range(6)}
    lost = {**up, 9: -5.0}
    pairs = [Pairs(each, {}, {}, 6, 0, 0, 0, 0, {8: -math.inf}) for each in (up, lost)]
    parts = tuple(Paired(tuple(each.values)) for each in pairs)
    mean = Mean(parts, (tuple(up), tuple(lost)), (1.0, 1.0))
    signs = [1.0] * 6 + [-1.0]
    assert guarded(mean, pairs, (1.0, 1.0), 0.0, sequential=False).p == max(mean.p, sign_test_p(signs))
