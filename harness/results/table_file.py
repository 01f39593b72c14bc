"""Tables of results from elsewhere: CSV, TSV, JSON lines, Parquet, a table of a DuckDB or SQLite file, a data frame.

Text files are read by the standard library, so that a message can name the line.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import math
import re
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, choices

MOST_ROWS = 2_000_000
MOST_COLUMNS = 10_000
FORMS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".duckdb": "duckdb",
    ".ddb": "duckdb",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".db": "sqlite",
}
"""How a file is read, by the end of its name."""
ALONE = {"autoload_known_extensions": "false", "autoinstall_known_extensions": "false", "memory_limit": "2GB"}
CLOSED = {"enable_external_access": "false", **ALONE}
"""A view of somebody's database reads no other file."""


@dataclass(frozen=True, slots=True)
class ResultTable:
    """Rows of a table, as text and numbers.

    Attributes:
        name: of the file, as it was given.
        columns: their names, each once.
        lines: where each row stands: lines of a text file, else numbers of rows, from 1.
        sha256: of the file; '' where there is none.
    """

    name: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    lines: Sequence[int]
    sha256: str = ""

    def place(self, row: int) -> str:
        """``results.csv:17``."""
        return f"{self.name}:{self.lines[row]}"

    def column(self, name: str) -> list[Any]:
        """The values of a column."""
        at = self.columns.index(name)
        return [row[at] for row in self.rows]


def read_table(path: Path, table: str | None = None) -> ResultTable:
    """Read a table from a file.

    Args:
        table: its name, in a database of several.

    Raises:
        HarnessError: there is no such file, it is of no known kind, or it is not what its name says.
    """
    name = path.name.removesuffix(".gz")
    form = FORMS.get(Path(name).suffix.lower())
    if not path.is_file():
        raise HarnessError(f"no file {path}")
    if form is None:
        raise HarnessError(f"{path}: the end of its name says no kind of table; {choices(FORMS)} (also .gz of text)")
    readers: Mapping[str, Callable[[Path], ResultTable]] = {
        "csv": _read_csv,
        "jsonl": _read_json,
        "parquet": _read_parquet,
        "duckdb": lambda file: _read_duckdb(file, table),
        "sqlite": lambda file: _read_sqlite(file, table),
    }
    if table is not None and form not in ("duckdb", "sqlite"):
        raise HarnessError(f"--table '{table}': {path} is one table")
    found = readers[form](path)
    if not found.rows:
        raise HarnessError(f"{path}: the table has no rows")
    if len(found.rows) > MOST_ROWS:
        raise HarnessError(f"{path}: {len(found.rows):,} rows; at most {MOST_ROWS:,} are read: one row a final result")
    return found


def table_of(given: Any, name: str = "the table") -> ResultTable:
    """A table from what Python has: a data frame (pandas, Polars, Arrow), columns by name, or a list of rows by name.

    Raises:
        HarnessError: it is none of these.
    """
    if isinstance(given, ResultTable):
        return given
    if isinstance(given, str | Path):
        return read_table(Path(given))
    if hasattr(given, "to_pylist"):
        given = given.to_pylist()
    elif hasattr(given, "to_dicts"):
        given = given.to_dicts()
    elif hasattr(given, "to_dict") and hasattr(given, "columns"):
        given = given.to_dict(orient="records")
    elif isinstance(given, Mapping):
        columns = {str(key): list(values) for key, values in given.items()}
        if len({len(values) for values in columns.values()}) > 1:
            raise HarnessError(f"{name}: the columns differ in length")
        given = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if not isinstance(given, list) or not all(isinstance(row, Mapping) for row in given):
        raise HarnessError(f"{name}: a data frame, columns by name, a list of rows by name or a file is expected")
    if not given:
        raise HarnessError(f"{name} has no rows")
    return _of_records(name, given, range(1, len(given) + 1))


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _text(path: Path) -> tuple[str, str]:
    """A text file's content and checksum; gzip is undone."""
    content = path.read_bytes()
    try:
        plain = _unpacked(path, content) if path.suffix.lower() == ".gz" else content
        text = plain.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise HarnessError(f"{path}: not a gzip file: {error}") from None
    except UnicodeDecodeError as error:
        line = plain[: error.start].count(b"\n") + 1
        raise HarnessError(f"{path}:{line}: not UTF-8 text ({error.reason}); save the table as UTF-8") from None
    return text, _checksum(content)


def _unpacked(path: Path, content: bytes) -> bytes:
    """What a gzip file holds; one that unpacks to what no table would is refused before it fills the memory."""
    room = (64 << 20) + 100 * len(content)
    with gzip.open(io.BytesIO(content)) as file:
        plain = file.read(room + 1)
    if len(plain) > room:
        raise HarnessError(f"{path} unpacks to more than 100 times its {len(content)} bytes; unpack it yourself")
    return plain


def _read_csv(path: Path) -> ResultTable:
    text, sha256 = _text(path)
    head = text.split("\n", 1)[0]
    delimiter = max(",\t;", key=head.count)  # the first of equals: a single column has none
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    columns: tuple[str, ...] = ()
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if not row or row == [""]:
                continue
            if not columns:
                columns = _columns(f"{path}:{reader.line_num}", [cell.strip() for cell in row])
                continue
            if len(row) != len(columns):
                raise HarnessError(
                    f"{path}:{reader.line_num}: {len(row)} cells, and the head line has {len(columns)}: "
                    f"{', '.join(columns)}"
                )
            rows.append([cell.strip() for cell in row])
            lines.append(reader.line_num)
    except csv.Error as error:
        raise HarnessError(f"{path}:{reader.line_num}: not a table: {error}") from None
    if not columns:
        raise HarnessError(f"{path}: the file is empty")
    return ResultTable(str(path), columns, rows, lines, sha256)


