"""Unit and direction of metrics, as suites and stored runs declare them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.results.stored_runs import StoredRun
from harness.store.queries import Queries

BESIDE = ("mechanism.", "trivial.")
"""Metrics that are measured beside the scores: a table has them where they are asked for."""


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """What is known of a metric: unit and direction; ``better`` is empty where nobody says it."""

    name: str
    unit: str = ""
    better: str = ""


def metric_facts(reader: Queries, suite: str, runs: Iterable[StoredRun]) -> dict[str, MetricFacts]:
    """Unit and direction by metric: what the newest runs' benchmarks declare, else what the suite's claims say."""
    sql = "SELECT DISTINCT metric, unit, better FROM claims WHERE suite = ? AND metric IS NOT NULL ORDER BY ALL"
    facts = {row[0]: MetricFacts(row[0], row[1] or "", row[2] or "") for row in reader.query(sql, [suite]).rows}
    for run in reversed(list(runs)):
        for benchmark in run.benchmarks.values():
            for name, metric in (benchmark.get("metrics") or {}).items():
                facts[name] = MetricFacts(name, str(metric.get("unit") or ""), str(metric.get("better") or ""))
    return facts
