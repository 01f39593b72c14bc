"""A stored verdict computed again from ``verdict_trials``, ``results`` and its stored design alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from harness.errors import HarnessError
from harness.judge import families
from harness.judge.checks import stored_check
from harness.judge.evidence import read_evidence
from harness.judge.frame import PREFIX, frame_from
from harness.judge.judging import examine_frame, verdict_row
from harness.store.queries import Queries

NUMBERS = ("n", "difference", "ci_low", "ci_high", "p", "adjusted_p", "e_value")
TOLERANCE = 1e-9


def recompute(reader: Queries, claim_id: str, scale: str, judged_at: datetime) -> dict[str, Any]:
    """Judge one stored verdict again; neither the suite nor any plan is asked.

    Returns the verdict's row with ``matches`` and ``differs`` (the columns that do not agree). The p values of the
    other tests of its family are those stored with the design.

    Raises:
        HarnessError: there is no such verdict, or its design does not fit its ``verdict_trials``.
    """
    stored = _stored(reader, claim_id, scale, judged_at)
    design: dict[str, Any] = stored["design"]
    trials = [
        trial
        for (trial,) in reader.query(
            "SELECT DISTINCT trial_id FROM verdict_trials WHERE claim_id = ? AND scale = ? AND judged_at = ?",
            [claim_id, scale, judged_at],
        ).rows
    ]
    frame = _frame(design, trials, claim_id)
    evidence = read_evidence(reader, trials)
    one = examine_frame(frame, evidence)
    p: dict[str, float | None] = dict(design.get("family_p") or {})
    p.update({name: value for name, value in one.p.items() if value is not None})
    adjusted = families.adjust(frame.family, p, sequential=frame.sequential) if p else {}
    row = verdict_row(one, evidence, stored_check(design), p, adjusted, judged_at)
    differs = [name for name in NUMBERS if not _same(row[name], stored[name])]
    differs += [name for name in ("verdict", "sequential") if row[name] != stored[name]]
    differs += ["registered"] if row["design"]["registered"] != design["registered"] else []
    return {**row, "matches": not differs, "differs": differs}


def _stored(reader: Queries, claim_id: str, scale: str, judged_at: datetime) -> dict[str, Any]:
    rows = reader.query(
        "SELECT * FROM verdicts WHERE claim_id = ? AND scale = ? AND judged_at = ?", [claim_id, scale, judged_at]
    ).dicts()
    if not rows:
        raise HarnessError(f"no verdict of '{claim_id}' at {scale} given at {judged_at}")
    return rows[0]


def _frame(design: Mapping[str, Any], trials: list[str], claim_id: str) -> Any:
    named = {**design, "contrast": design["contrast_id"], "check": _check_name(design)}
    try:
        return frame_from(named, {trial[:PREFIX]: trial for trial in trials})
    except KeyError as missing:
        raise HarnessError(
            f"the design of '{claim_id}' does not fit its stored trials: {missing} is absent"
        ) from missing


def _check_name(design: Mapping[str, Any]) -> str | None:
    check = design.get("check")
    return check.get("name") if isinstance(check, Mapping) else check


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other or (one is None) == (other is None)
    if math.isnan(one) and math.isnan(other):
        return True
    return one == other or math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def verdict_times(reader: Queries, claim_id: str, scale: str) -> list[datetime]:
    """When a claim was judged at a scale, oldest first."""
    sql = "SELECT judged_at FROM verdicts WHERE claim_id = ? AND scale = ? ORDER BY judged_at"
    return [when for (when,) in reader.query(sql, [claim_id, scale]).rows]
