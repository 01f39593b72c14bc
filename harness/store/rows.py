"""Public tables and columns, and their rows between Python, Arrow and DuckDB.

Tables are read from the migrations, which are what makes them; a test holds them equal to what DuckDB makes of these. A
batch of events is written table by table through Arrow, a hundred times faster than one statement a row.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from harness.store.log_lines import encode
from harness.trial.result import MetricSeries

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_TABLE = re.compile(r"CREATE TABLE (\w+) \((.*?)\n\);", re.DOTALL)
_COLUMN = re.compile(r'^    "?(\w+)"? ((?:VARCHAR|BIGINT|DOUBLE|TIMESTAMP|BOOLEAN|JSON)(?:\[\])?)', re.MULTILINE)
_KEY = re.compile(r"^    PRIMARY KEY \((.*)\)$", re.MULTILINE)
_DROPPED = re.compile(r"^DROP TABLE (\w+);", re.MULTILINE)
_MARKED = re.compile(r"^CREATE VIEW (\w+) AS SELECT \* EXCLUDE \(deleted_at\) FROM (\w+)", re.MULTILINE)
_ADDED = re.compile(r'^ALTER TABLE (\w+) ADD COLUMN "?(\w+)"? (\w+(?:\[\])?)', re.MULTILINE)


@dataclass(frozen=True)
class Migration:
    """One numbered step of the schema."""

    number: int
    name: str
    sql: str


@cache
def migrations() -> tuple[Migration, ...]:
    """The steps that make the schema, in order; ``0002_more.sql`` is number 2, called ``more``."""
    entries = files("harness.store").joinpath("migrations").iterdir()
    named = ((re.fullmatch(r"(\d{4})_(\w+)\.sql", entry.name), entry) for entry in entries)
    steps = (Migration(int(name[1]), name[2], entry.read_text(encoding="utf-8")) for name, entry in named if name)
    return tuple(sorted(steps, key=lambda step: step.number))


def _declared() -> tuple[dict[str, dict[str, str]], dict[str, tuple[str, ...]], dict[str, str]]:
    """Columns with their SQL types, primary keys, and stored tables of views."""
    columns: dict[str, dict[str, str]] = {}
    keys: dict[str, tuple[str, ...]] = {}
    stored: dict[str, str] = {}
    for step in migrations():
        for table, body in _TABLE.findall(step.sql):
            columns[table] = dict(_COLUMN.findall(body))
            if key := _KEY.search(body):
                keys[table] = tuple(name.strip(' "') for name in key[1].split(","))
        for table, column, kind in _ADDED.findall(step.sql):
            columns[table][column] = kind
        stored |= dict(_MARKED.findall(step.sql))
        for table in _DROPPED.findall(step.sql):
            if table not in stored:
                columns.pop(table, None)
                keys.pop(table, None)
    return columns, keys, stored


TABLES, KEYS, STORED = _declared()
"""Columns and primary keys by public name, and the tables that hold deleted rows too, where the name is a view.

``metrics`` has no key on purpose: one costs ten times the insert time.
"""

Row = dict[str, Any]
"""A row of a table by column, converted to what the database holds."""
Columns = Mapping[str, Any]
"""Columns of a row as an event brings them, or some of a row's."""
Key = tuple[Any, ...]


def quoted(columns: Iterable[str]) -> str:
    """Column names for SQL; ``at`` and ``offset`` are words of the language."""
    return ", ".join(f'"{column}"' for column in columns)


def moment(value: Any) -> datetime | None:
    """A naive UTC datetime from ISO text, epoch seconds, or a datetime."""
    if value is None:
        return None
    if isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, UTC).replace(tzinfo=None)
    parsed = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return parsed if parsed.tzinfo is None else parsed.astimezone(UTC).replace(tzinfo=None)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _json(value: Any) -> str:
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return json.dumps(value)
        return value
    return encode(value).decode().rstrip()


def _whole(value: Any) -> int:
    number = int(value)
    if number != value and number != float(value):
        raise ValueError(f"{value!r} is not a whole number")
    return number


def _truth(value: Any) -> bool:
    if isinstance(value, (bool, int)):
        return bool(value)
    raise TypeError(f"{value!r} is not true or false")


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [_text(item) for item in value]


_TYPES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "VARCHAR": (_text, "string"),
    "JSON": (_json, "string"),
    "BIGINT": (_whole, "int64"),
    "DOUBLE": (float, "double"),  # takes the event log's "NaN" and "Infinity" too
    "TIMESTAMP": (moment, "timestamp[us]"),
    "BOOLEAN": (_truth, "bool"),
    "VARCHAR[]": (_texts, "string"),  # of its items
}
"""How a column's values are converted, and their type in Arrow, by SQL type."""


