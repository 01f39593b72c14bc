"""The rows that a batch of events changes: loaded at once, changed in memory, each written once.

``events`` defines what an event changes; this module knows tables and keys alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from harness.store.log_lines import LineContent
from harness.store.rows import (
    KEYS,
    STORED,
    Columns,
    Key,
    Row,
    arrow_rows,
    convert,
    fetch_rows,
    key_of,
    moment,
    write_rows,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

Touched = Sequence[tuple[str, Columns]]
"""(table, row); a row may hold its key alone."""
REJECTABLE = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""Exceptions of a line that is JSON but makes no sense: it is set aside and never stops the others."""


class Touching(Protocol):
    """An event that names the rows to load before it is folded."""

    def touches(self) -> Touched: ...


class PendingRows:
    """Rows that events change: fold every event into them, then ``write`` inside a transaction.

    ``connection`` is for events that stand alone in their transaction (``Event.alone``).
    """

    def __init__(self, connection: DuckDBPyConnection, events: Iterable[Touching]) -> None:
        self.connection = connection
        self._rows: dict[str, dict[Key, Row]] = {table: {} for table in KEYS}
        self._changed: dict[str, set[Key]] = {table: set() for table in KEYS}
        self._dropped: dict[str, set[Key]] = {table: set() for table in KEYS}
        self._replaced: dict[str, dict[tuple[tuple[str, str | None], ...], list[Row]]] = {}
        self.series: list[pa.Table] = []  # to be added to ``metrics``
        self._log: list[Row] = []
        self._load(events)

    def _load(self, events: Iterable[Touching]) -> None:
        keys: dict[str, list[Key]] = {}
        for event in events:
            try:
                for table, row in event.touches():
                    keys.setdefault(table, []).append(key_of(table, convert(table, row)))
            except REJECTABLE:
                continue  # folding it meets the same error and sets the event aside
        for table, wanted in keys.items():
            self._rows[table] = fetch_rows(self.connection, table, wanted)

    def get(self, table: str, *key: Any) -> Row:
        """A row that the event touches, as it is now; empty where there is none."""
        return self._rows[table].get(key, {})

    def put(self, table: str, *rows: Row) -> None:
        """Set converted rows, each in place of the one of its key.

        Raises:
            ValueError: a part of a key is missing; no row was set.
        """
        for key, row in [(key_of(table, row), row) for row in rows]:
            self._rows[table][key] = row
            self._changed[table].add(key)
            self._dropped[table].discard(key)

    def merge(self, table: str, columns: Columns) -> None:
        """Set some columns of a row; raises as :func:`convert` and :meth:`put`."""
        row = convert(table, columns)
        self.put(table, self.get(table, *key_of(table, row)) | row)

    def drop(self, table: str, *key: Any) -> None:
        self._rows[table].pop(key, None)
        self._changed[table].discard(key)
        self._dropped[table].add(key)

    def replace(self, table: str, where: Mapping[str, str | None], rows: Sequence[Row]) -> None:
        """Replace all rows with these values, which leave one key column free."""
        self._replaced.setdefault(table, {})[tuple(where.items())] = list(rows)

    def log(self, run_id: str | None, at: str | None, kind: str, detail: Any) -> None:
        self._log.append(convert("events", {"run_id": run_id, "at": at, "kind": kind, "detail": detail}))

    def reject(self, line: LineContent | None, segment: str, end: int, reason: str) -> None:
        """Record a line that cannot be used; None where it is not even JSON."""
        content = line or {}
        try:
            at = moment(content.get("at"))
        except REJECTABLE:
            at = None
        detail = {"segment": segment, "end": end, "kind": content.get("kind"), "reason": reason}
        run_id = content.get("run_id") if isinstance(content.get("run_id"), str) else None
        kind = "unreadable" if line is None else "rejected"
        self._log.append(convert("events", {"run_id": run_id, "kind": kind, "detail": detail}) | {"at": at})

    def write(self) -> None:
        """Write all changed rows; the caller commits."""
        for table, changed in self._changed.items():
            self._write(table, [self._rows[table][key] for key in changed])
        for table, dropped in self._dropped.items():
            if dropped:
                columns = KEYS[table]
                at = " AND ".join(f'"{table}"."{column}" = gone.key[{i}]' for i, column in enumerate(columns, 1))
                sql = f"DELETE FROM {table} USING (SELECT unnest(CAST(? AS VARCHAR[][])) AS key) gone WHERE {at}"
                self.connection.execute(sql, [[list(map(str, key)) for key in sorted(dropped)]])
        for table, groups in self._replaced.items():
            for where, rows in groups.items():
                self._replace(table, dict(where), rows)
        self._write("events", self._log)
        if self.series:
            import pyarrow as pa

            write_rows(self.connection, "metrics", pa.concat_tables(self.series))

    def _replace(self, table: str, where: dict[str, str | None], rows: list[Row]) -> None:
        condition = " AND ".join(f'"{column}" IS NOT DISTINCT FROM ?' for column in where)
        values: list[str | list[Any] | None] = [*where.values()]
        if free := [column for column in KEYS.get(table, ()) if column not in where]:
            rows = list({key_of(table, row): row for row in rows}.values())
            condition += f' AND NOT "{free[0]}" = ANY(?)'
            values.append([row[free[0]] for row in rows])
        live = " AND deleted_at IS NULL" if table in STORED else ""
        self.connection.execute(f"DELETE FROM {STORED.get(table, table)} WHERE {condition}{live}", values)
        self._write(table, rows)

    def _write(self, table: str, rows: Sequence[Row]) -> None:
        if rows:
            write_rows(self.connection, table, arrow_rows(table, rows))
