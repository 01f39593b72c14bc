"""A run's result as plain data, for ``harness run --json``."""

from __future__ import annotations

from typing import Any

from harness.app.run import Result
from harness.results.verdict_records import headline, verdict_record


def run_record(suite: str, result: Result) -> dict[str, Any]:
    """Counts of trials, failures, the headline and every verdict."""
    return {
        "suite": suite,
        "run_id": result.run_id,
        "trials": len(result.plan.trials),
        "reused": result.reused,
        "counts": result.counts,
        "stopped": result.stopped,
        "failures": result.failures,
        "headline": headline(result.verdicts),
        "verdicts": list(map(verdict_record, result.verdicts)),
    }
