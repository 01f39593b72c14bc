"""The best baseline of each benchmark of a finished run at mini is neither as good as nothing nor nearly perfect.

    harness run suites/*.yaml --db mini.duckdb
    HARNESS_MINI_DB=mini.duckdb pytest tests/suites/test_room_to_move.py -m slow -s

The way of a baseline is its share of the way from the trivial predictor to a perfect one: percent metrics from the
trivial predictor's value to 100, perplexity from the unigram's to 1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.store import open_reader
from harness.suite import load_suite

pytestmark = pytest.mark.slow

SUITES = ("adamp", "nkd", "powernorm")
LEAST, MOST = 15.0, 90.0
SCORES = """
SELECT asked.benchmark, asked.arm, score.metric, avg(score.value), avg(trivial.value)
FROM (SELECT DISTINCT benchmark, arm, trial_id FROM run_trials) AS asked
JOIN trials AS t USING (trial_id)
JOIN results AS score ON score.trial_id = t.trial_id AND score.split = 'test'
JOIN results AS trivial ON trivial.trial_id = t.trial_id AND trivial.split = 'test'
  AND trivial.metric = 'trivial.' || score.metric
WHERE t.suite = '{suite}' AND t.scale = 'mini' AND t.status = 'done'
GROUP BY ALL ORDER BY ALL
"""


@pytest.fixture
def database() -> Path:
    value = os.environ.get("HARNESS_MINI_DB")
    if not value:
        pytest.skip("HARNESS_MINI_DB names no database of a finished run at mini")
    return Path(value)


def baselines(database: Path, name: str) -> Iterator[tuple[str, str, str, float]]:
    """Benchmark, baseline, metric and way."""
    suite = load_suite(name)
    with open_reader(database) as reader:
        rows = reader.query(SCORES.format(suite=name)).rows
    for benchmark, arm, metric, value, trivial in rows:
        if arm not in suite.model.arms or suite.model.arms[arm].role != "baseline":
            continue
        perfect = 1.0 if metric == "perplexity" else 100.0
        yield benchmark, arm, metric, 100 * (value - trivial) / (perfect - trivial)


@pytest.mark.parametrize("name", SUITES)
def test_baselines_leave_room(database: Path, name: str) -> None:
    result = list(baselines(database, name))
    assert result, f"{database} holds no trial of {name} at mini"
    for benchmark, arm, metric, way in result:
        print(f"{name} {benchmark:36}{arm:20}{metric:22}{way:6.1f} %")
    best: dict[tuple[str, str], float] = {}
    for benchmark, _, metric, way in result:
        best[benchmark, metric] = max(way, best.get((benchmark, metric), way))
    assert not {where: way for where, way in best.items() if not LEAST <= way <= MOST}


def test_nothing_failed(database: Path) -> None:
    with open_reader(database) as reader:
        bad = reader.query("SELECT suite, benchmark, arm, seed, status, error FROM trials WHERE status <> 'done'").rows
    assert not bad