def _columns(place: str, names: Sequence[str]) -> tuple[str, ...]:
    if len(names) > MOST_COLUMNS:
        raise HarnessError(f"{place}: {len(names):,} columns; a table has at most {MOST_COLUMNS:,}")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise HarnessError(f"{place}: the column '{twice[0]}' stands there twice")
    return tuple(names)


def _read_json(path: Path) -> ResultTable:
    text, sha256 = _text(path)
    records: list[Mapping[str, Any]] = []
    lines: list[int] = []
    if text.lstrip().startswith("["):
        try:
            listed = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise HarnessError(f"{path}: not JSON: {error}") from None
        numbered = list(enumerate(listed, 1))
    else:
        numbered = []
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    numbered.append((number, json.loads(line)))
                except (ValueError, RecursionError) as error:
                    raise HarnessError(f"{path}:{number}: not JSON: {error}") from None
    for number, record in numbered:
        if not isinstance(record, Mapping):
            raise HarnessError(f"{path}:{number}: an object with a value for each column is expected")
        records.append(record)
        lines.append(number)
    table = _of_records(str(path), records, lines)
    return ResultTable(table.name, table.columns, table.rows, table.lines, sha256)


def _of_records(name: str, records: Sequence[Mapping[str, Any]], lines: Sequence[int]) -> ResultTable:
    try:
        flat = [_flat(record) for record in records]
    except RecursionError:
        raise HarnessError(f"{name}: objects within objects, too deep for a table") from None
    columns = tuple(dict.fromkeys(key for record in flat for key in record))
    if len(columns) > MOST_COLUMNS:
        raise HarnessError(f"{name}: {len(columns):,} columns; a table has at most {MOST_COLUMNS:,}")
    return ResultTable(name, columns, [[record.get(key) for key in columns] for record in flat], lines)


def _flat(record: Mapping[Any, Any], before: str = "") -> dict[str, Any]:
    """Objects within a row as columns of their own: ``config.lr``."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{key}.")
        else:
            flat[f"{before}{key}"] = value
    return flat


def _read_parquet(path: Path) -> ResultTable:
    import duckdb

    with closing(duckdb.connect(config=ALONE)) as connection:
        try:
            answer = connection.execute(f"SELECT * FROM read_parquet(?) LIMIT {MOST_ROWS + 1}", [_literal(path)])
            columns = tuple(str(column[0]) for column in answer.description or ())
            rows = answer.fetchall()
        except duckdb.Error as error:
            raise HarnessError(f"{path}: not a Parquet file: {_first_line(error)}") from None
    return ResultTable(str(path), columns, rows, range(1, len(rows) + 1), _checksum(path.read_bytes()))


def _read_duckdb(path: Path, table: str | None) -> ResultTable:
    import duckdb

    try:
        with closing(duckdb.connect(str(path), read_only=True, config=CLOSED)) as connection:
            listed = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main' ORDER BY ALL"
            chosen = _chosen(path, table, [name for (name,) in connection.execute(listed).fetchall()])
            answer = connection.execute(f"SELECT * FROM {_quoted(chosen)} LIMIT {MOST_ROWS + 1}")
            columns = tuple(str(column[0]) for column in answer.description or ())
            rows = answer.fetchall()
    except duckdb.Error as error:
        raise HarnessError(f"{path}: cannot be read as a DuckDB file: {_first_line(error)}") from None
    return ResultTable(f"{path}[{chosen}]", columns, rows, range(1, len(rows) + 1), _checksum(path.read_bytes()))


def _read_sqlite(path: Path, table: str | None) -> ResultTable:
    if path.read_bytes()[:15] != b"SQLite format 3":
        return _read_duckdb(path, table)  # both are called .db
    try:
        with closing(sqlite3.connect(f"file:{path.resolve().as_posix()}?mode=ro", uri=True)) as connection:
            listed = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
            chosen = _chosen(path, table, [name for (name,) in connection.execute(listed).fetchall()])
            answer = connection.execute(f"SELECT * FROM {_quoted(chosen)} LIMIT {MOST_ROWS + 1}")
            columns = tuple(str(column[0]) for column in answer.description)
            rows = answer.fetchall()
    except sqlite3.Error as error:
        raise HarnessError(f"{path}: cannot be read as an SQLite file: {error}") from None
    return ResultTable(f"{path}[{chosen}]", columns, rows, range(1, len(rows) + 1), _checksum(path.read_bytes()))


def _chosen(path: Path, table: str | None, names: Sequence[str]) -> str:
    if table is None and len(names) == 1:
        return names[0]
    if table is None:
        raise HarnessError(f"{path} has {len(names)} tables; name one with --table: {', '.join(names) or 'none'}")
    if table not in names:
        raise HarnessError(f"{path} has no table '{table}'; {choices(list(names), table)}")
    return table


def _literal(path: Path) -> str:
    """A path in which no sign stands for other files."""
    return re.sub(r"([*?\[\]])", r"[\1]", str(path))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def as_number(value: Any) -> float | None:
    """A cell as a number; NaN where there is none (empty, NA, None); None for other text."""
    if value is None:
        return math.nan
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip().lower().replace("−", "-")
        if text in ("", "na", "n/a", "nan", "none", "null", "-", "diverged", "failed"):
            return math.nan
        try:
            return float(text)
        except ValueError:
            return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def as_text(value: Any) -> str:
    """A cell as the name that it is: whole numbers without a fraction, since tables make seeds into floats."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str) and value.endswith(".0") and value[:-2].lstrip("-").isdecimal():
        return value[:-2]
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def names_in(values: Iterable[Any]) -> list[str]:
    """The distinct values of a column as text, in their order."""
    return list(dict.fromkeys(as_text(value) for value in values))
