"""Events that delete and restore trials, and their effect on the tables.

Rows of deleted trials carry ``deleted_at`` and are missing from the views of the public names. The statements here run
alone in their transaction (``Event.alone``): no rows of other events wait to be written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from harness.store.events import Event, OutcomeEvent, Parts, Rows
from harness.store.fold import PendingRows, Touched
from harness.store.queries import IS_FINAL
from harness.store.rows import KEYS, STORED, converted, moment
from harness.vocabulary import FINAL, Protocol, Verdict

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


@dataclass(frozen=True)
class DeletedEvent(Event):
    """Trials no longer stored, and the verdicts that replace those on them.

    ``verdicts`` are of the same moment as the event: the history of a claim stays, and its newest row says that it
    rests on nothing.
    """

    kind = "deleted"
    alone = True
    parts: ClassVar[Parts] = {"verdicts": ("verdicts", ("claim_id", "scale", "verdict"))}

    deletion_id: str
    trials: Sequence[str]
    verdicts: Rows = ()
    reason: str | None = None
    command: str | None = None

    def fold(self, rows: PendingRows) -> None:
        around = {"protocol": Protocol.PUBLISHED, "judged_at": self.at}
        verdicts = converted("verdicts", self.verdicts, **around)
        row = {"deletion_id": self.deletion_id, "deleted_at": self.at, "reason": self.reason, "command": self.command}
        deletion = converted("deletions", [row])
        _mark_deleted(rows.connection, self.trials, verdicts, moment(self.at))
        rows.put("deletions", *deletion)
        rows.put("verdicts", *verdicts)


@dataclass(frozen=True)
class RestoredEvent(Event):
    """A deletion is undone: its trials are stored again as they were, except those that have run again."""

    kind = "restored"
    alone = True

    deletion_id: str
    run_id: str | None = None

    def touches(self) -> Touched:
        return [("deletions", {"deletion_id": self.deletion_id})]

    def fold(self, rows: PendingRows) -> None:
        """Clear the mark, and drop the verdicts that the deletion added."""
        deletion = rows.get("deletions", self.deletion_id)
        if not deletion:
            raise ValueError(f"unknown deletion {self.deletion_id!r}")
        if _clear_mark(rows.connection, deletion["deleted_at"]):
            rows.put("deletions", deletion | {"restored_at": moment(self.at)})
        sql = "DELETE FROM verdicts WHERE judged_at = ? AND verdict = ?"
        rows.connection.execute(sql, [deletion["deleted_at"], Verdict.NOT_RUN.value])


@dataclass(frozen=True)
class ReplacedEvent(OutcomeEvent):
    """A trial that had a result ran again: its new result replaces the old one.

    Read from event logs of before schema 7; since then ``--force`` deletes trials before it runs them.
    """

    kind = "replaced"
    alone = True

    def fold(self, rows: PendingRows) -> None:
        """Keep the new result, and the numbers of both in ``events``; skip an outcome without a result."""
        stored = rows.get("trials", self.outcome.trial_id)
        if self.outcome.status not in FINAL or stored.get("status") not in FINAL:
            super().fold(rows)
            return
        converted("results", self.to_json()["results"], trial_id=self.outcome.trial_id)  # refused before anything goes
        before = _drop_outcome(rows.connection, self.outcome.trial_id)
        rows.put("trials", stored | {"status": None})
        super().fold(rows)
        detail = {
            "trial_id": self.outcome.trial_id,
            "status": self.outcome.status,
            "replaced": stored["status"],
            "environment_id": self.outcome.environment_id,
            "replaced_environment_id": stored.get("environment_id"),
            "results": self.to_json()["results"],
            "replaced_results": [dict(zip(("split", "metric", "value"), row, strict=True)) for row in before],
        }
        rows.log(self.run_id, self.at, self.kind, detail)


def _mark_deleted(
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


def _clear_mark(connection: DuckDBPyConnection, at: datetime) -> bool:
    """Restore the trials deleted ``at`` a moment; return True if all are back.

    A point of a search is restored with the last of its trials, a mechanism check unless its claim was judged since.
    """
    sql = f"""SELECT trial_id FROM trials_with_deleted WHERE deleted_at = ? AND trial_id NOT IN
        (SELECT trial_id FROM trials WHERE {IS_FINAL})"""
    restored: dict[str, datetime | list[str]] = {
        "trials": [trial for (trial,) in connection.execute(sql, [at]).fetchall()]
    }
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


def _clear(
    connection: DuckDBPyConnection, table: str, condition: str, parameters: dict[str, datetime | list[str]]
) -> None:
    rows = f"deleted_at = $at AND ({condition})"
    if key := ", ".join(KEYS.get(table, ())):  # a row that is not deleted keeps its key
        connection.execute(
            f"DELETE FROM {STORED[table]} WHERE {rows} AND ({key}) IN (SELECT ({key}) FROM {table})", parameters
        )
    connection.execute(f"UPDATE {STORED[table]} SET deleted_at = NULL WHERE {rows}", parameters)


def _drop_outcome(connection: DuckDBPyConnection, trial_id: str) -> list[tuple[str, str, float | None]]:
    """Remove a trial's numbers and artifacts; returns its final numbers: (split, metric, value)."""
    sql = "SELECT split, metric, value FROM results WHERE trial_id = ? ORDER BY ALL"
    numbers = connection.execute(sql, [trial_id]).fetchall()
    for table, condition in _OUTCOME.items():
        sql = f"DELETE FROM {STORED[table]} WHERE deleted_at IS NULL AND {condition}"
        connection.execute(sql, {"trials": [trial_id]})
    return numbers
