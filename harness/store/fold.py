"""Fold a batch of events into rows: what each event means for the tables, and nothing of the disk.

A :class:`Batch` loads the rows that its events touch, applies the events one after another in memory, and
writes every changed row once. The rules live here: the first finished outcome of a trial stays, names are
those of the first run, claims replace their suite's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from harness.store.events import VERSION, Event
from harness.store.rows import (
    Key,
    Row,
    arrow_rows,
    arrow_series,
    convert,
    fetch_rows,
    key_of,
    moment,
    write_rows,
)
from harness.store.tables import FINAL, KEYS, UNFINISHED_OUTCOMES

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

REJECTABLE = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What a line that is JSON but makes no sense raises; it is set aside, it never stops the others."""

_MERGED = ("runs", "trials", "sweeps", "sweep_points")
"""Tables whose events may bring some columns only: their rows are loaded before they are changed."""

_OUTCOME = (
    "trial_id",
    "status",
    "attempts",
    "started_at",
    "wall_seconds",
    "cpu_seconds",
    "peak_memory_mb",
    "device",
    "environment_id",
)
"""Columns of ``trials`` that an outcome sets; the names of the trial are not its to change."""


class Batch:
    """Rows that a batch of events changes. ``add`` every event, then ``write`` inside a transaction."""

    def __init__(self, connection: DuckDBPyConnection, events: Iterable[Event]) -> None:
        self._connection = connection
        self._rows: dict[str, dict[Key, Row]] = {table: {} for table in KEYS}
        self._changed: dict[str, set[Key]] = {table: set() for table in KEYS}
        self._series: list[pa.Table] = []
        self._log: list[Row] = []
        self._gates: dict[tuple[Any, Any], list[Row]] = {}
        self._claims: dict[str, set[Key]] = {}
        self._no_progress: set[str] = set()
        self._handlers: dict[str, Callable[[Event], None]] = {
            "session": lambda event: None,
            "run": self._run,
            "environment": self._environment,
            "planned": self._planned,
            "started": self._started,
            "heartbeat": self._heartbeat,
            "outcome": self._outcome,
            "event": self._event,
            "claims": self._claims_of_suite,
            "verdicts": self._verdicts,
            "sweep": lambda event: self._merge("sweeps", event["row"]),
            "sweep_point": lambda event: self._merge("sweep_points", event["row"]),
            "abandoned": self._abandoned,
        }
        self._load(events)

    def _load(self, events: Iterable[Event]) -> None:
        keys: dict[str, list[Key]] = {table: [] for table in _MERGED}
        for event in events:
            try:
                for table, row in _touched(event):
                    keys[table].append(key_of(table, convert(table, row)))
            except REJECTABLE:
                continue  # `add` meets the same error and sets the event aside
        for table, wanted in keys.items():
            self._rows[table] = fetch_rows(self._connection, table, wanted)

    def add(self, event: Event) -> None:
        """Apply one event.

        Raises:
            KeyError, TypeError, ValueError, AttributeError, OverflowError: the event makes no sense; nothing
                of it was applied.
        """
        if event.get("v") != VERSION:
            raise ValueError(f"version {event.get('v')!r} of the journal is not known here")
        handler = self._handlers.get(event["kind"])
        if handler is None:
            raise ValueError(f"no event of kind {event['kind']!r}")
        handler(event)

    def reject(self, event: Event | None, segment: str, end: int, reason: str) -> None:
        """Record a line that cannot be used; ``event`` is None where it is not even JSON."""
        run_id, at, kind = (event.get("run_id"), event.get("at"), event["kind"]) if event else (None, None, None)
        try:
            when = moment(at)
        except REJECTABLE:
            when = None
        detail = {"segment": segment, "end": end, "kind": kind, "reason": reason}
        run = run_id if isinstance(run_id, str) else None
        self._log.append(
            convert("events", {"run_id": run, "kind": "unreadable" if event is None else "rejected", "detail": detail})
            | {"at": when}
        )

    def mark(self, segment: str, end: int) -> None:
        """Remember how far a segment is ingested."""
        self._put("ingested", {"segment": segment, "offset": end})

    def write(self) -> None:
        """Write all changed rows; the caller commits."""
        for (claim_id, scale), _ in self._gates.items():
            self._connection.execute("DELETE FROM gates WHERE claim_id = ? AND scale = ?", [claim_id, scale])
        self._write("gates", [row for rows in self._gates.values() for row in rows])
        for table, changed in self._changed.items():
            self._write(table, [self._rows[table][key] for key in changed])
        self._write("events", self._log)
        if self._series:
            import pyarrow as pa

            write_rows(self._connection, "metrics", pa.concat_tables(self._series))
        for suite, kept in self._claims.items():
            ids = [claim_id for claim_id, _ in kept]
            self._connection.execute("DELETE FROM claims WHERE suite = ? AND NOT claim_id = ANY(?)", [suite, ids])
        if self._no_progress:
            self._connection.execute("DELETE FROM progress WHERE trial_id = ANY(?)", [sorted(self._no_progress)])

    def _write(self, table: str, rows: list[Row]) -> None:
        if rows:
            write_rows(self._connection, table, arrow_rows(table, rows))

    def _put(self, table: str, row: Row) -> None:
        key = key_of(table, row)
        self._rows[table][key] = row
        self._changed[table].add(key)

    def _merge(self, table: str, given: Any) -> None:
        row = convert(table, given)
        self._put(table, self._rows[table].get(key_of(table, row), {}) | row)

    def _say(self, event: Event, kind: str, detail: Any) -> None:
        row = {"run_id": event.get("run_id"), "at": event.get("at"), "kind": kind, "detail": detail}
        self._log.append(convert("events", row))

    # one method a kind of event

    def _run(self, event: Event) -> None:
        self._merge("runs", event["run"])

    def _environment(self, event: Event) -> None:
        self._put("environments", convert("environments", event))

    def _planned(self, event: Event) -> None:
        trials = [convert("trials", trial) for trial in event["trials"]]
        links = [convert("run_trials", {"run_id": event["run_id"], **link}) for link in event.get("links") or []]
        for table, rows in (("trials", trials), ("run_trials", links)):
            for row in rows:
                key_of(table, row)
        for trial in trials:
            self._plan(trial)
        for link in links:
            self._put("run_trials", link)

    def _plan(self, trial: Row) -> None:
        known = self._rows["trials"].get(key_of("trials", trial))
        if known is None:
            self._put("trials", {"attempts": 0} | trial | {"status": "queued"})
            return
        blank = {column: value for column, value in trial.items() if known.get(column) is None}
        if known.get("status") not in FINAL:
            self._put("trials", known | blank | {"status": "queued", "error": None})
        elif blank:
            self._put("trials", known | blank)

    def _started(self, event: Event) -> None:
        trial_id = event["trial_id"]
        known = self._rows["trials"].get((trial_id,), {})
        if known.get("status") in FINAL:
            return
        given = {"trial_id": trial_id, "attempts": event.get("attempt", 1), "device": event.get("device")}
        given |= {"started_at": event.get("started_at") or event.get("at")}
        self._put("trials", known | convert("trials", given) | {"status": "running"})

    def _heartbeat(self, event: Event) -> None:
        if self._rows["trials"].get((event["trial_id"],), {}).get("status") not in FINAL:
            self._put("progress", convert("progress", event))
            self._no_progress.discard(event["trial_id"])

    def _outcome(self, event: Event) -> None:
        trial_id, status = event["trial_id"], event["status"]
        if status not in FINAL | UNFINISHED_OUTCOMES:
            raise ValueError(f"{status!r} is not the status of an outcome")
        known = self._rows["trials"].get((trial_id,), {})
        if known.get("status") in FINAL:
            # its numbers are kept aside, so that two outcomes of one trial can be compared
            detail = {"trial_id": trial_id, "status": status, "kept": known["status"],
                      "environment_id": event.get("environment_id"), "results": event.get("results") or []}  # fmt: skip
            self._say(event, "duplicate", detail)
            return
        given = {column: event[column] for column in _OUTCOME if event.get(column) is not None}
        given["error"] = event.get("error")
        row = convert("trials", given)
        if "attempts" not in row and "attempt" in event:
            row["attempts"] = int(event["attempt"])
        products: dict[str, list[Row]] = {"results": [], "artifacts": []}
        series: list[pa.Table] = []
        if status in FINAL:
            for table, rows in products.items():
                rows.extend(convert(table, {"trial_id": trial_id, **item}) for item in event.get(table) or [])
                for item in rows:
                    key_of(table, item)
            series = [arrow_series(trial_id, item) for item in event.get("series") or []]
        self._put("trials", known | row)
        for table, rows in products.items():
            for item in rows:
                self._put(table, item)
        self._series.extend(series)
        self._no_progress.add(trial_id)
        if self._rows["progress"].pop((trial_id,), None):
            self._changed["progress"].discard((trial_id,))

    def _event(self, event: Event) -> None:
        self._say(event, str(event["event_kind"]), event.get("detail"))

    def _claims_of_suite(self, event: Event) -> None:
        suite = event["suite"]
        rows = [convert("claims", {**claim, "suite": suite}) for claim in event["claims"]]
        keys = {key_of("claims", row) for row in rows}
        for key in self._changed["claims"].copy():
            if key[1] == suite and key not in keys:
                self._changed["claims"].discard(key)
        for row in rows:
            self._put("claims", row)
        self._claims[suite] = keys

    def _verdicts(self, event: Event) -> None:
        around = {"scale": event.get("scale"), "judged_at": event.get("judged_at") or event["at"]}
        verdicts = [convert("verdicts", _within(around, row)) for row in event["verdicts"]]
        sides = [convert("verdict_trials", _within(around, row)) for row in event.get("trials") or []]
        gates = [convert("gates", _within(around, row)) for row in event.get("gates") or []]
        for table, rows in (("verdicts", verdicts), ("verdict_trials", sides)):
            for row in rows:
                key_of(table, row)
        for verdict in verdicts:
            self._put("verdicts", verdict)
            self._gates[(verdict["claim_id"], verdict["scale"])] = []
        for side in sides:
            self._put("verdict_trials", side)
        for gate in gates:
            self._gates.setdefault((gate["claim_id"], gate.get("scale")), []).append(gate)

    def _abandoned(self, event: Event) -> None:
        """A run's owner died: what it left running runs no more, unless another living run has it too."""
        run = self._rows["runs"].get((event["run_id"],))
        if run is not None and run.get("finished_at") is None and run.get("status") in (None, "running"):
            self._put("runs", run | {"status": "interrupted", "finished_at": moment(event.get("at"))})
        for trial_id in event.get("trials") or []:
            known = self._rows["trials"].get((trial_id,), {})
            if known.get("status") in ("queued", "running"):
                error = f"run {event['run_id']} ended before this trial did"
                self._put("trials", known | {"status": "cancelled", "error": error})
                self._no_progress.add(trial_id)


def _within(around: Row, row: Any) -> Row:
    """``row`` with the parts of its key that the event states once for all rows."""
    return around | {column: value for column, value in row.items() if value is not None}


def _touched(event: Event) -> list[tuple[str, Any]]:
    """Rows that must be loaded before the event is applied."""
    kind = event["kind"]
    if kind == "run":
        return [("runs", event["run"])]
    if kind == "planned":
        return [("trials", trial) for trial in event["trials"]]
    if kind in ("started", "heartbeat", "outcome"):
        return [("trials", {"trial_id": event["trial_id"]})]
    if kind in ("sweep", "sweep_point"):
        return [(f"{kind}s", event["row"])]
    if kind == "abandoned":
        trials = [("trials", {"trial_id": trial_id}) for trial_id in event.get("trials") or []]
        return [("runs", {"run_id": event["run_id"]}), *trials]
    return []
