"""Registrations, their changes, and interim analyses."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judge_support import METHOD, WHEN, World, around, benchmark, binding, fact, flat, judge_stored, write_suite

from harness import stats
from harness.cli.verdicts import print_verdicts
from harness.judge import VerdictRow, judge
from harness.judge.item_intervals import IDENTITY
from harness.judge.item_intervals import _column as column
from harness.judge.registration import registered_changes
from harness.results.verdict_text import notes_of
from harness.store import open_reader


def world(folder: Path, n: int = 12, **changes: Any) -> World:
    """Ours two points above base at every seed."""
    gate = {"metric": "mechanism.share", "arm": "ours", "op": ">=", "value": 0.5}
    bound = {"primary": True, "mechanism": gate} | changes.pop("bound", {})
    suite = write_suite(folder, [fact("c")], [binding("c", **bound)], **changes)
    scores = {("a", "ours"): around(2.0, 0.5, n), ("a", "base"): flat(n), ("a", "other"): flat(n, 49.0)}
    return World(suite, scores, mechanisms={("a", "ours"): {"mechanism.share": 0.9}})


SEEDED = {"base": "{role: baseline, optimizer: {name: sgd, lr: 0.2}}"}
"""A baseline that is not declared deterministic."""


def judged(world: World, database: Path, hours: int = 0, seeds: int | None = None) -> VerdictRow:
    """The verdict of the world's claim."""
    world.seeds = seeds
    world.store(database)
    return judge_stored(world, database, WHEN + timedelta(hours=hours))["c"]


def changed(row: VerdictRow) -> list[str]:
    """Names of changed values."""
    return list(map(str, row.detail.changed))


class TestLooks:
    def test_from_the_second_look_on_the_sequential_rule_holds(self, tmp_path: Path, database: Path) -> None:
        """Too few pairs, or the same pairs again, are not counted."""
        here = world(tmp_path)
        rows = [judged(here, database, hours, seeds) for hours, seeds in enumerate((1, 2, 3, 3, 6, 6, 12))]
        assert [row.n for row in rows] == [1, 2, 3, 3, 6, 6, 12]
        assert [row.sequential for row in rows] == [False] * 4 + [True] * 3
        looks = [(), (), (3,), (3,), (3, 6), (3, 6), (3, 6, 12)]
        assert [row.detail.look_sizes for row in rows] == looks
        assert (rows[2].verdict, rows[2].p) == (rows[3].verdict, rows[3].p)
        fixed = stats.paired_t(list(rows[-1].detail.per_benchmark[0].differences.values()))
        assert rows[-1].ci_low is not None
        assert rows[-1].ci_low < fixed.low

    def test_an_unfinished_run_that_was_judged_is_sequential(self, tmp_path: Path, database: Path) -> None:
        """A displayed verdict is an analysis; too few pairs have none, and a run that only stops stays fixed."""
        here = world(tmp_path, n=6)
        whole = here.scores["a", "ours"]
        here.scores = here.scores | {("a", "ours"): [*whole[:2], *[None] * 4]}
        assert judged(here, database, 0, 6).detail.look_sizes == ()
        here.scores = here.scores | {("a", "ours"): whole}
        other = tmp_path / "other.duckdb"
        assert not judged(here, other, 1, 6).sequential
        here.scores = here.scores | {("a", "ours"): [*whole[:4], None, None]}
        four = judged(here, database, 1, 6)
        assert (four.sequential, four.detail.look, four.detail.planned) == (True, 4, 6)
        assert ("interim", "4 of 6 planned paired seeds") in [
            (note.kind, note.text.partition(":")[0]) for note in notes_of([four])
        ]
        here.scores = here.scores | {("a", "ours"): whole}
        last = judged(here, database, 2, 6)
        assert (last.sequential, last.detail.look_sizes, last.detail.planned) == (True, (4, 6), None)

    def test_another_name_continues_the_looks(self, tmp_path: Path, database: Path) -> None:
        """A test is its trials: renaming its claim does not make the third look the first."""
        for hours, seeds in enumerate((3, 5)):
            judged(world(tmp_path), database, hours, seeds)
        suite = write_suite(tmp_path, [fact("another")], [binding("another")], benchmarks=benchmark("a"))
        scores = {("a", "ours"): around(2.0, 0.5, 12), ("a", "base"): flat(12)}
        here = World(suite, scores)
        here.seeds = 8
        here.store(database)
        row = judge_stored(here, database, WHEN + timedelta(hours=5))["another"]
        assert (row.sequential, row.detail.look_sizes) == (True, (3, 5, 8))

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
        rows = judge_stored(here, database, WHEN + timedelta(hours=1))
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
            "gate 1": f"mechanism.share of {METHOD} >= 0.5",
            "a/ours: optimizer.lr": 0.1,
            "a/base: optimizer.lr": 0.2,
            "a/ours: recipe.steps": 20,
            "against": ["base"],
        }.items() <= fixed.items()
        again = judged(here, database, 2, 6).detail
        assert (again.registration, again.changed) == (None, ())

    def test_whatever_differs_later_is_listed(self, tmp_path: Path, database: Path) -> None:
        judged(world(tmp_path), database, 0, 6)
        check = {"metric": "mechanism.share", "arm": "ours", "op": ">=", "value": 0.1}
        metric = "{unit: percent, better: higher, smallest: 0.5}"
        where = benchmark("a", metric=metric, competent={"score": 40.0}).replace("steps: 20", "steps: 40")
        changes: dict[str, Any] = {
            "arms": dict.fromkeys(("ours", "base"), "{role: method, optimizer: {name: sgd, lr: 0.7}}"),
            "judge": "{kappa: 0.9}",
            "seeds": "{min: 3, max: 12}",
            "benchmarks": where,
        }
        bound = {"primary": False, "m": 3.0, "against": ["base", "other"], "mechanism": check}
        second, third = (judged(world(tmp_path, bound=bound, **changes), database, hours, 6) for hours in (1, 2))
        assert sorted(changed(second)) == sorted(
            [
                "a/ours: optimizer.lr 0.1 → 0.7",
                "a/base: optimizer.lr 0.2 → 0.7",
                "a/ours: recipe.steps 20 → 40",
                "a/base: recipe.steps 20 → 40",
                "family primary → secondary",
                "m nothing → 3",
                "against base → base, other",
                "kappa 0.5 → 0.9",
                "seeds 3, 3, 20 → 3, 3, 12",
                "a: competent nothing → 40",
                "a: smallest nothing → 0.5",
                f"gate 1 mechanism.share of {METHOD} >= 0.5 → mechanism.share of {METHOD} >= 0.1",
            ]
        )
        assert second.detail.changed_since == (WHEN + timedelta(hours=1)).isoformat(timespec="seconds")
        assert third.detail.changed_since == second.detail.changed_since
        assert changed(third) == changed(second)

    def test_what_only_one_side_has_is_named_once(self) -> None:
        before = {"against": ["base"], "a/ours: recipe.steps": 2, "a/base: recipe.steps": 2}
        now = {"against": ["other"], "a/ours: recipe.steps": 2, "a/other: recipe.steps": 2}
        assert [change.name for change in registered_changes(before, now)] == ["against"]


