"""Trials that are forgotten: their rows stand in the schema ``forgotten`` until they are brought back.

Every table of that schema has the columns of the public table of its name, and ``forget_id`` beside them. The
statements here run alone in their transaction (``Event.alone``): no other event's rows wait to be written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from harness.store.queries import IS_FINAL

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from harness.store.rows import Row

_OF_TRIAL = "trial_id = ANY($trials)"
MOVED = {
    **dict.fromkeys(("trials", "results", "metrics", "artifacts", "run_trials", "adoptions"), _OF_TRIAL),
    "events": "detail->>'trial_id' = ANY($trials)",
    "sweep_points": "list_has_any(CAST(trial_ids AS VARCHAR[]), $trials)",
}
"""The tables that have rows about trials, and which rows are about some of them."""

_OUTCOME = {
    **dict.fromkeys(("results", "metrics", "artifacts", "adoptions"), _OF_TRIAL),
    # they compare with numbers that are no longer there
    "events": f"kind IN ('duplicate', 'determinism') AND {MOVED['events']}",
}
"""What of a trial is its outcome."""

OF_CLAIM = ("claim_id", "scale", "protocol", "suite")
"""What a row of ``gates`` belongs to."""
_SAME_CLAIM = " AND ".join(f"{name} IS NOT DISTINCT FROM ${name}" for name in OF_CLAIM)


def set_aside(connection: DuckDBPyConnection, forget_id: str, trials: Iterable[str]) -> None:
    """Move all rows about trials into the schema ``forgotten``."""
    given = {"trials": list(trials)}
    for table, condition in MOVED.items():
        sql = f"INSERT INTO forgotten.{table} BY NAME SELECT $forget AS forget_id, * FROM {table} WHERE {condition}"
        connection.execute(sql, {"forget": forget_id, **given})
        connection.execute(f"DELETE FROM {table} WHERE {condition}", given)
    connection.execute(f"DELETE FROM progress WHERE {_OF_TRIAL}", given)


def set_gates_aside(connection: DuckDBPyConnection, forget_id: str, verdicts: Iterable[Row]) -> None:
    """Move the gates of claims whose verdicts are withdrawn."""
    for verdict in verdicts:
        given = {name: verdict.get(name) for name in OF_CLAIM}
        sql = f"INSERT INTO forgotten.gates BY NAME SELECT $forget AS forget_id, * FROM gates WHERE {_SAME_CLAIM}"
        connection.execute(sql, {"forget": forget_id, **given})
        connection.execute(f"DELETE FROM gates WHERE {_SAME_CLAIM}", given)


def bring_back(connection: DuckDBPyConnection, forget_id: str) -> list[str]:
    """Move the rows of a forgetting back, but for trials that have a result again; returns those that came back.

    A configuration of a search comes back once all its trials are there.
    """
    sql = f"""SELECT trial_id FROM forgotten.trials WHERE forget_id = ? AND trial_id NOT IN
        (SELECT trial_id FROM trials WHERE {IS_FINAL}) ORDER BY trial_id"""
    trials = [trial for (trial,) in connection.execute(sql, [forget_id]).fetchall()]
    given = {"forget": forget_id, "trials": trials}
    # what a later run began and did not end
    connection.execute("DELETE FROM trials WHERE trial_id = ANY(?)", [trials])
    connection.execute("DELETE FROM progress WHERE trial_id = ANY(?)", [trials])
    for table, condition in MOVED.items():
        if table != "sweep_points":
            _move_back(connection, table, f"forget_id = $forget AND {condition}", given)
    whole = """forget_id = $forget AND NOT list_has_any(CAST(trial_ids AS VARCHAR[]), (
        SELECT coalesce(list(trial_id), []) FROM forgotten.trials ANTI JOIN trials USING (trial_id)))"""
    _move_back(connection, "sweep_points", whole, {"forget": forget_id})
    # where the claim was judged meanwhile it has gates of its own
    claim = ", ".join(OF_CLAIM)
    unjudged = f"SELECT {claim} FROM forgotten.gates WHERE forget_id = ? EXCEPT SELECT {claim} FROM gates"
    for key in connection.execute(unjudged, [forget_id]).fetchall():
        same = {"forget": forget_id, **dict(zip(OF_CLAIM, key, strict=True))}
        _move_back(connection, "gates", f"forget_id = $forget AND {_SAME_CLAIM}", same)
    return trials


def _move_back(connection: DuckDBPyConnection, table: str, condition: str, given: Mapping[str, object]) -> None:
    rows = f"SELECT * EXCLUDE (forget_id) FROM forgotten.{table} WHERE {condition}"
    kept = "" if table in ("metrics", "events", "gates") else " ON CONFLICT DO NOTHING"
    connection.execute(f"INSERT INTO {table} BY NAME {rows}{kept}", dict(given))
    connection.execute(f"DELETE FROM forgotten.{table} WHERE {condition}", dict(given))


def left_of(connection: DuckDBPyConnection, forget_id: str) -> int:
    """How many trials of a forgetting are still forgotten."""
    sql = "SELECT count(*) FROM forgotten.trials WHERE forget_id = ?"
    ((count,),) = connection.execute(sql, [forget_id]).fetchall()
    return int(count)


def drop_outcome(connection: DuckDBPyConnection, trial_id: str) -> list[tuple[str, str, float | None]]:
    """Remove a trial's numbers and artifacts; returns its final numbers: (split, metric, value)."""
    sql = "SELECT split, metric, value FROM results WHERE trial_id = ? ORDER BY ALL"
    numbers = connection.execute(sql, [trial_id]).fetchall()
    for table, condition in _OUTCOME.items():
        connection.execute(f"DELETE FROM {table} WHERE {condition}", {"trials": [trial_id]})
    return numbers
