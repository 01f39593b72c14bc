"""What the stored trials of a plan's cells cost."""

from __future__ import annotations

from pathlib import Path

from harness.plan.estimate import StoredCosts
from harness.plan.planning import Plan
from harness.store import open_reader


def measured_costs(plan: Plan, database: Path) -> StoredCosts:
    """Finished trials of a plan, and what the done ones of its cells took; empty without a database."""
    if not database.exists():
        return StoredCosts()
    with open_reader(database) as reader:
        stored = frozenset(reader.finished([trial.trial_id for trial in plan.trials]))
        rows = reader.query(
            "SELECT benchmark, arm, median(cpu_seconds), max(peak_memory_mb) FROM trials "
            "WHERE suite = ? AND scale = ? AND status = 'done' GROUP BY ALL",
            (plan.suite, plan.scale),
        ).rows
    seconds = {(b, a): float(s) for b, a, s, _ in rows if s is not None}
    memory = {(b, a): float(m) for b, a, _, m in rows if m is not None}
    return StoredCosts(stored, seconds, memory)