def test_one_number_at_every_seed_is_noticed(tmp_path: Path) -> None:
    here = world(tmp_path, 6, arms=SEEDED)
    row = here.verdicts()["c"]
    reason = "base gives score 50 at each of 6 seeds of a: does it use its seed?"
    assert (row["verdict"], row["p"]) == ("invalid", None)
    assert row["design"]["reason"].startswith(reason)
    assert world(tmp_path, 6).verdicts()["c"]["verdict"] == "direction confirmed"
    metric = benchmark("a", metric="{unit: percent, better: higher, deterministic: true}")
    assert world(tmp_path, 6, arms=SEEDED, benchmarks=metric).verdicts()["c"]["verdict"] == "direction confirmed"
    two = world(tmp_path, 2, arms=SEEDED).verdicts()["c"]
    assert two["verdict"] == "inconclusive"
    here.scores = here.scores | {("a", "base"): around(0.0, 0.1, 6)}
    assert here.verdicts()["c"]["verdict"] == "direction confirmed"


def test_they_are_printed_under_the_table(tmp_path: Path, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged(world(tmp_path), database, 0, 3)
    here = world(tmp_path, judge="{kappa: 0.9}")
    row = judged(here, database, 1, 6)
    print_verdicts(here.suite, "mini", [row])
    message = capsys.readouterr().out
    assert "seeds were added after a first analysis (3, 6 pairs): the sequential test applies (c)" in message
    assert "changed since registration: kappa 0.5 → 0.9 (c)" in message


def test_items_that_each_seed_splits_again(tmp_path: Path, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = write_suite(tmp_path, [fact("c")], [binding("c")])
    rng = np.random.default_rng(3)
    easy = rng.random(300)
    scores: dict[tuple[str, str], list[Any]] = {("a", "ours"): [], ("a", "base"): []}
    items = {}
    for seed in range(5):
        tested = rng.choice(300, 200, replace=False)
        for arm, bar in (("ours", 0.4), ("base", 0.5)):
            correct = easy[tested] + rng.normal(0, 0.05, 200) > bar
            items["a", arm, seed] = tmp_path / f"{arm}-{seed}.npz"
            np.savez(items["a", arm, seed], item=tested, correct=correct)
            scores["a", arm].append(100 * float(correct.mean()))
    here = World(suite, scores, items=items)
    here.store(database)
    with open_reader(database) as reader:
        row = judge(suite, here.plan, reader, judged_at=WHEN).verdicts[0]
        bought = judge(suite, here.plan, reader, judged_at=WHEN, sequential=True).verdicts[0].detail
    result = row.detail.two_way
    assert row.detail.per_benchmark[0].two_way == result
    assert result.low < row.difference < result.high  # type: ignore[operator, union-attr]
    assert 0.9 < result.overlap <= 1.0  # type: ignore[operator, union-attr]
    assert f"splits one pool of {result.items} items again" in result.conditional_on  # type: ignore[union-attr]
    if bought.two_way is not None:  # where the sequential interval is finite
        assert bought.two_way.high - bought.two_way.low > result.high - result.low
    else:
        assert bought.per_benchmark[0].low is None
    print_verdicts(suite, "mini", [row])
    message = " ".join(capsys.readouterr().out.split())
    assert "95 % seeds × items" in message
    assert "the interval over seeds is conditional on these items (c)" in message


def test_items_are_found_in_the_unit_of_their_metric_or_as_shares() -> None:
    arrays = {IDENTITY: np.array([1, 2]), "correct": np.array([0.5, 1.0])}
    assert column([arrays, arrays], [0.75, 0.75]) == ("correct", 1.0)
    assert column([arrays, arrays], [75.0, 75.0]) == ("correct", 100.0)
    assert column([arrays, arrays], [75.0, 0.75]) is None
