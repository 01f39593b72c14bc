"""The tuned protocol's trials: all of them that are known before wait in one queue, and what fails runs once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

import harness
from harness.execute.dispatch import Watch
from harness.execute.outcome import Outcome
from harness.execute.worker import Job
from harness.store import open_reader

TUNED = """
tuned:
  budget: 3
  seeds: 1
  spaces:
    "*": {optimizer.lr: {factors: [0.333, 1, 3]}}
  rates: {factors: [0.333, 1, 3], seeds: 3}
"""


class Seen(Watch):
    """Records the jobs of each queue, and how trials ended."""

    def __init__(self) -> None:
        self.queues: list[list[str]] = []
        self.ended: Counter[str] = Counter()

    def queued(self, jobs: Sequence[Job]) -> None:
        self.queues.append([job.label for job in jobs])

    def finished(self, job: Job, outcome: Outcome) -> None:
        self.ended[f"{job.label} {outcome.status}"] += 1


@pytest.fixture
def suite(tiny: Path) -> Path:
    tiny.write_text(tiny.read_text().replace("steps: 20", "steps: 1") + TUNED)
    return tiny


def test_searches_and_rates_wait_in_one_queue(suite: Path, database: Path) -> None:
    seen = Seen()
    run = harness.run(suite, seeds=3, database=database, executor="inline", watch=seen)
    assert run.complete
    main, ahead = seen.queues[:2]
    assert len(main) == 6
    assert {label.split("/")[1].partition("#")[0].partition("-")[0] for label in ahead} == {"base", "better"}
    assert sum("#" in label for label in ahead) == 6
    assert sum("-lr-" in label for label in ahead) == 12
    assert len(seen.queues) <= 3  # what the arms chose
    again = Seen()
    harness.run(suite, seeds=3, database=database, executor="inline", watch=again)
    assert not again.queues


def test_what_fails_in_a_search_runs_once(suite: Path, database: Path) -> None:
    suite.write_text(suite.read_text().replace("effect: 3.0}", "effect: 3.0, fails: true}"))
    seen = Seen()
    run = harness.run(suite, seeds=3, database=database, executor="inline", watch=seen)
    failed = {name: count for name, count in seen.ended.items() if name.endswith("failed")}
    assert len(failed) == 3 + 3 + 6  # the sensitivity's middle is the arm itself, which has failed
    assert set(failed.values()) == {1}
    assert len(run.record["failures"]) == len(failed)
    with open_reader(database) as reader:
        rows = reader.query("SELECT arm, status, count(*) FROM sweep_points GROUP BY ALL ORDER BY ALL").rows
    assert rows == [("base", "told", 3), ("better", "failed", 3)]
