"""Registrations, their changes, and interim analyses."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from judge_support import WHEN, World, around, benchmark, binding, fact, flat, record_verdicts, write_suite
from recomputing import differing

from harness import stats
from harness.judge import VerdictRow, judge
from harness.judge.registration import registered_changes
from harness.store import open_reader


def world(folder: Path, n: int = 12, **given: Any) -> World:
    """Ours two points above base at every seed."""
    gate = {"metric": "mechanism.share", "arm": "ours", "op": ">=", "value": 0.5}
    bound = {"primary": True, "mechanism": gate} | given.pop("bound", {})
    suite = write_suite(folder, [fact("c")], [binding("c", **bound)], **given)
    scores = {("a", "ours"): around(2.0, 0.5, n), ("a", "base"): flat(n), ("a", "other"): flat(n, 49.0)}
    return World(suite, scores, mechanisms={("a", "ours"): {"mechanism.share": 0.9}})


def judged(world: World, database: Path, hours: int = 0, seeds: int | None = None) -> VerdictRow:
    """The verdict of the world's claim."""
    world.seeds = seeds
    world.store(database)
    when = WHEN + timedelta(hours=hours)
    with open_reader(database) as reader:
        judgement = judge(world.suite, world.plan, reader, judged_at=when)
    record_verdicts(database, world.suite, world.scale, judgement)
    with open_reader(database) as reader:
        assert differing(reader, "c", "mini", when) == []
    return judgement.verdicts[0]


def changed(row: VerdictRow) -> list[str]:
    """Names of changed values."""
    return list(map(str, row.detail.changed))


class TestLooks:
    def test_from_the_second_look_on_the_sequential_rule_holds(self, tmp_path: Path, database: Path) -> None:
        here = world(tmp_path)
        rows = [judged(here, database, hours, seeds) for hours, seeds in enumerate((3, 6, 6, 12))]
        assert [row.n for row in rows] == [3, 6, 6, 12]
        assert [row.sequential for row in rows] == [False, True, True, True]
        assert [row.detail.look_sizes for row in rows] == [(3,), (3, 6), (3, 6), (3, 6, 12)]
        fixed = stats.paired_t(list(rows[-1].detail.per_benchmark[0].differences.values()))
        assert rows[-1].ci_low is not None
        assert rows[-1].ci_low < fixed.low

    def test_judging_again_is_no_look(self, tmp_path: Path, database: Path) -> None:
        here = world(tmp_path)
        rows = [judged(here, database, hours, 6) for hours in range(3)]
        assert {(row.sequential, len(row.detail.look_sizes)) for row in rows} == {(False, 1)}
        assert len({(row.verdict, row.p) for row in rows}) == 1

    def test_too_few_to_decide_are_none(self, tmp_path: Path, database: Path) -> None:
        here = world(tmp_path)
        rows = [judged(here, database, hours, seeds) for hours, seeds in enumerate((1, 2, 6))]
        assert [(row.sequential, len(row.detail.look_sizes)) for row in rows] == [(False, 0), (False, 0), (False, 1)]

    def test_an_interrupted_run_goes_on_to_its_first_look(self, tmp_path: Path, database: Path) -> None:
        here = world(tmp_path, n=6)
        whole = here.scores["a", "ours"]
        here.scores = here.scores | {("a", "ours"): [*whole[:4], None, None]}
        assert judged(here, database, 0, 6).detail.look_sizes == ()
        here.scores = here.scores | {("a", "ours"): whole}
        last = judged(here, database, 1, 6)
        assert (last.sequential, len(last.detail.look_sizes), last.n) == (False, 1, 6)

    def test_other_claims_keep_their_design(self, tmp_path: Path, database: Path) -> None:
        where = benchmark("a") + benchmark("b", level=51)
        bindings = [binding("c"), binding("d", benchmarks=["b"])]
        suite = write_suite(tmp_path, [fact("c"), fact("d")], bindings, benchmarks=where)
        scores: dict[tuple[str, str], Any] = {(name, "base"): flat(6) for name in "ab"}
        scores |= {("a", "ours"): around(2.0, 0.5, 6), ("b", "ours"): around(2.0, 0.5, 3)}
        here = World(suite, scores)
        judged(here, database, 0, 3)
        here.seeds = 6
        here.store(database)
        with open_reader(database) as reader:
            rows = {
                row.claim_id: row
                for row in judge(suite, here.plan, reader, judged_at=WHEN + timedelta(hours=1)).verdicts
            }
        assert rows["c"].sequential
        assert not rows["d"].sequential, "no seed was added to it"


