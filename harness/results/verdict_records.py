"""Verdicts as records and as a data frame: what ``--json`` prints and what Python gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from harness.base.values import plain
from harness.judge.detail import from_json
from harness.judge.rows import VerdictRow

if TYPE_CHECKING:
    import pandas as pd

OF_VERDICT = ("claim_id", "scale", "protocol", "verdict", "n", "difference", "ci_low", "ci_high", "p", "adjusted_p")
OF_DESIGN = ("family", "kind", "metric", "unit", "arm", "against", "benchmarks")
"""Of a verdict's record and of its design, what is a column of the frame."""


def verdict_record(verdict: VerdictRow) -> dict[str, Any]:
    """A verdict as JSON: its columns and what it was measured on."""
    return dict(plain(verdict.columns() | {"stand_in_name": verdict.detail.stand_in_name}))


def verdict_frame(records: Iterable[Mapping[str, Any]], suite: str) -> pd.DataFrame:
    """Verdicts as a data frame, one row a claim, scale and protocol.

    Args:
        records: rows of ``verdicts``, or records of :func:`verdict_record`.

    ``difference`` and its interval are in the metric's unit, up in the claimed direction; ``stand_in`` names what
    stands in for the paper's setting, and is empty as published.
    """
    import pandas as pd

    columns = ["suite", *OF_VERDICT, "e_value", *OF_DESIGN, "stand_in", "reason", "sequential", "judged_at"]
    return pd.DataFrame([_cells(record, suite) for record in records], columns=columns)


def _cells(record: Mapping[str, Any], suite: str) -> dict[str, Any]:
    detail = from_json(record.get("design") or {})
    question = detail.question
    cells = {"suite": suite} | {name: record.get(name) for name in (*OF_VERDICT, "e_value", "sequential", "judged_at")}
    return cells | {
        "family": detail.multiplicity.family,
        "kind": question.kind,
        "metric": detail.estimand.metric,
        "unit": detail.estimand.unit,
        "arm": question.arm,
        "against": ", ".join(question.against),
        "benchmarks": ", ".join(question.benchmarks),
        "stand_in": detail.stand_in_name,
        "reason": detail.reason,
    }
