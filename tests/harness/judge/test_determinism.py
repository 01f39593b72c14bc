"""Trials whose numbers change when rerun."""

from pathlib import Path

import pytest
from judge_support import WHEN, World, around, binding, fact, flat, record_verdicts, write_suite
from recomputing import differing

from harness.judge import judge
from harness.store import Writer, open_reader
from harness.store.events import read_event


def again(world: World, database: Path, metric: str, change: float, environment: str = "here") -> None:
    """Record a second outcome of the method's first trial."""
    trial = world.plan.trial_ids("a", "ours")[0]
    value = float(world.scores["a", "ours"][0])  # type: ignore[arg-type]
    rows = [{"split": "test", "metric": metric, "value": value + change}]
    with Writer(database) as owner:
        ended = {"v": 1, "kind": "outcome", "run_id": "r2", "trial_id": trial, "status": "done", "attempts": 1}
        measured = {"wall_seconds": 1.0, "environment_id": environment, "results": rows, "series": [], "artifacts": []}
        owner.record(read_event({**ended, **measured}))
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
    with open_reader(database) as reader:
        judgement = judge(suite, world.plan, reader, judged_at=WHEN)
    row = judgement.verdicts[0]
    assert row.verdict == ("invalid" if invalid else "direction confirmed")
    if invalid:
        assert "nondeterminism: 1 trial gave another score" in row.detail.reason
    record_verdicts(database, suite, "mini", judgement)
    with open_reader(database) as reader:
        assert differing(reader, "c", "mini", WHEN) == []