def convert(table: str, row: Columns) -> Row:
    """The columns of ``table`` found in ``row``, as the database holds them; other keys are dropped.

    Raises:
        TypeError, ValueError, OverflowError: a value that its column cannot hold.
    """
    types = TABLES[table]
    return {
        column: None if value is None else _TYPES[types[column]][0](value)
        for column, value in row.items()
        if column in types
    }


def key_of(table: str, row: Columns) -> Key:
    """The primary key of a converted row.

    Raises:
        ValueError: a part of the key is missing.
    """
    key = tuple(row.get(column) for column in KEYS[table])
    if any(part is None for part in key):
        raise ValueError(f"a row of {table} lacks a part of its key ({', '.join(KEYS[table])})")
    return key


def converted(table: str, rows: Iterable[Columns], **around: Any) -> list[Row]:
    """Converted rows with columns that their event states once; a row's own value wins.

    Raises:
        TypeError, ValueError, OverflowError: a value that its column cannot hold, or a part of the key is missing.
    """
    stated = [{name: item for name, item in row.items() if item is not None} for row in rows]
    complete = [convert(table, around | row) for row in stated]
    for row in complete if table in KEYS else ():
        key_of(table, row)
    return complete


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type of a column's SQL type."""
    import pyarrow as pa

    item = pa.type_for_alias(_TYPES[name][1])
    return pa.list_(item) if name.endswith("[]") else item


def arrow_rows(table: str, rows: Sequence[Columns]) -> pa.Table:
    """Converted rows as an Arrow table with all columns of ``table``; what a row lacks is null."""
    import pyarrow as pa

    columns = TABLES[table].items()
    return pa.table({name: pa.array([row.get(name) for row in rows], type=arrow_type(kind)) for name, kind in columns})


def arrow_series(trial_id: str, series: MetricSeries) -> pa.Table:
    """One series of an outcome as rows of ``metrics``.

    Raises:
        TypeError, ValueError: a value that is not a number, or columns of unequal length.
    """
    import pyarrow as pa

    count = len(series.value)
    columns: dict[str, pa.Array] = {}
    for column, kind in TABLES["metrics"].items():
        if column in ("trial_id", "split", "name"):
            text = trial_id if column == "trial_id" else getattr(series, column)
            columns[column] = pa.repeat(pa.scalar(text, pa.string()), count)
        else:
            columns[column] = _numbers(getattr(series, column), kind, count)
    return pa.table(columns)


def _numbers(values: Sequence[Any], kind: str, count: int) -> pa.Array:
    import pyarrow as pa

    type_ = arrow_type(kind)
    if not values:
        return pa.nulls(count, type_)
    if len(values) != count:
        raise ValueError(f"a series has {count} values and {len(values)} entries beside them")
    try:
        return pa.array(values, type=type_)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # strings for NaN and infinities, or whole numbers written as 3.0
        return pa.array([None if item is None else _TYPES[kind][0](item) for item in values], type=type_)


def fetch_rows(connection: DuckDBPyConnection, table: str, keys: Iterable[Key]) -> dict[Key, Row]:
    """The rows of ``table`` that have one of these keys."""
    wanted = list(dict.fromkeys(keys))
    if not wanted:
        return {}
    names = KEYS[table]
    batch = arrow_rows(table, [dict(zip(names, key, strict=True)) for key in wanted])
    columns = list(TABLES[table])
    connection.register("wanted_keys", batch)
    try:
        sql = f"SELECT {quoted(columns)} FROM {table} SEMI JOIN wanted_keys USING ({quoted(names)})"
        rows = connection.execute(sql).fetchall()
    finally:
        connection.unregister("wanted_keys")
    loaded = [dict(zip(columns, row, strict=True)) for row in rows]
    return {key_of(table, row): row for row in loaded}


def write_rows(connection: DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """Insert rows; where the table has a key, a row of the same key is replaced whole."""
    import duckdb

    if rows.num_rows == 0:
        return
    target, columns = STORED.get(table, table), list(TABLES[table])
    sql = f"INSERT INTO {target} ({quoted(columns)}) SELECT {quoted(columns)} FROM batch_rows"
    if keys := KEYS.get(table):
        same = " AND ".join(f'{target}."{key}" = batch_rows."{key}"' for key in keys)
        if table in STORED:
            same += " AND deleted_at IS NULL"
        sets = ", ".join(f'"{column}" = batch_rows."{column}"' for column in columns if column not in keys)
        sql = f"MERGE INTO {target} USING batch_rows ON {same}" + (
            f" WHEN MATCHED THEN UPDATE SET {sets}" if sets else ""
        )
        values = ", ".join(f'batch_rows."{column}"' for column in columns)
        sql += f" WHEN NOT MATCHED THEN INSERT ({quoted(columns)}) VALUES ({values})"
    connection.register("batch_rows", rows)
    try:
        connection.execute(sql)
    finally:
        # In a transaction that was refused nothing can be done, and the refusal is what has to be reported.
        with contextlib.suppress(duckdb.TransactionException):
            connection.unregister("batch_rows")
