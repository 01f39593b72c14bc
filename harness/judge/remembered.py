"""Reuse of stored verdicts: ``judged_from`` is a digest of all that they rest on."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.data.code import code_digest
from harness.judge.checks import code_of
from harness.judge.judging import Judgement
from harness.judge.protocols import judge_protocols
from harness.judge.rows import VerdictRow, stored_row
from harness.plan.planning import Plan, Selection
from harness.registry.shipped import check_module
from harness.store.queries import Queries
from harness.suite import Suite
from harness.vocabulary import Protocol

_ROWS = {
    "trials": "trial_id, status, environment_id, wall_seconds",
    "results": "trial_id, split, metric, value",
    "environments": "environment_id, info",
    "artifacts": "trial_id, name, path",
    "adoptions": "trial_id, adopted_from",
    "sweeps": "sweep_id, spec",
    "sweep_points": "sweep_id, arm, number, params, value, status, trial_ids",
}
"""Columns that a judgement may read, by table. Repeated trials stand in ``events``."""


def judge_once(
    suite: Suite,
    plan: Plan,
    reader: Queries,
    selection: Selection,
    *,
    sequential: bool = False,
    compute_checks: bool = True,
) -> tuple[tuple[VerdictRow, ...], Judgement | None]:
    """The verdicts by :func:`judge_protocols`, and those to record (None: the stored ones stand)."""
    checked = any(binding.check is not None for binding in suite.model.claims)
    # A judgement whose checks were computed also serves where they need not be.
    accepted = [
        judged_from(suite, plan, reader, selection, sequential=sequential, checks=checks)
        for checks in dict.fromkeys([checked] if compute_checks else [checked, False])
    ]
    stored = stored_verdicts(suite, plan, reader)
    if stored and any(all(row.detail.judged_from == digest for row in stored) for digest in accepted):
        return stored, None
    created = judge_protocols(suite, plan, reader, selection, sequential=sequential, compute_checks=compute_checks)
    marked = tuple(replace(row, detail=replace(row.detail, judged_from=accepted[-1])) for row in created.verdicts)
    return marked, replace(created, verdicts=marked)


def stored_verdicts(suite: Suite, plan: Plan, reader: Queries) -> tuple[VerdictRow, ...]:
    """The last verdicts of a suite at a scale, published before tuned."""
    own = (Protocol.PUBLISHED, Protocol.TUNED)
    stored = reader.verdicts(scale=plan.scale, suite=suite.name).dicts()
    rows = [row for row in stored if row["protocol"] in own]
    newest = max((row["judged_at"] for row in rows), default=None)
    places = {name: place for place, name in enumerate(suite.facts)}
    result = [stored_row(row) for row in rows if row["judged_at"] == newest]
    return tuple(sorted(result, key=lambda row: (row.protocol, places.get(row.claim_id, len(places)), row.claim_id)))


def judged_from(
    suite: Suite, plan: Plan, reader: Queries, selection: Selection, *, sequential: bool, checks: bool
) -> str:
    """A digest of every input; ``checks``: identities are computed."""
    digest = hashlib.sha256(code_digest().encode())
    for text in suite_texts(suite, plan):
        digest.update(f"{text}\n".encode())
    requested = [plan.scale, sequential, checks, sorted(selection.overrides.items())]
    digest.update(json.dumps(requested, default=str).encode())
    for binding in suite.model.claims if checks else ():
        if binding.check is not None:
            digest.update(code_of(f"{check_module(suite.name)}:{binding.check}").encode())
    for link in plan.links:
        digest.update(f"{link.benchmark}\t{link.arm}\t{link.seed}\t{link.trial_id}\n".encode())
    for row in _state(reader):
        digest.update(f"{row}\n".encode())
    return digest.hexdigest()[:32]


def suite_texts(suite: Suite, plan: Plan) -> list[str]:
    """The whole suite as text, with added arms."""
    texts = [suite.model.model_dump_json(), *(fact.model_dump_json() for fact in suite.facts.values())]
    for name, benchmark in suite.benchmarks.items():
        texts += [name, benchmark.model.model_dump_json(), benchmark.used.model_dump_json()]
    texts += [f"{name} {arm.model_dump_json()}" for name, arm in plan.arms.items()]
    return texts


def _state(reader: Queries) -> list[Any]:
    requested = [
        f"SELECT '{table}', count(*), sum(hash({columns})::HUGEINT)::VARCHAR FROM {table}"
        for table, columns in _ROWS.items()
    ]
    requested.append(
        "SELECT 'events', count(*), sum(hash(run_id, kind, detail)::HUGEINT)::VARCHAR FROM events "
        "WHERE kind IN ('duplicate', 'determinism')"
    )
    rows: list[Any] = reader.query(" UNION ALL ".join(requested) + " ORDER BY 1").rows
    files = reader.query("SELECT DISTINCT path FROM artifacts WHERE name = 'items' ORDER BY path").rows
    return [*rows, *(_file_state(path) for (path,) in files)]


def _file_state(path: str) -> tuple[str, int, int]:
    try:
        state = Path(path).stat()
    except OSError:
        return path, -1, -1
    return path, state.st_size, state.st_mtime_ns
