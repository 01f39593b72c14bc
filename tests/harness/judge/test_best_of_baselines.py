"""Claims against the best of several baselines."""

from pathlib import Path
from typing import Any

import pytest
from judge_support import World, around, benchmark, binding, fact, flat, write_suite

from harness import stats
from harness.errors import SuiteError
from harness.plan.planning import Selection, make_plan

GAIN, NONE = around(3.0, 0.3, 6), flat(6)


def judged(folder: Path, other: list[float], **bound: Any) -> dict[str, Any]:
    suite = write_suite(folder, [fact("c")], [binding("c", against=["base", "other"], **bound)])
    scores = {("a", "ours"): GAIN, ("a", "base"): NONE, ("a", "other"): other}
    return World(suite, scores).verdicts()["c"]


def test_a_difference_with_the_order_best_must_hold_against_each(tmp_path: Path) -> None:
    close = [score - 0.1 * (-1) ** seed for seed, score in enumerate(GAIN)]
    assert judged(tmp_path, close)["verdict"] == "direction confirmed", "the first decides, the other is shown"
    row = judged(tmp_path, close, order="best")
    assert row["verdict"] == "inconclusive"
    harder = [item - two for item, two in zip(GAIN, close, strict=True)]
    assert row["p"] == pytest.approx(stats.paired_t(harder).p), "the larger p decides"
    assert row["design"]["effect"]["decided_against"] == "other"
    assert row["design"]["effect"]["d_z"] == pytest.approx(stats.hedges_d(harder))
    assert judged(tmp_path, NONE, order="best")["verdict"] == "direction confirmed"


def test_what_is_shown_never_decides(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, [fact("c")], [binding("c", against=["base", "other"], shown=["third"], order="best")])
    ahead = [score + 5 for score in GAIN]
    scores = {("a", "ours"): GAIN, ("a", "base"): NONE, ("a", "other"): NONE, ("a", "third"): ahead}
    row = World(suite, scores).verdicts()["c"]
    assert row["verdict"] == "direction confirmed"
    assert [entry["against"] for entry in row["design"]["shown"]] == ["third"]


def test_an_arm_that_decides_must_run(tmp_path: Path) -> None:
    here = benchmark("a") + "    arms: [ours, base]\n"
    write_suite(tmp_path, [fact("c")], [binding("c", against=["base", "other"])], benchmarks=here)
    with pytest.raises(SuiteError, match="decided by arm 'other', which benchmark 'a' does not list"):
        write_suite(tmp_path, [fact("c")], [binding("c", against=["base", "other"], order="best")], benchmarks=here)


def test_benchmarks_of_one_stand_in_have_the_seeds_of_its_primary_claim(tmp_path: Path) -> None:
    """One experiment must not have two verdicts."""
    both = benchmark("a", stands_for=["b"]) + benchmark("b").split("      mini:")[0] + "      mini: null\n"
    facts = [fact("c"), fact("d", benchmark="b")]
    bound = [binding("c", primary=True, against=["base", "other"], order="best"), binding("d", benchmarks=["b"])]
    suite = write_suite(tmp_path, facts, bound, benchmarks=both, seeds="{min: 3, primary: 6, max: 12}")
    plan = make_plan(suite, Selection())
    for name in "ab":
        seeds = {arm: len(plan.trial_ids(name, arm)) for arm in ("ours", "base", "other", "third")}
        assert seeds == {"ours": 6, "base": 6, "other": 6, "third": 3}
    scores = {(name, arm): values for name in "ab" for arm, values in (("ours", GAIN), ("base", NONE), ("other", NONE))}
    rows = World(suite, scores).verdicts()
    assert rows["d"]["n"] == 6
