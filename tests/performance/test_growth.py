"""What grows with the store grows with it, no faster; ratios of one run only, with room for a busy machine.

The table itself, of 10³ to 10⁵ trials, is printed by ``python tests/performance/growth.py FOLDER``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import growth
import pytest

from harness.plan.planning import Selection, make_plan
from harness.suite import load_suite

FEWER, MORE = 1_000, 4_000
MOST = 6.0
"""What four times as many trials may cost at most: four, and half as much again for caches and the machine."""
SECOND = 0.5
"""What a report may cost at most of the one before it, where nothing or one trial is new."""


def busy(call: Callable[[], object], turns: int = 1) -> float:
    """The least processor seconds of some turns."""
    told = []
    for _ in range(turns):
        before = time.process_time()
        call()
        told.append(time.process_time() - before)
    return min(told)


def test_planning_and_dispatch_are_linear(tmp_path: Path) -> None:
    suite = load_suite(growth.write_suite(tmp_path))
    make_plan(suite, Selection(seeds=(0,)))

    def planned(trials: int) -> float:
        return busy(lambda: make_plan(suite, Selection(seeds=tuple(range(trials // 100)))), 3)

    def decided(trials: int) -> float:
        return busy(lambda: growth.dispatch(tmp_path, growth.Size(10 * trials, 0)))

    assert planned(MORE) < MOST * planned(FEWER)
    assert decided(MORE) < MOST * decided(FEWER)


SMALL, LARGE = 100, 400
REPORTED = 1_000


def measured(folder: Path, trials: int, *stages: str) -> dict[str, float]:
    """Processor seconds of stages of a store."""
    size = growth.Size(trials, 20)
    growth.write_suite(folder)
    return {name: busy(lambda stage=growth.STAGES[name]: stage(folder, size)) for name in stages}  # type: ignore[misc]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, float]]:
    """The stages of a small store and of one four times as large."""
    growth.warm("report")
    stages = ("journal", "ingest", "finish", "re-check", "query")
    return {trials: measured(tmp_path_factory.mktemp("growing"), trials, *stages) for trials in (SMALL, LARGE)}


@pytest.mark.parametrize("stage", ["journal", "ingest", "re-check", "query"])
def test_a_stage_is_linear(stores: dict[int, dict[str, float]], stage: str) -> None:
    fewer, more = (stores[trials][stage] for trials in (SMALL, LARGE))
    assert more < MOST * fewer


def test_a_second_report_makes_again_only_what_is_new(tmp_path: Path) -> None:
    told = measured(tmp_path, REPORTED, "journal", "ingest", "report", "report again", "finish", "report after one")
    assert told["report again"] < SECOND * told["report"]
    assert told["report after one"] < SECOND * told["report"]
