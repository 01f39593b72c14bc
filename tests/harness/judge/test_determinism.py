"""Trials whose numbers change when rerun."""

from pathlib import Path

import pytest
from judge_support import World, around, binding, fact, flat, judge_stored, write_suite
from store_support import outcome

from harness.store import Writer


def again(world: World, database: Path, metric: str, change: float, environment: str = "here") -> None:
    """Record a second outcome of the method's first trial."""
    trial = world.plan.trial_ids("a", "ours")[0]
    value = float(world.scores["a", "ours"][0])  # type: ignore[arg-type]
    rows = [{"split": "test", "metric": metric, "value": value + change}]
    with Writer(database) as owner:
        owner.record(outcome(trial, run_id="r2", wall_seconds=1.0, environment_id=environment, results=rows, series=[]))
        owner.flush()


@pytest.mark.parametrize(
    ("metric", "change", "environment", "invalid"),
    [
        ("score", 0.01, "here", True),
        ("score", 1e-9, "here", False),  # rounding
        ("score", 0.01, "there", False),  # another machine may round otherwise
        ("seconds", 0.01, "here", False),  # not what the claim is about
    ],
)
def test_two_outcomes_that_differ(
    tmp_path: Path, database: Path, metric: str, change: float, environment: str, invalid: bool
) -> None:
    suite = write_suite(tmp_path, [fact("c")], [binding("c")])
    world = World(suite, {("a", "ours"): around(2.0, 0.2, 6), ("a", "base"): flat(6)})
    world.store(database)
    again(world, database, metric, change, environment)
    row = judge_stored(world, database)["c"]
    assert row.verdict == ("invalid" if invalid else "direction confirmed")
    if invalid:
        assert "nondeterminism: 1 trial gave another score" in row.detail.reason
