"""Verdicts from a real store: recomputed from what is stored with them, unmoved by other trials of the same names."""

import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judge_support import (
    WHEN,
    World,
    around,
    benchmark,
    binding,
    fact,
    flat,
    judge_stored,
    record_verdicts,
    write_suite,
)
from recomputing import differing

from harness import stats
from harness.judge import Judgement, ablations, claim_rows, judge
from harness.judge.checks import CheckResult, code_of, run_apart
from harness.judge.detail import from_json
from harness.judge.rows import VerdictTrialRow
from harness.plan.planning import Selection, make_plan
from harness.store import Writer, open_reader
from harness.store.events import ClaimsEvent
from harness.suite import load_suite

LATER = WHEN + timedelta(hours=1)


def many_kinds(folder: Path, judging: str = "{}") -> World:
    """Every kind, scope and trouble in one suite at paper scale."""
    where = "".join(benchmark(name, paper=True, level=level) for name, level in (("a", 50), ("b", 51), ("d", 52)))
    gate = {"metric": "mechanism.share", "arm": "ours", "op": ">=", "value": 0.9}
    alike = ("plain", "everywhere", "some", "average", "not-worse", "per-benchmark", "gated", "dead", "lost", "unbound")
    facts = [
        *map(fact, alike),
        fact("reversed", published={"difference": -1.0}),
        fact("order", kind="ordering", published={}),
        fact("value", kind="absolute", published={"method": 52.0}),
        fact("gain", setting="mixed", gain_difference=1.0),
    ]
    all_three: dict[str, Any] = {"benchmarks": ["a", "b", "d"]}
    bindings = [
        binding("plain", primary=True, against=["base", "other"]),
        binding("reversed", arm="base", against=["ours"]),
        binding("everywhere", scope="all", primary=True, **all_three),
        binding("some", scope={"at_least": 2}, **all_three),
        binding("average", scope="mean", **all_three),
        binding("not-worse", scope="no_worse", margin=0.5),
        binding("per-benchmark", **all_three),
        binding("gated", mechanism=gate, benchmarks=["b"]),
        binding("dead", mechanism={**gate, "value": 0.99}),
        binding("order", against=["base", "other"], order="chain"),
        binding("value", against=[], margin=0.6),
        binding("gain", baselines=["other", "third"]),
        binding("lost", arm="third", on_divergence="worst"),
        {"id": "unbound", "unbound": "no comparator is built"},
    ]
    suite = write_suite(folder, facts, bindings, benchmarks=where, judge=judging)
    scores: dict[tuple[str, str], Any] = {}
    for shift, name in enumerate("abd"):
        scores |= {
            (name, "ours"): around(2.0 - 0.5 * shift, 0.5, 6),
            (name, "base"): around(0.0, 0.4, 6)[::-1],
            (name, "other"): around(-1.0, 0.3, 6),
            (name, "third"): [*around(-0.5, 0.2, 5), "diverged"],
        }
    scores["a", "other"][5] = None
    mechanisms = {(name, "ours"): {"mechanism.share": 0.95} for name in "abd"}
    return World(suite, scores, "paper", mechanisms, frozenset({("b", "base", 3)}))


@pytest.mark.parametrize("sequential", [False, True])
def test_every_verdict_recomputes(tmp_path: Path, database: Path, sequential: bool) -> None:
    world = many_kinds(tmp_path)
    world.store(database)
    rows = judge_stored(world, database, sequential=sequential)
    assert len({row.verdict for row in rows.values()}) >= 4
    assert (rows["dead"].verdict, rows["dead"].detail.mechanism) == (rows["plain"].verdict, "did not act")
    with open_reader(database) as reader:
        stored = {row["claim_id"]: row for row in reader.verdicts(scale="paper").dicts()}
        assert from_json(stored["plain"]["design"]) == rows["plain"].detail
        assert rows["plain"].detail.shown[0].against == "other"
        gates = {row["claim_id"]: row for row in reader.query("FROM gates WHERE scale = 'paper'").dicts()}
        assert (gates["gated"]["passed"], gates["dead"]["passed"]) == (True, False)
        assert gates["gated"]["value"] == pytest.approx(0.95)
        sides = reader.query("SELECT side, count(*) FROM verdict_trials WHERE claim_id = 'plain' GROUP BY side")
        assert dict(sides.rows) == {"baseline": 6, "method": 6, "shown": 6}