class TestRegistration:
    def test_it_is_stored_with_the_first_verdict_that_has_results(self, tmp_path: Path, database: Path) -> None:
        here = world(tmp_path, bound={"m": 0.7}, benchmarks=benchmark("a", competent={"score": 40.0}))
        nothing = World(here.suite, {("a", "other"): flat(3)})
        assert judged(nothing, database, 0, 3).detail.registration is None
        fixed = judged(here, database, 1, 6).detail.registration
        assert {
            "family": "primary",
            "m": 0.7,
            "a: competent": 40.0,
            "gate 1": "mechanism.share of ours >= 0.5",
            "a/ours: optimizer.lr": 0.1,
            "a/base: optimizer.lr": 0.2,
            "a/ours: recipe.steps": 20,
            "against": ["base"],
        }.items() <= fixed.items()
        again = judged(here, database, 2, 6).detail
        assert (again.registration, again.changed) == (None, ())

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ({"arms": {"ours": "{role: method, optimizer: {name: sgd, lr: 0.7}}"}}, "a/ours: optimizer.lr 0.1 → 0.7"),
            ({"arms": {"base": "{role: method, optimizer: {name: sgd, lr: 0.7}}"}}, "a/base: optimizer.lr 0.2 → 0.7"),
            ({"bound": {"primary": False}}, "family primary → secondary"),
            ({"bound": {"m": 3.0}}, "m nothing → 3"),
            ({"bound": {"against": ["other"]}}, "against base → other"),
            ({"judge": "{kappa: 0.9}"}, "kappa 0.5 → 0.9"),
            ({"seeds": "{min: 3, max: 12}"}, "seeds 3, 3, 20 → 3, 3, 12"),
            ({"benchmarks": benchmark("a", competent={"score": 40.0})}, "a: competent nothing → 40"),
            (
                {"benchmarks": benchmark("a", metric="{unit: percent, better: higher, smallest: 0.5}")},
                "a: smallest nothing → 0.5",
            ),
            (
                {"bound": {"mechanism": {"metric": "mechanism.share", "arm": "ours", "op": ">=", "value": 0.1}}},
                "gate 1 mechanism.share of ours >= 0.5 → mechanism.share of ours >= 0.1",
            ),
        ],
    )
    def test_whatever_differs_later_is_listed(
        self, tmp_path: Path, database: Path, given: dict[str, Any], told: str
    ) -> None:
        judged(world(tmp_path), database, 0, 6)
        later = judged(world(tmp_path, **given), database, 1, 6)
        assert told in changed(later)
        assert later.detail.changed_since == (WHEN + timedelta(hours=1)).isoformat(timespec="seconds")
        third = judged(world(tmp_path, **given), database, 2, 6)
        assert third.detail.changed_since == later.detail.changed_since
        assert changed(third) == changed(later)

    def test_what_only_one_side_has_is_named_once(self) -> None:
        before = {"against": ["base"], "a/ours: recipe.steps": 2, "a/base: recipe.steps": 2}
        now = {"against": ["other"], "a/ours: recipe.steps": 2, "a/other: recipe.steps": 2}
        assert [change.name for change in registered_changes(before, now)] == ["against"]


def test_one_number_at_every_seed_is_noticed(tmp_path: Path) -> None:
    row = world(tmp_path, 6).verdicts()["c"]
    assert row["design"]["warnings"] == ["base gives score 50 at each of 6 seeds of a: does it use its seed?"]
    moving = world(tmp_path, 6)
    moving.scores = moving.scores | {("a", "base"): around(0.0, 0.1, 6)}
    assert moving.verdicts()["c"]["design"]["warnings"] == []


def test_they_are_told_under_the_table(tmp_path: Path, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli.verdicts import print_verdicts

    judged(world(tmp_path), database, 0, 3)
    here = world(tmp_path, judge="{kappa: 0.9}")
    row = judged(here, database, 1, 6)
    print_verdicts(here.suite, "mini", [row])
    message = capsys.readouterr().out
    assert "warning: base gives score 50 at each of 6 seeds of a: does it use its seed? (c)" in message
    assert "seeds were added after a first analysis (3, 6 pairs): the sequential test applies (c)" in message
    assert "changed since registration: kappa 0.5 → 0.9 (c)" in message


class TestItems:
    """Items of a test set that each seed splits again."""

    def stored(self, folder: Path, database: Path) -> World:
        import numpy as np

        suite = write_suite(folder, [fact("c")], [binding("c")])
        rng = np.random.default_rng(3)
        easy = rng.random(300)
        scores: dict[tuple[str, str], list[Any]] = {("a", "ours"): [], ("a", "base"): []}
        items = {}
        for seed in range(5):
            tested = rng.choice(300, 200, replace=False)
            for arm, bar in (("ours", 0.4), ("base", 0.5)):
                correct = easy[tested] + rng.normal(0, 0.05, 200) > bar
                items["a", arm, seed] = folder / f"{arm}-{seed}.npz"
                np.savez(items["a", arm, seed], item=tested, correct=correct)
                scores["a", arm].append(100 * float(correct.mean()))
        world = World(suite, scores, items=items)
        world.store(database)
        return world

    def test_test_sets_that_overlap(self, tmp_path: Path, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
        from harness.cli.verdicts import print_verdicts

        world = self.stored(tmp_path, database)
        with open_reader(database) as reader:
            row = judge(world.suite, world.plan, reader, judged_at=WHEN).verdicts[0]
        result = row.detail.two_way
        assert row.detail.per_benchmark[0].two_way == result
        assert result.low < row.difference < result.high  # type: ignore[operator, union-attr]
        assert 0.9 < result.overlap <= 1.0  # type: ignore[operator, union-attr]
        assert f"splits one pool of {result.items} items again" in result.conditional_on  # type: ignore[union-attr]
        print_verdicts(world.suite, "mini", [row])
        message = " ".join(capsys.readouterr().out.split())
        assert "95 % seeds × items" in message
        assert "the interval over seeds is conditional on these items (c)" in message

    def test_a_sequential_run_keeps_its_width(self, tmp_path: Path, database: Path) -> None:
        world = self.stored(tmp_path, database)
        with open_reader(database) as reader:
            fixed = judge(world.suite, world.plan, reader, judged_at=WHEN).verdicts[0].detail.two_way
            bought = judge(world.suite, world.plan, reader, judged_at=WHEN, sequential=True).verdicts[0].detail
        if bought.two_way is not None:  # where the sequential interval is finite
            assert bought.two_way.high - bought.two_way.low > fixed.high - fixed.low
        else:
            assert bought.per_benchmark[0].low is None
