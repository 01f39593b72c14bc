"""The sequential policy: resolved claims get no seeds, the likeliest to resolve goes first, and errors stay rare."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from judge_support import World, around, benchmark, binding, fact, flat, reading, write_suite

from harness.judge.bindings import claim_designs
from harness.judge.correction import adjust, needed_p
from harness.judge.evidence import StoredTrial
from harness.judge.seeds import next_seeds, pending_of, resolved
from harness.judge.verdicts import Criteria
from harness.suite import Suite

NAMES = ("x0", "x1", "x2", "x3")


def four(folder: Path, scale: str = "paper") -> Suite:
    """Four primary claims of one benchmark each."""
    where = "".join(benchmark(name, paper=scale == "paper", level=60 + i) for i, name in enumerate(NAMES))
    bindings = [binding(f"c-{name}", benchmarks=[name], primary=True) for name in NAMES]
    return write_suite(folder, [fact(f"c-{name}") for name in NAMES], bindings, benchmarks=where)


def pending(suite: Suite, values: dict[str, list[float]], cap: int = 20, scale: str = "paper") -> list[Any]:
    scores: dict[tuple[str, str], Any] = {}
    for name, ours in values.items():
        scores |= {(name, "ours"): ours, (name, "base"): flat(len(ours))}
    world = World(suite, scores, scale)
    return pending_of(claim_designs(suite, world.plan, sequential=True), world.evidence(), cap)


def test_resolved_claims_get_no_seeds(tmp_path: Path) -> None:
    laws = ((2.0, 0.1), (-2.0, 0.1), (0.1, 0.1), (1.0, 2.0))
    values = {name: around(*law, 6) for name, law in zip(NAMES, laws, strict=True)}
    assert [item.claim_id for item in pending(four(tmp_path), values)] == ["c-x3"]


def test_nothing_is_bought_beyond_the_cap(tmp_path: Path) -> None:
    values = {name: around(1.0, 3.0, 6) for name in NAMES}
    assert len(pending(four(tmp_path), values, cap=7)) == 4
    assert pending(four(tmp_path), values, cap=6) == []


def test_a_purchase_takes_both_arms_and_says_why(tmp_path: Path) -> None:
    values = {"x0": around(2.0, 0.6, 4), "x1": around(0.4, 2.0, 4), "x2": around(0.3, 3.0, 4), "x3": around(1, 9, 4)}
    result = pending(four(tmp_path), values)
    first, second = next_seeds(result, 2)
    assert first.claim_id == "c-x0"
    assert first.arms == ("ours", "base")
    assert first.seed == 4
    assert first.expected_resolution_per_second > second.expected_resolution_per_second
    assert first.alternatives[0][0] == second.claim_id
    assert "c-x0 is unresolved after 4 pairs" in first.reason
    assert first.as_event("r").detail["seed"] == 4
    assert next_seeds(result, 2) == [first, second]  # replayable


def test_cheap_seeds_go_first(tmp_path: Path) -> None:
    suite = four(tmp_path)
    scores = {
        (name, arm): around(1.0, 0.9, 4) if arm == "ours" else flat(4) for name in NAMES for arm in ("ours", "base")
    }
    world = World(suite, scores, "paper")
    records = world.evidence()
    slow = {link.trial_id for link in world.plan.links if link.benchmark != "x2"}
    dear = {
        trial: StoredTrial(trial, item.status, item.environment, item.results, 50.0 if trial in slow else 1.0)
        for trial, item in records.items()
    }
    result = pending_of(claim_designs(suite, world.plan, sequential=True), dear, 20)
    assert next_seeds(result)[0].claim_id == "c-x2"


def test_a_claim_over_benchmarks_gets_its_seed_where_evidence_is_weakest(tmp_path: Path) -> None:
    where = "".join(benchmark(name, paper=True, level=60 + i) for i, name in enumerate(NAMES))
    suite = write_suite(tmp_path, [fact("c")], [binding("c", benchmarks=list(NAMES), scope="all")], benchmarks=where)
    values = {name: around(2.0, 0.3, 6) for name in NAMES} | {"x2": around(1.0, 1.5, 6)}
    (purchase,) = next_seeds(pending(suite, values))
    assert purchase.benchmark == "x2"


def test_a_shared_test_is_bought_once(tmp_path: Path) -> None:
    facts = [fact("one"), fact("two")]
    suite = write_suite(tmp_path, facts, [binding("one"), binding("two")])
    scores = {("a", "ours"): around(1.0, 2.0, 4), ("a", "base"): flat(4)}
    world = World(suite, scores)
    assert len(pending_of(claim_designs(suite, world.plan, sequential=True), world.evidence(), 12)) == 1


def test_an_arm_with_more_seeds_leaves_no_gap(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, [fact("one"), fact("two")], [binding("one"), binding("two", against=["other"])])
    scores = {("a", "ours"): around(1.0, 3.0, 8), ("a", "base"): flat(8), ("a", "other"): flat(4)}
    world = World(suite, scores)
    designs = claim_designs(suite, world.plan, sequential=True)
    short = [
        replace(
            design,
            blocks=tuple(
                replace(
                    block,
                    cells={
                        arm: {s: t for s, t in cell.items() if arm != "other" or s < 4}
                        for arm, cell in block.cells.items()
                    },
                )
                for block in design.blocks
            ),
        )
        for design in designs
    ]
    result = {item.claim_id: item.comparisons[0].next_seed for item in pending_of(short, world.evidence(), 12)}
    assert result == {"one": 8, "two": 4}


@pytest.mark.parametrize(
    ("changes", "adjusted", "smaller", "stand_in", "settled"),
    [
        ({}, 0.01, 1.0, False, False),  # direction certain, size open
        ({"low": 1.1}, 0.01, 1.0, False, True),
        ({"high": 0.9}, 0.01, 1.0, False, True),
        ({"n": 8}, 0.01, 1.0, False, True),
        ({"low": 1.1}, 0.06, 1.0, False, False),  # unadjusted evidence never stops
        ({"low": -1.0, "high": 0.3, "estimate": -0.35}, 0.5, 0.04, False, True),
        ({"low": -1.0, "high": 0.3, "estimate": -0.35}, 0.5, 0.06, False, False),
        ({"low": -4.0, "high": 0.3, "estimate": -2.0}, 0.5, 0.01, False, False),  # a contradiction is still open
        ({"low": -4.0, "high": -0.1, "estimate": -2.0, "above": False, "below": True}, 0.04, 0.01, False, True),
        ({"low": -4.0, "high": -0.1, "estimate": -2.0, "above": False, "below": True}, 0.5, 0.01, False, False),
        ({}, 0.01, 1.0, True, True),
        ({"low": -1.0, "high": 0.3}, 0.5, 0.01, True, False),
        ({"above": False, "below": True}, 0.01, 1.0, True, True),
    ],
)
def test_resolution(changes: dict[str, Any], adjusted: float, smaller: float, stand_in: bool, settled: bool) -> None:
    criteria = Criteria(0.05, 0.5, delta=2.0, smallest=0.4, sizeless=stand_in)
    result = reading(**{"n": 6, "low": 0.5, "high": 3.5} | changes)
    assert (resolved(result, adjusted, criteria, smaller) is not None) == settled


@pytest.mark.parametrize("family", ["primary", "secondary"])
def test_needed_p_is_where_the_correction_starts_to_accept(family: str) -> None:
    p: dict[str, float | None] = {"a": 0.001, "b": None, "c": 0.3, "d": 0.012}
    needed = needed_p(family, p, "c", 0.05)
    assert adjust(family, {**p, "c": needed * 0.999})["c"] <= 0.05
    assert adjust(family, {**p, "c": needed * 1.01})["c"] > 0.05
