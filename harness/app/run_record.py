"""What a run did, as plain data: what ``harness run --json`` prints of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from harness.app.run import Result
from harness.results.verdict_records import headline, verdict_record


def run_record(suite: str, result: Result) -> dict[str, Any]:
    """Counts of trials, failures, what was replaced, the headline and every verdict."""
    return {
        "suite": suite,
        "run_id": result.run_id,
        "trials": len(result.plan.trials),
        "reused": result.reused,
        "counts": result.counts,
        "stopped": result.stopped,
        "failures": result.failures,
        "replaced": [asdict(one) | {"equal": one.equal} for one in result.replaced],
        "headline": headline(result.verdicts),
        "verdicts": list(map(verdict_record, result.verdicts)),
    }
