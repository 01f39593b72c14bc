"""Kinds and scopes of claims."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judge_support import World, around, benchmark, binding, fact, flat, write_suite

from harness import stats
from harness.judge.ablation import parent_of
from harness.judge.absolute import last_digit
from harness.judge.bindings import claim_designs
from harness.judge.judging import claim_rows
from harness.judge.tests import Conjunction, Mean, NoWorse, Paired, sign_p
from harness.plan.planning import Selection, make_plan
from harness.suite.models import Arm
from harness.vocabulary import Verdict

BOUGHT = stats.SequentialRule(0.5, 20)
THREE = "".join(benchmark(name, paper=True, level=level) for name, level in (("a", 50), ("b", 51), ("d", 52)))
STRONG, WEAK, NULL, AGAINST = (around(2.0, 0.3, 6), around(0.9, 1.0, 6), around(0.0, 2.0, 6), around(-2.0, 0.3, 6))


def several(
    folder: Path, values: list[list[float]], scope: Any, sequential: bool = False, **more: Any
) -> dict[str, Any]:
    bound = binding("c", benchmarks=["a", "b", "d"][: len(values)], scope=scope, **more)
    suite = write_suite(folder, [fact("c")], [bound], benchmarks=THREE)
    scores: dict[tuple[str, str], Any] = {}
    for name, ours in zip("abd", values, strict=False):
        scores |= {(name, "ours"): ours, (name, "base"): flat(len(ours))}
    return World(suite, scores, "paper").verdicts(sequential=sequential)["c"]


class TestScopes:
    def test_all_needs_every_benchmark(self, tmp_path: Path) -> None:
        row = several(tmp_path, [STRONG, STRONG[::-1], around(1.5, 0.4, 6)], "all")
        worst = stats.paired_t([v - 50 for v in around(1.5, 0.4, 6)])
        assert row["verdict"] == "reproduced"
        assert row["p"] == pytest.approx(worst.p)  # no correction inside
        assert (row["difference"], row["ci_low"]) == pytest.approx((1.5, worst.low))
        assert several(tmp_path, [STRONG, STRONG, NULL], "all")["verdict"] == "inconclusive"

    def test_all_is_contradicted_at_the_corrected_level(self, tmp_path: Path) -> None:
        assert several(tmp_path, [STRONG, STRONG, AGAINST], "all")["verdict"] == "contradicted"
        candidates = [around(-1.0, float(spread), 6) for spread in np.arange(0.3, 3, 0.02)]
        slightly = next(item for item in candidates if stats.paired_t([v - 50 for v in item]).p > 0.03)
        result = stats.paired_t([v - 50 for v in slightly])
        assert result.high < 0  # alone it would contradict, as one of three it may be chance
        assert several(tmp_path, [STRONG, STRONG, slightly], "all")["verdict"] == "not reproduced"
        assert several(tmp_path, [slightly], "all")["verdict"] == "contradicted"

    def test_at_least(self, tmp_path: Path) -> None:
        row = several(tmp_path, [STRONG, STRONG, NULL], {"at_least": 2})
        p = stats.paired_t([v - 50 for v in STRONG]).p
        assert row["verdict"] == "reproduced"
        assert row["p"] == pytest.approx(2 * p)
        assert row["difference"] == pytest.approx(2.0)
        assert several(tmp_path, [STRONG, NULL, NULL], {"at_least": 2})["verdict"] == "inconclusive"
        assert several(tmp_path, [STRONG, AGAINST, AGAINST], {"at_least": 2})["verdict"] == "contradicted"
        assert several(tmp_path, [STRONG, STRONG, AGAINST], {"at_least": 2})["verdict"] == "reproduced"

    def test_mean(self, tmp_path: Path) -> None:
        row = several(tmp_path, [STRONG, WEAK, NULL], "mean")
        result = stats.paired_t([(a + b + c) / 3 - 50 for a, b, c in zip(STRONG, WEAK, NULL, strict=True)])
        assert (row["difference"], row["p"], row["ci_low"]) == pytest.approx((result.estimate, result.p, result.low))
        assert row["n"] == 6
        few = several(tmp_path, [STRONG[:2], WEAK[:2], NULL[:2]], "mean")
        assert few["p"] == 1.0

    def test_each_is_as_good_as_its_worst_benchmark(self, tmp_path: Path) -> None:
        row = several(tmp_path, [STRONG, AGAINST, NULL], "each")
        assert row["verdict"] == "contradicted"
        expected = ["reproduced", "contradicted", "inconclusive"]
        assert [item["verdict"] for item in row["design"]["per_benchmark"]] == expected
        assert row["difference"] == pytest.approx(-2.0)
        assert row["design"]["numbers"]["deciding"] == ["b"]
        assert len(row["design"]["test"]["p"]) == 3

    def test_no_worse(self, tmp_path: Path) -> None:
        close = around(-0.05, 0.1, 6)
        row = several(tmp_path, [close], "no_worse", margin=0.5)
        assert row["verdict"] == Verdict.NOT_WORSE
        assert row["p"] == pytest.approx(stats.non_inferiority([v - 50 for v in close], 0.5).p)
        assert several(tmp_path, [close], "no_worse", margin=0.06)["verdict"] == "inconclusive"
        assert several(tmp_path, [AGAINST], "no_worse", margin=0.5)["verdict"] == "contradicted"
        lost = several(tmp_path, [around(-0.4, 0.05, 6)], "no_worse", margin=0.5)
        assert lost["verdict"] == Verdict.CONTRADICTED_BY_LESS

    @pytest.mark.parametrize("scope", ["all", "mean", "no_worse", {"at_least": 2}])
    def test_sequential(self, tmp_path: Path, scope: Any) -> None:
        long = [around(2.0, 0.2, 12, base=base) for base in (50.0, 50.0, 50.0)]
        row = several(tmp_path, long, scope, sequential=True, margin=0.5)
        word = Verdict.NOT_WORSE if scope == "no_worse" else Verdict.REPRODUCED
        assert row["verdict"] == word
        assert row["e_value"] > 20
        assert row["p"] <= 0.01
        accepted = ("inconclusive", word)
        assert several(tmp_path, [item[:3] for item in long], scope, sequential=True, margin=0.5)["verdict"] in accepted

    def test_a_benchmark_without_results_is_no_evidence(self, tmp_path: Path) -> None:
        suite = write_suite(tmp_path, [fact("c")], [binding("c", benchmarks=["a", "b"], scope="all")], benchmarks=THREE)
        world = World(suite, {("a", "ours"): STRONG, ("a", "base"): flat(6)}, "paper")
        assert world.verdicts()["c"]["verdict"] == "inconclusive"
        assert world.verdicts()["c"]["p"] == 1.0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), m=st.integers(2, 5), sequential=st.booleans(), data=st.data())
def test_conjunction_interval_agrees_with_its_p(seed: int, m: int, sequential: bool, data: Any) -> None:
    k = data.draw(st.integers(1, m))
    rng = np.random.default_rng(seed)
    rule = BOUGHT if sequential else None
    parts = tuple(
        Paired(tuple(map(float, rng.normal(rng.choice([0.0, 1.0, 3.0, -2.0]), 1.0, 8))), rule) for _ in range(m)
    )
    whole = Conjunction(parts, k)
    for alpha in (0.01, 0.05, 0.2):
        low, high = whole.interval(alpha)
        assert whole.above(alpha) == (low > 0) == (whole.p_above <= alpha)
        assert whole.below(alpha) == (high < 0) == (whole.p_below <= alpha)
        assert (whole.p_smaller(0.7) <= alpha) == (whole.interval(2 * alpha)[1] < 0.7)
        if not sequential:
            assert low <= whole.estimate <= high


def test_no_worse_with_bought_seeds_agrees_with_their_interval() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        values = tuple(map(float, rng.normal(rng.choice([-0.5, 0.0, 0.5]), 0.5, 9)))
        low = BOUGHT.inference(values, 0.1).low
        assert NoWorse(values, BOUGHT, margin=0.4).above(0.05) == (low >= -0.4)


def test_anytime_sign_test_holds_its_level() -> None:
    rng = np.random.default_rng(2)
    crossed = sum(sign_p(rng.choice([-1.0, 1.0], 30)) <= 0.05 for _ in range(4000))
    assert 20 < crossed < 0.05 * 4000


def test_mean_over_several_metrics_divides_by_their_floors() -> None:
    parts = (Paired((1.0, 2.0, 3.0)), Paired((10.0, 20.0, 30.0)))
    joined = Mean(parts, ((0, 1, 2), (0, 1, 2)), (0.1, 1.0))
    assert joined.estimate == pytest.approx((20 + 20) / 2)


class TestKinds:
    def judged(
        self,
        folder: Path,
        kind: str,
        scores: dict[str, list[Any]],
        *,
        scale: str = "paper",
        published: Any = None,
        **bound: Any,
    ) -> dict[str, Any]:
        described, where = fact("c", kind=kind, published=published or {}), benchmark("a", paper=scale == "paper")
        suite = write_suite(folder, [described], [binding("c", **bound)], benchmarks=where)
        return World(suite, {("a", arm): values for arm, values in scores.items()}, scale).verdicts()["c"]

    def test_a_mean_over_benchmarks_holds_against_every_comparator(self, tmp_path: Path) -> None:
        bound = binding("c", benchmarks=["a", "b"], scope="mean", against=["base", "other"], order="best")
        suite = write_suite(tmp_path, [fact("c", kind="ordering", published={})], [bound], benchmarks=THREE)
        near, far = around(1.0, 0.4, 6), around(3.0, 0.5, 6)

        def judged(other: list[float]) -> dict[str, Any]:
            scores = {
                (name, arm): values
                for name in "ab"
                for arm, values in (("ours", near if name == "a" else far), ("base", flat(6)), ("other", other))
            }
            return World(suite, scores, "paper").verdicts()["c"]

        def found(other: list[float]) -> stats.Inference:
            return stats.paired_t([(a + b) / 2 - w for a, b, w in zip(near, far, other, strict=True)])

        row = judged(flat(6))
        assert row["verdict"] == "direction confirmed"
        nearly = [value - 0.2 for value in around(2.0, 0.3, 6)[::-1]]
        worse = found(nearly)
        row = judged(nearly)
        assert row["p"] == pytest.approx(worse.p), "the harder of the two comparisons decides"
        assert row["difference"] == pytest.approx(worse.estimate)
        assert row["verdict"] != "direction confirmed"

    def test_ordering_is_judged_pair_by_pair(self, tmp_path: Path) -> None:
        scores = {"ours": around(4, 0.3, 6), "base": around(2, 0.2, 6)[::-1], "other": flat(6)}
        good = self.judged(tmp_path, "ordering", scores, against=["base", "other"], order="chain")
        assert good["verdict"] == "direction confirmed"
        pairs = [(item["arm"], item["against"]) for item in good["design"]["per_benchmark"]]
        assert pairs == [("ours", "base"), ("base", "other")]
        swapped = self.judged(tmp_path, "ordering", scores, against=["other", "base"], order="chain")
        assert swapped["verdict"] == "contradicted"
        best = self.judged(tmp_path, "ordering", scores, against=["other", "base"], order="best")
        assert best["verdict"] == "direction confirmed"

    def test_absolute(self, tmp_path: Path) -> None:
        published = {"method": 71.96}
        close = {"ours": around(21.95, 0.02, 8)}
        row = self.judged(tmp_path, "absolute", close, published=published, against=[], margin=0.1)
        assert row["verdict"] == "reproduced"
        assert row["p"] == pytest.approx(stats.equivalence(close["ours"], 71.96, 0.1).p)
        assert row["difference"] == pytest.approx(-0.01)
        far = {"ours": around(20.0, 0.02, 8)}
        assert self.judged(tmp_path, "absolute", far, published=published, against=[])["verdict"] == "not reproduced"
        wide = {"ours": around(21.95, 0.5, 4)}
        row = self.judged(tmp_path, "absolute", wide, published=published, against=[], margin=0.1)
        assert row["verdict"] == "inconclusive"
        stand_in = self.judged(tmp_path, "absolute", close, scale="mini", published=published, against=[])
        assert stand_in["verdict"] == "not comparable"

    @pytest.mark.parametrize(("value", "unit"), [(71.96, 0.01), (30.1, 0.1), (82.0, 1.0), (0.05, 0.01)])
    def test_last_printed_digit(self, value: float, unit: float) -> None:
        assert last_digit(value) == pytest.approx(unit)

    def test_mechanism(self, tmp_path: Path) -> None:
        described = fact("c", kind="mechanism", metric="mechanism.decay", better="lower", unit="ratio", published={})
        suite = write_suite(tmp_path, [described], [binding("c")])
        scores = {("a", "ours"): flat(5), ("a", "base"): flat(5)}
        logged = {("a", "ours"): {"mechanism.decay": 1.0}, ("a", "base"): {"mechanism.decay": 3.0}}
        row = World(suite, scores, mechanisms=logged).verdicts()["c"]
        assert row["difference"] == pytest.approx(2.0)
        assert row["p"] < 1e-9  # five equal differences: the limit of ever smaller noise
        assert row["verdict"] == "direction confirmed"

    def test_unbound_absent_provenance_and_reported(self, tmp_path: Path) -> None:
        facts = [fact("gone"), fact("absent"), fact("home", kind="provenance"), fact("file", kind="identity")]
        bindings = [
            {"id": "gone", "unbound": "the comparator is not built"},
            binding("absent"),
            {"id": "home", "unbound": "others' files only"},
            {"id": "file", "check": "reported", "note": "read off the authors' repository"},
        ]
        suite = write_suite(tmp_path, facts, bindings, benchmarks=benchmark("a", paper=True) + benchmark("z"))
        rows = World(suite, {("z", "ours"): flat(3)}, "mini").verdicts()
        expected = {"gone": "not run", "absent": "not run", "file": "reported"}
        assert {name: row["verdict"] for name, row in rows.items()} == expected
        assert rows["gone"]["design"]["reason"] == "the comparator is not built"
        assert "no block at the scale mini" in rows["absent"]["design"]["reason"]
        listed = {row["claim_id"]: row for row in claim_rows(suite)}
        assert set(listed) == {"gone", "absent", "home", "file"}
        assert listed["gone"]["unbound"] == "the comparator is not built"
        assert listed["absent"]["scope"] == "each"


class TestFamilies:
    def world(self, folder: Path, p_like: list[float], primary: int = 0) -> World:
        """One benchmark and claim a value: six differences with that mean."""
        names = [f"x{i}" for i in range(len(p_like))]
        where = "".join(benchmark(name, level=60 + i) for i, name in enumerate(names))
        bindings = [binding(f"c{i}", benchmarks=[name], primary=i < primary) for i, name in enumerate(names)]
        suite = write_suite(folder, [fact(f"c{i}") for i in range(len(names))], bindings, benchmarks=where)
        scores: dict[tuple[str, str], Any] = {}
        for name, mean in zip(names, p_like, strict=True):
            scores |= {(name, "ours"): around(mean, 1.0, 6), (name, "base"): flat(6)}
        return World(suite, scores)

    def test_holm_and_benjamini_hochberg(self, tmp_path: Path) -> None:
        rows = self.world(tmp_path, [2.0, 1.5, 1.0, 0.9, 1.2, 0.1], primary=3).verdicts()
        p = [rows[f"c{i}"]["p"] for i in range(6)]
        adjusted = [rows[f"c{i}"]["adjusted_p"] for i in range(6)]
        assert adjusted[:3] == pytest.approx(list(stats.holm(p[:3])))
        assert adjusted[3:] == pytest.approx(list(stats.benjamini_hochberg(p[3:])))
        assert {rows[name]["design"]["multiplicity"]["family"] for name in ("c0", "c5")} == {"primary", "secondary"}

    def test_claims_that_share_a_test_count_once(self, tmp_path: Path) -> None:
        facts = [fact("up"), fact("again"), fact("down", published={"difference": -1.0}), fact("else")]
        down = binding("down", arm="base", against=["ours"])
        bindings = [binding("up", primary=True), binding("again"), down, binding("else", against=["other"])]
        suite = write_suite(tmp_path, facts, bindings)
        rows = World(suite, {("a", "ours"): STRONG, ("a", "base"): flat(6), ("a", "other"): NULL}).verdicts()
        for name in ("up", "again", "down"):
            assert rows[name]["design"]["multiplicity"]["contrast_claims"] == ["up", "again", "down"]
            assert len(rows[name]["design"]["test"]["p"]) == 1
            assert rows[name]["adjusted_p"] == rows[name]["p"]
            assert rows[name]["design"]["multiplicity"]["family"] == "primary"
        assert rows["down"]["verdict"] == "direction confirmed"  # base is below ours, as that claim says
        assert rows["else"]["design"]["multiplicity"]["family"] == "secondary"

    def test_benchmarks_that_share_a_stand_in_count_once(self, tmp_path: Path) -> None:
        where = benchmark("a", stands_for=["b"]) + benchmark("b", paper=True)
        facts = [fact("one"), fact("two"), fact("both")]
        both = binding("both", benchmarks=["a", "b"], scope="all")
        bindings = [binding("one"), binding("two", benchmarks=["b"]), both]
        suite = write_suite(tmp_path, facts, bindings, benchmarks=where)
        rows = World(suite, {("a", "ours"): STRONG, ("a", "base"): flat(6)}).verdicts()
        assert len(rows["both"]["design"]["per_benchmark"]) == 1
        assert rows["both"]["design"]["per_benchmark"][0]["shares"] == ["b"]
        assert {len(row["design"]["test"]["p"]) for row in rows.values()} == {1}
        assert rows["both"]["p"] == rows["one"]["p"] == rows["two"]["p"]

    def test_a_part_of_the_suite_has_the_same_design(self, tmp_path: Path) -> None:
        where = benchmark("a", stands_for=["b"]) + benchmark("b", paper=True) + benchmark("z", level=70)
        facts = [fact("one"), fact("two"), fact("far")]
        bindings = [binding("one"), binding("two", benchmarks=["b"]), binding("far", benchmarks=["z"])]
        suite = write_suite(tmp_path, facts, bindings, benchmarks=where)
        whole = claim_designs(suite, make_plan(suite, Selection()), sequential=False)
        part = claim_designs(suite, make_plan(suite, Selection(benchmarks=("z",))), sequential=True)
        assert [item.digest() for item in whole] == [item.digest() for item in part]
        assert len(part[0].multiplicity.members) == 2

    def test_a_family_does_not_shrink_when_trials_fail(self, tmp_path: Path) -> None:
        world = self.world(tmp_path, [2.0, 1.5, 1.0], primary=3)
        whole = world.verdicts()["c0"]
        world.scores = {key: value for key, value in world.scores.items() if key[0] != "x2"}
        less = world.verdicts()["c0"]
        assert whole["adjusted_p"] == less["adjusted_p"] == pytest.approx(3 * whole["p"])

    def test_secondary_family_of_a_sequential_run_is_bh_over_capped_p(self, tmp_path: Path) -> None:
        rows = self.world(tmp_path, [3.0, 1.0], primary=0).verdicts(sequential=True)
        p = [BOUGHT.inference([v - 50 for v in around(mean, 1.0, 6)]).p for mean in (3.0, 1.0)]
        assert [rows[f"c{i}"]["p"] for i in range(2)] == pytest.approx(p)
        expected = stats.benjamini_hochberg(p)
        assert [rows[f"c{i}"]["adjusted_p"] for i in range(2)] == pytest.approx(list(expected))
        assert rows["c0"]["design"]["test"]["correction"] == "Benjamini–Hochberg"

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(seed=st.integers(0, 1000))
    def test_noise_arms_change_others_only_through_the_correction(self, tmp_path: Path, seed: int) -> None:
        rng = np.random.default_rng(seed)
        scores = {("a", arm): list(map(float, rng.normal(50 + 2 * (arm == "ours"), 1, 6))) for arm in ("ours", "base")}
        noise = {("a", arm): list(map(float, rng.normal(50, 1, 6))) for arm in ("other", "third")}
        alone = write_suite(tmp_path, [fact("c")], [binding("c")])
        before = World(alone, scores).verdicts()["c"]
        facts = [fact("c"), fact("n1"), fact("n2")]
        bindings = [binding("c"), binding("n1", arm="other"), binding("n2", arm="third")]
        after = World(write_suite(tmp_path, facts, bindings), scores | noise).verdicts()
        numbers = ("n", "difference", "ci_low", "ci_high", "p")
        assert [before[name] for name in numbers] == [after["c"][name] for name in numbers]
        family = [after[name]["p"] for name in ("c", "n1", "n2")]
        assert after["c"]["adjusted_p"] == pytest.approx(stats.benjamini_hochberg(family)[0])
        unbound = World(alone, scores | noise).verdicts()["c"]
        assert (unbound["verdict"], unbound["adjusted_p"]) == (before["verdict"], before["adjusted_p"])


def test_parent_of_an_ablation() -> None:
    arms = {
        "base": Arm(role="baseline", optimizer="sgd"),
        "first": Arm(role="method", optimizer="adamp", norm="batch"),
        "second": Arm(role="method", optimizer="adamp", norm="layer"),
        "near": Arm(role="ablation", optimizer={"name": "adamp", "project": False}, norm="layer"),
        "named": Arm(role="ablation", optimizer="sgd", parent="base"),
        "plain": Arm(role="ablation", optimizer={"name": "sgd", "momentum": 0.0}),
        "alone": Arm(role="ablation", objective="kd"),
    }
    assert parent_of("near", arms) == "second"
    assert parent_of("named", arms) == "base"
    assert parent_of("plain", arms) == "base"  # no method has an optimizer like it, a baseline has
    assert parent_of("alone", arms) is None
