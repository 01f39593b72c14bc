"""Deleted trials in the tables: their rows carry ``deleted_at`` and are missing from the views of the public names.

The statements here run alone in their transaction (``Event.alone``): no rows of other events wait to be written.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from harness.store.queries import IS_FINAL
from harness.store.tables import KEYS, STORED

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from harness.store.rows import Row

_OF_TRIAL = "trial_id = ANY($trials)"
ABOUT_TRIALS = {
    **dict.fromkeys(("trials", "results", "metrics", "artifacts", "adoptions"), _OF_TRIAL),
    "events": "detail->>'trial_id' = ANY($trials)",
    "sweep_points": "list_has_any(CAST(trial_ids AS VARCHAR[]), $trials)",
}
"""Tables that have rows about trials, with the condition of the rows that are about some of them."""

_OUTCOME = {
    **dict.fromkeys(("results", "metrics", "artifacts", "adoptions"), _OF_TRIAL),
    # these compare with numbers that are replaced
    "events": f"kind IN ('duplicate', 'determinism') AND {ABOUT_TRIALS['events']}",
}
_STILL_DELETED = "SELECT trial_id FROM trials_with_deleted ANTI JOIN trials USING (trial_id)"
_CLAIM = ("claim_id", "scale", "protocol", "suite")
_SAME_CLAIM = " AND ".join(f"{name} IS NOT DISTINCT FROM ${name}" for name in _CLAIM)
_GATES_CLAIM = " AND ".join(f"gates.{name} IS NOT DISTINCT FROM gates_with_deleted.{name}" for name in _CLAIM)


def mark_deleted(
    connection: DuckDBPyConnection, trials: Iterable[str], verdicts: Iterable[Row], at: datetime | None
) -> None:
    """Mark all rows about trials, and checks of withdrawn verdicts, as deleted."""
    ids = list(trials)
    for table, condition in ABOUT_TRIALS.items():
        sql = f"UPDATE {STORED[table]} SET deleted_at = $at WHERE deleted_at IS NULL AND {condition}"
        connection.execute(sql, {"at": at, "trials": ids})
    connection.execute(f"DELETE FROM progress WHERE {_OF_TRIAL}", {"trials": ids})
    for verdict in verdicts:
        sql = f"UPDATE gates_with_deleted SET deleted_at = $at WHERE deleted_at IS NULL AND {_SAME_CLAIM}"
        connection.execute(sql, {"at": at, **{name: verdict.get(name) for name in _CLAIM}})


def clear_mark(connection: DuckDBPyConnection, at: datetime) -> bool:
    """Restore the trials deleted ``at`` a moment; return True if all are back.

    A point of a search is restored with the last of its trials, a mechanism check unless its claim was judged since.
    """
    sql = f"""SELECT trial_id FROM trials_with_deleted WHERE deleted_at = ? AND trial_id NOT IN
        (SELECT trial_id FROM trials WHERE {IS_FINAL})"""
    restored = {"trials": [trial for (trial,) in connection.execute(sql, [at]).fetchall()]}
    # what a later run began and did not end
    connection.execute(f"DELETE FROM trials_with_deleted WHERE deleted_at IS NULL AND {_OF_TRIAL}", restored)
    connection.execute(f"DELETE FROM progress WHERE {_OF_TRIAL}", restored)
    for table, condition in ABOUT_TRIALS.items():
        if table != "sweep_points":
            _clear(connection, table, condition, {"at": at, **restored})
    whole = (
        f"NOT list_has_any(CAST(trial_ids AS VARCHAR[]), (SELECT coalesce(list(trial_id), []) FROM ({_STILL_DELETED})))"
    )
    _clear(connection, "sweep_points", whole, {"at": at})
    _clear(connection, "gates", f"NOT EXISTS (FROM gates WHERE {_GATES_CLAIM})", {"at": at})
    left = connection.execute("SELECT 1 FROM trials_with_deleted WHERE deleted_at = ? LIMIT 1", [at]).fetchall()
    return not left


def _clear(connection: DuckDBPyConnection, table: str, condition: str, parameters: dict[str, object]) -> None:
    rows = f"deleted_at = $at AND ({condition})"
    if key := ", ".join(KEYS.get(table, ())):  # a row that is not deleted keeps its key
        connection.execute(
            f"DELETE FROM {STORED[table]} WHERE {rows} AND ({key}) IN (SELECT ({key}) FROM {table})", parameters
        )
    connection.execute(f"UPDATE {STORED[table]} SET deleted_at = NULL WHERE {rows}", parameters)


def drop_outcome(connection: DuckDBPyConnection, trial_id: str) -> list[tuple[str, str, float | None]]:
    """Remove a trial's numbers and artifacts; returns its final numbers: (split, metric, value)."""
    sql = "SELECT split, metric, value FROM results WHERE trial_id = ? ORDER BY ALL"
    numbers = connection.execute(sql, [trial_id]).fetchall()
    for table, condition in _OUTCOME.items():
        sql = f"DELETE FROM {STORED[table]} WHERE deleted_at IS NULL AND {condition}"
        connection.execute(sql, {"trials": [trial_id]})
    return numbers