def test_recomputing_notices_a_changed_number(tmp_path: Path, database: Path) -> None:
    world = many_kinds(tmp_path)
    world.store(database)
    rows = judge_stored(world, database)
    tampered = replace(rows["plain"], judged_at=LATER, difference=1.0, verdict="contradicted")
    with open_reader(database) as reader:
        sides = reader.query("SELECT trial_id, side FROM verdict_trials WHERE claim_id = 'plain'").rows
    trials = tuple(VerdictTrialRow("plain", "paper", LATER, trial, side) for trial, side in sides)
    record_verdicts(database, world.suite, "paper", Judgement((tampered,), trials, ()))
    with open_reader(database) as reader:
        assert set(differing(reader, "plain", "paper", LATER)) == {"difference", "verdict"}


def test_other_trials_under_the_same_names_change_nothing(tmp_path: Path, database: Path) -> None:
    world = many_kinds(tmp_path)
    world.store(database)
    before = judge_stored(world, database)
    older = (tmp_path / "older").resolve()
    older.mkdir()
    arms = {"ours": "{role: method, optimizer: {name: sgd, lr: 0.7}}"}
    where = benchmark("a", paper=True)
    suite = write_suite(older, [fact("plain")], [binding("plain")], arms=arms, benchmarks=where)
    # the baseline is the same trial, and gives the same number again
    others = World(suite, {("a", "ours"): around(-9.0, 0.1, 6), ("a", "base"): world.scores["a", "base"]}, "paper")
    with Writer(database) as owner:
        others.record(owner, "other-run")
        owner.flush()
    with open_reader(database) as reader:
        named = reader.query("SELECT count(*) FROM trials WHERE suite = 'known' AND benchmark = 'a' AND arm = 'ours'")
        assert named.rows == [(12,)]
    after = judge_stored(world, database, LATER)
    for claim, row in before.items():
        assert replace(after[claim], judged_at=WHEN, detail=row.detail) == row
        assert after[claim].detail.changed_since is None


def test_overrides_on_the_command_line_make_a_stand_in(tmp_path: Path, database: Path) -> None:
    world = many_kinds(tmp_path)
    world.store(database)
    plan = make_plan(world.suite, Selection(scale="paper", seeds=(0, 1, 2), overrides={"steps": 10}))
    with open_reader(database) as reader:
        rows = {row.claim_id: row for row in judge(world.suite, plan, reader, judged_at=WHEN).verdicts}
    assert rows["plain"].stand_in == ("recipe",)
    assert rows["plain"].n == 0  # none of these trials is stored


def test_claims_can_be_stored(tmp_path: Path, database: Path) -> None:
    world = many_kinds(tmp_path)
    with Writer(database) as owner:
        owner.record(ClaimsEvent(suite="known", claims=claim_rows(world.suite)))
        owner.flush()
    with open_reader(database) as reader:
        stored = {row["claim_id"]: row for row in reader.query("FROM claims WHERE suite = 'known'").dicts()}
    assert len(stored) == 14
    assert stored["some"]["scope"] == "at_least: 2"
    assert stored["plain"]["is_primary"]
    assert stored["gain"]["gain_difference"] == 1.0


def test_a_check_is_computed_once_for_its_code(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = load_suite("adamp")
    plan = make_plan(suite, Selection(benchmarks=("imagenet-resnet18",), seeds=(0,)))
    with Writer(database) as owner:
        owner.flush()
    claim = "adamp-identity-all-rows-must-pass"
    answer = CheckResult(4.0, 4.0, 0.0, "rules", "", "equal", True, code_of("suites.checks.adamp:all_rows_must_pass"))
    requested: list[list[str]] = []

    def pretend(places: list[str]) -> dict[str, CheckResult]:
        requested.append(places)
        return {place: answer if "all_rows" in place else replace(answer, ours=5.0) for place in places}

    monkeypatch.setattr("harness.judge.checks.run_apart", pretend)
    with open_reader(database) as reader:
        stored_only = judge(suite, plan, reader, judged_at=WHEN, compute_checks=False)
        judgement = judge(suite, plan, reader, judged_at=WHEN)
    assert {row.claim_id: row for row in stored_only.verdicts}[claim].verdict == "not run"
    rows = {row.claim_id: row for row in judgement.verdicts}
    assert rows[claim].verdict == "holds"
    assert rows["adamp-identity-update-orthogonal"].verdict == "fails"
    record_verdicts(database, suite, "mini", judgement)
    with open_reader(database) as reader:
        judge(suite, plan, reader, judged_at=LATER)
        assert differing(reader, claim, "mini", WHEN) == []
        assert differing(reader, "adamp-identity-update-orthogonal", "mini", WHEN) == []
    assert len(requested) == 1


def test_checks_run_in_a_process_of_their_own() -> None:
    result = run_apart(["suites.checks.adamp:all_rows_must_pass", "suites.checks.adamp:missing"])
    assert result["suites.checks.adamp:all_rows_must_pass"].holds
    assert "AttributeError" in str(result["suites.checks.adamp:missing"].error)


@pytest.mark.parametrize(("printed", "message"), [("", "no output"), ("echo first >&2; echo last >&2; ", "last")])
def test_a_process_without_an_answer_is_the_error_of_its_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, message: str
) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{printed}exit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    (result,) = run_apart(["suites.checks.adamp:all_rows_must_pass"]).values()
    assert not result.holds
    assert str(result.error).endswith(f"ended with status 3: {message}")


