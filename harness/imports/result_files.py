"""Tables of external results: files, a table of a DuckDB or SQLite file, a data frame."""

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from harness.base.tables import FORMS, DataTable, check_rows, form_of, from_records, read_file
from harness.base.values import name_of, number_of
from harness.data.checksums import checksum
from harness.errors import HarnessError, choices, first_line

MOST_ROWS = 2_000_000
MOST_COLUMNS = 10_000
DATABASES = (".duckdb", ".ddb", ".sqlite", ".sqlite3", ".db")
DUCKDB_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main' ORDER BY ALL"
SQLITE_TABLES = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
SUFFIXES = (*FORMS, *DATABASES)
MISSING = ("", "na", "n/a", "nan", "none", "null", "-", "diverged", "failed")
"""Texts of a score that mean that there is none."""
CLOSED = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "memory_limit": "2GB",
}
"""A view of an external database reads no other file."""


def score_of(cell: Any) -> float | None:
    """A value as a score: NaN where it is missing, None where it is not a number."""
    return number_of(cell, MISSING)


def number_in(cell: Any, place: str, column: str) -> float:
    """A value as a score; NaN where it is missing.

    Raises:
        HarnessError: it is not a number.
    """
    number = score_of(cell)
    if number is None:
        hint = "; a decimal comma? write a point" if re.fullmatch(r"-?\d+,\d+ ?%?", str(cell).strip()) else ""
        raise HarnessError(f"{place}: '{cell}' in the column '{column}' is not a number{hint}")
    return number


def is_same(cell: Any, wanted: Any) -> bool:
    """True where two values are equal as text or as numbers."""
    if name_of(cell) == name_of(wanted) or (isinstance(wanted, bool) and name_of(cell).lower() == str(wanted).lower()):
        return True
    value = score_of(cell)
    return value is not None and value == score_of(wanted)


def column_called(columns: Iterable[str], names: Iterable[str]) -> str | None:
    """The first of the names that is a column's, ignoring case."""
    lowered = {column.lower(): column for column in reversed(list(columns))}
    return next((lowered[name] for name in names if name in lowered), None)


def read_table(path: Path, table: str | None = None) -> DataTable:
    """Read a table from a file.

    Args:
        table: its name, in a database of several.

    Raises:
        HarnessError: the file is missing, of an unsupported kind, or damaged.
    """
    is_database = path.suffix.lower() in DATABASES
    if not path.is_file():
        raise HarnessError(f"no file {path}")
    if not is_database and form_of(path) is None:
        raise HarnessError(f"{path}: unsupported file extension; {choices(SUFFIXES)} (.gz of text too)")
    if not is_database and table is not None:
        raise HarnessError(f"--table '{table}': {path} is one table")
    content = _read_database(path, table) if is_database else read_file(path, most_rows=MOST_ROWS)
    if not _within_limits(content).rows:
        raise HarnessError(f"{path}: the table has no rows")
    return content


def _within_limits(table: DataTable) -> DataTable:
    check_rows(table.name, len(table.rows), MOST_ROWS)
    if len(table.columns) > MOST_COLUMNS:
        raise HarnessError(f"{table.name}: {len(table.columns):,} columns; a table has at most {MOST_COLUMNS:,}")
    return table


def table_of(data: Any, name: str = "the table") -> DataTable:
    """A table from a file, a data frame, columns or rows.

    Args:
        data: a data frame of pandas, Polars or Arrow; a mapping of columns; a list of mappings; or a path.

    Raises:
        HarnessError: it is none of these.
    """
    if isinstance(data, DataTable):
        return data
    if isinstance(data, str | Path):
        return read_table(Path(data))
    if hasattr(data, "to_pylist"):
        data = data.to_pylist()
    elif hasattr(data, "to_dicts"):
        data = data.to_dicts()
    elif hasattr(data, "to_dict") and hasattr(data, "columns"):
        data = data.to_dict(orient="records")
    elif isinstance(data, Mapping):
        columns = {str(key): list(values) for key, values in data.items()}
        if len({len(values) for values in columns.values()}) > 1:
            raise HarnessError(f"{name}: the columns differ in length")
        data = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if not isinstance(data, list) or not all(isinstance(row, Mapping) for row in data):
        raise HarnessError(f"{name}: a data frame, columns by name, a list of rows by name or a file is expected")
    if not data:
        raise HarnessError(f"{name} has no rows")
    return _within_limits(from_records(name, data, range(1, len(data) + 1)))


def _read_database(path: Path, table: str | None) -> DataTable:
    import duckdb

    with path.open("rb") as file:
        is_sqlite = file.read(15) == b"SQLite format 3"
    kind, listed = ("SQLite", SQLITE_TABLES) if is_sqlite else ("DuckDB", DUCKDB_TABLES)
    connection: sqlite3.Connection | duckdb.DuckDBPyConnection
    try:
        if is_sqlite:
            connection = sqlite3.connect(f"file:{path.resolve().as_posix()}?mode=ro", uri=True)
        else:
            connection = duckdb.connect(str(path), read_only=True, config=CLOSED)
        with closing(connection):
            chosen = _chosen(path, table, [name for (name,) in connection.execute(listed).fetchall()])
            quoted = chosen.replace('"', '""')
            answer = connection.execute(f'SELECT * FROM "{quoted}" LIMIT {MOST_ROWS + 1}')
            columns = tuple(str(column[0]) for column in answer.description or ())
            rows = answer.fetchall()
    except (duckdb.Error, sqlite3.Error) as error:
        raise HarnessError(f"{path}: cannot be read as a {kind} file: {first_line(error)}") from None
    return DataTable(f"{path}[{chosen}]", columns, rows, range(1, len(rows) + 1), checksum(path))


def _chosen(path: Path, table: str | None, names: Sequence[str]) -> str:
    if table is None and len(names) == 1:
        return names[0]
    if table is None:
        raise HarnessError(f"{path} has {len(names)} tables; name one with --table: {', '.join(names) or 'none'}")
    if table not in names:
        raise HarnessError(f"{path} has no table '{table}'; {choices(list(names), table)}")
    return table
