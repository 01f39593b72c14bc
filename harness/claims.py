"""Judging from the stored trials at any time, without running anything."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.judge import claim_rows, judge
from harness.plan import Plan, Selection, make_plan
from harness.run import record_judgement
from harness.store import Owner, open_reader
from harness.suite import Suite


def judge_now(suite: Suite, selection: Selection, database: Path) -> tuple[Plan, list[dict[str, Any]]]:
    """Upsert the suite's claims, judge them from the trials of its plan, store and return the verdicts.

    A missing database is made: a suite's claims can be looked at before anything has run.
    """
    plan = make_plan(suite, selection)
    with Owner(database) as owner:
        owner.record({"kind": "claims", "suite": suite.name, "claims": claim_rows(suite)})
        owner.flush()
        with open_reader(database) as reader:
            judgement = judge(suite, plan, reader, judged_at=datetime.now(UTC).replace(tzinfo=None))
        record_judgement(owner.record, suite.name, plan.scale, judgement)
    return plan, judgement.verdicts
