"""Judging from the stored trials at any time, without running anything."""

import contextlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from harness.base.yaml_nodes import parse
from harness.errors import HarnessError
from harness.judge.ablation import AblationRow, ablations
from harness.judge.judging import Judgement, claim_rows, record_judgement
from harness.judge.remembered import judge_once
from harness.judge.rows import VerdictRow
from harness.judge.seeds import next_seeds, pending_claims, with_added_seeds
from harness.plan.imported import ENVIRONMENT, FINGERPRINT
from harness.plan.planning import Plan, Selection, make_plan
from harness.store import Reader, StoreReadOnlyError, Writer, open_reader
from harness.store.events import ClaimsEvent
from harness.suite import Suite, load_suite, suite_from_dict, suite_from_json
from harness.suite.load import find_suite


def judge_now(suite: Suite, selection: Selection, database: Path) -> tuple[Plan, tuple[VerdictRow, ...]]:
    """Judge a suite from its plan's trials and store new verdicts.

    A missing database is created. Verdicts of a read-only database are returned and not stored.
    """
    try:
        owner = Writer(database).open()
    except StoreReadOnlyError:
        with open_reader(database) as reader:
            plan, verdicts, _ = _judged(suite, selection, reader)
        return plan, verdicts
    with contextlib.closing(owner):
        owner.record(ClaimsEvent(suite.name, claim_rows(suite)))
        with owner.reader() as reader:
            plan, verdicts, new = _judged(suite, selection, reader)
        if new is not None:
            record_judgement(owner.record, suite.name, plan.scale, new)
    return plan, verdicts


def _judged(
    suite: Suite, selection: Selection, reader: Reader
) -> tuple[Plan, tuple[VerdictRow, ...], Judgement | None]:
    selection = as_last_run(suite, selection, reader)
    plan = stored_plan(suite, selection, reader)
    # Checks of identities need torch; a run computes them, and what is stored of this code is used here.
    sequential = selection.cap is not None
    return plan, *judge_once(suite, plan, reader, selection, sequential=sequential, compute_checks=False)


def as_last_run(suite: Suite, selection: Selection, reader: Reader) -> Selection:
    """The selection, by default with the seeds of the suite's last run (others: another interim analysis)."""
    if selection.seeds is not None:
        return selection
    rows = reader.query(
        "SELECT spec -> '$.seeds_asked' FROM runs WHERE suite = ? AND scale = ? "
        "AND environment_id IS DISTINCT FROM ? ORDER BY started_at DESC LIMIT 1",
        (suite.name, selection.scale, ENVIRONMENT),
    ).rows
    requested = json.loads(rows[0][0]) if rows and rows[0][0] else {}
    if not requested.get("seeds"):
        return selection
    return replace(selection, seeds=tuple(requested["seeds"]), cap=requested.get("cap"))


def stored_plan(suite: Suite, selection: Selection, reader: Reader) -> Plan:
    """The plan of a selection; of a range of seeds, as far as the replayed policy's seeds are stored."""
    plan = make_plan(suite, selection)
    while selection.cap is not None:
        purchases = next_seeds(pending_claims(suite, plan, reader, cap=selection.cap))
        if not purchases:
            break
        selection = with_added_seeds(selection, purchases)
        longer = make_plan(suite, selection)
        new = {trial.trial_id for trial in longer.trials} - {trial.trial_id for trial in plan.trials}
        if len(reader.finished(new)) < len(new):
            break
        plan = longer
    return plan


def stored_otherwise(plan: Plan, reader: Reader) -> int:
    """Number of finished trials of other code, recipes or data."""
    finished = set(reader.finished({trial.trial_id for trial in plan.trials}))
    lacking = {(link.benchmark, link.arm, link.seed) for link in plan.links if link.trial_id not in finished}
    rows = reader.query(
        "SELECT benchmark, arm, seed FROM trials WHERE suite = ? AND scale = ? AND status = 'done' "
        "AND fingerprint IS DISTINCT FROM ?",
        (plan.suite, plan.scale, FINGERPRINT),
    ).rows
    return sum(tuple(row) in lacking for row in rows)


@dataclass(frozen=True, slots=True)
class JudgedSuite:
    """A suite's verdicts at a scale.

    ``superseded``: stored trials of other code, recipes or data. ``adopted``: trials carried over from older code.
    """

    suite: Suite
    plan: Plan
    verdicts: tuple[VerdictRow, ...]
    ablations: list[AblationRow]
    superseded: int
    adopted: int


def stored_suite(reader: Reader, name: str) -> Suite:
    """A suite as its newest run stored it; of older versions, its present file.

    Raises:
        HarnessError: no run of that name, an invalid suite, or a missing file.
    """
    sql = """SELECT spec->>'$.resolved', spec->>'$.file', spec->>'$.path' FROM runs WHERE suite = ?
        ORDER BY started_at DESC LIMIT 1"""
    rows = reader.query(sql, [name]).rows
    if not rows:
        raise HarnessError(f"no suite '{name}' has run on this database")
    resolved, text, place = rows[0]
    if resolved is not None:
        return suite_from_json(resolved)
    if text is not None:
        return suite_from_dict(parse(text, Path(place)).plain(), Path(place).parent)
    return load_suite(place if place is not None and Path(place).is_file() else name)


def named_suite(which: str, database: Path) -> Suite:
    """The suite of a file or shipped name, else as stored.

    Raises:
        HarnessError: an unknown or invalid suite.
    """
    try:
        path = find_suite(which)
    except HarnessError:
        if not database.exists():
            raise
        with open_reader(database) as reader:
            if not reader.query("SELECT 1 FROM runs WHERE suite = ? LIMIT 1", [which]).rows:
                raise
            return stored_suite(reader, which)
    return load_suite(path)


def judge_suite(suite: Suite | str, selection: Selection, database: Path) -> JudgedSuite:
    """Judge a suite from its stored trials and store the verdicts."""
    suite = named_suite(suite, database) if isinstance(suite, str) else suite
    plan, verdicts = judge_now(suite, selection, database)
    return judged_suite(suite, plan, verdicts, database)


def judged_suite(suite: Suite, plan: Plan, verdicts: tuple[VerdictRow, ...], database: Path) -> JudgedSuite:
    """A suite's verdicts with ablations and counts of unused trials."""
    with open_reader(database) as reader:
        wanted = [trial.trial_id for trial in plan.trials]
        adopted = len(reader.query("SELECT trial_id FROM adoptions WHERE trial_id = ANY(?)", [wanted]))
        measured = ablations(suite, plan, reader)
        return JudgedSuite(suite, plan, verdicts, measured, stored_otherwise(plan, reader), adopted)
