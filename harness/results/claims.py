"""A suite's claims judged from the stored trials, with its exploratory ablations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.judge import ablations
from harness.judge.rows import VerdictRow
from harness.judge.stored import judge_now, stored_otherwise
from harness.plan.planning import Plan, Selection
from harness.store import open_reader
from harness.suite import Suite, load_suite


@dataclass(frozen=True, slots=True)
class JudgedSuite:
    """A suite's verdicts at a scale.

    Attributes:
        superseded: stored trials of its cells that other code, recipes or data made: they are not judged.
        adopted: judged trials that older code made and that count as today's (``harness verify --adopt``).
    """

    suite: Suite
    plan: Plan
    verdicts: tuple[VerdictRow, ...]
    ablations: list[dict[str, Any]]
    superseded: int
    adopted: int


def judge_suite(name: str, selection: Selection, database: Path) -> JudgedSuite:
    """Judge a suite, named or by its path, from the stored trials, and store the verdicts; nothing is run."""
    suite = load_suite(name)
    plan, verdicts = judge_now(suite, selection, database)
    with open_reader(database) as reader:
        wanted = [trial.trial_id for trial in plan.trials]
        adopted = len(reader.query("SELECT trial_id FROM adoptions WHERE trial_id = ANY(?)", [wanted]))
        measured = ablations(suite, plan, reader)
        return JudgedSuite(suite, plan, verdicts, measured, stored_otherwise(plan, reader), adopted)