def test_items_of_a_fixed_test_set_widen_the_interval(tmp_path: Path, database: Path) -> None:
    suite = write_suite(tmp_path, [fact("c")], [binding("c")])
    rng = np.random.default_rng(3)
    easy = rng.random(200)
    bars = {"ours": 0.4, "base": 0.5}
    right = {arm: [easy + rng.normal(0, 0.05, 200) > bar for _ in range(5)] for arm, bar in bars.items()}
    items = {}
    for arm, seeds in right.items():
        for seed, correct in enumerate(seeds):
            items["a", arm, seed] = tmp_path / f"{arm}-{seed}.npz"
            np.savez(items["a", arm, seed], item=np.arange(200), correct=correct)
    scores = {("a", arm): [100 * float(item.mean()) for item in result] for arm, result in right.items()}
    world = World(suite, scores, items=items)
    world.store(database)
    row = judge_stored(world, database)["c"]
    result = row.detail.two_way
    differences = 100.0 * np.stack([a.astype(float) - b for a, b in zip(right["ours"], right["base"], strict=True)])
    expected = stats.two_way_interval(differences)
    assert (result.low, result.high, result.items) == pytest.approx((expected.low, expected.high, 200))
    assert result.high - result.low > row.ci_high - row.ci_low
    np.savez(items["a", "ours", 0], item=np.arange(1, 201), correct=right["ours"][0])
    assert judge_stored(world, database, LATER)["c"].detail.two_way is None  # not the same items


def test_ablations(tmp_path: Path, database: Path) -> None:
    arms = {
        "ours": "{role: method, optimizer: {name: sgd, lr: 0.1}}",
        "less": "{role: ablation, optimizer: {name: sgd, lr: 0.1, momentum: 0.5}}",
        "same": "{role: ablation, parent: ours, optimizer: {name: sgd, lr: 0.15}}",
    }
    where = benchmark("a", metric="{unit: percent, better: lower}")
    suite = write_suite(tmp_path, [fact("c", better="lower")], [binding("c")], arms=arms, benchmarks=where)
    scores = {
        ("a", "ours"): flat(6),
        ("a", "base"): flat(6),
        ("a", "less"): around(2.0, 0.2, 6),
        ("a", "same"): around(0.0, 0.5, 6),
    }
    world = World(suite, scores)
    world.store(database)
    with open_reader(database) as reader:
        rows = {row.arm: row for row in ablations(suite, world.plan, reader)}
    assert set(rows) == {"less", "same"}
    assert rows["less"].difference == pytest.approx(-2.0)  # lower is better, so 2 more is worse
    assert rows["less"].changes == ("optimizer.momentum: 0.5 against 0.0",)
    adjusted = stats.benjamini_hochberg([rows["less"].p, rows["same"].p])
    assert [rows["less"].adjusted_p, rows["same"].adjusted_p] == pytest.approx(list(adjusted))
    assert {row.label for row in rows.values()} == {"exploratory"}
    one_of_two = stats.paired_t([50 - value for value in around(2.0, 0.2, 6)], 0.05 / 2)
    assert (rows["less"].adjusted_low, rows["less"].adjusted_high) == pytest.approx((one_of_two.low, one_of_two.high))
    low, high = rows["same"].adjusted_low, rows["same"].adjusted_high
    assert low < rows["same"].ci_low < 0 < high  # type: ignore[operator]


def test_a_detail_with_one_search_a_benchmark_is_read_as_a_list_of_one() -> None:
    search = {"sweep_id": "s", "budget": 8, "seeds": 1, "told": {"a": 8}, "chosen": {"a": {"optimizer.lr": 0.1}}}
    present = from_json({"claim_id": "c", "suite": "s"}).to_json()
    former = {**present, "version": 1, "tuning": {"digits": search}}
    (kept,) = from_json(former).tuning["digits"]
    assert (kept.sweep_id, kept.chosen) == ("s", {"a": {"optimizer.lr": 0.1}})
    assert from_json(from_json(former).to_json()) == from_json(former)
