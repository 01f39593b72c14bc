"""The one reader of tables in files: CSV, TSV, JSON lines and Parquet, plain or gzipped.

Text is read by the standard library, so that a message can name the line.
"""

import csv
import hashlib
import io
import json
import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.limits import content_of
from harness.base.values import flat
from harness.errors import HarnessError, choices, first_line

FORMS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""How a file is read, by the suffix of its name without ``.gz``."""
MOST_CELLS = 1_000_000_000
"""A few bytes of Parquet can claim billions of equal cells."""


@dataclass(frozen=True, slots=True)
class DataTable:
    """Rows of a table: text or None from CSV, plain values from the other forms.

    ``lines`` are where each row ends in a text file, else numbers of rows, from 1; ``sha256`` is '' without a file.
    """

    name: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    lines: Sequence[int]
    sha256: str = ""

    def place(self, row: int) -> str:
        return f"{self.name}:{self.lines[row]}"

    def column(self, name: str) -> list[Any]:
        at = self.columns.index(name)
        return [row[at] for row in self.rows]

    def must_have(self, column: str) -> None:
        """Raise HarnessError for a column that the table does not have."""
        if column not in self.columns:
            raise HarnessError(f"{self.name} has no column '{column}'; {choices(self.columns, column)}")


def form_of(path: Path) -> str | None:
    """``csv``, ``json`` or ``parquet`` by the file's name; None for another kind of file."""
    return FORMS.get(Path(path.name.lower().removesuffix(".gz")).suffix)


def read_file(
    path: Path,
    *,
    separator: str = "",
    missing: Collection[str] = (),
    nested: bool = False,
    most_rows: int | None = None,
) -> DataTable:
    """Read a table from a file.

    Args:
        separator: between the fields of CSV; empty: tab by the file's name, else by its first line.
        missing: texts of CSV that become None.
        nested: leave objects within JSON objects whole, instead of making columns ``a.b`` of them.
        most_rows: refuse a larger table.

    Raises:
        HarnessError: the file is missing, damaged, too large, or of an unsupported kind; with its line where it has
            lines.
    """
    form = form_of(path)
    if form is None:
        raise HarnessError(f"{path}: unsupported file extension; {choices(FORMS)} (.gz too)")
    if not path.is_file():
        raise HarnessError(f"no file {path}")
    if form == "parquet":
        return _from_parquet(path, most_rows)
    text, sha256 = _text(path)
    if form == "csv":
        table = _from_csv(path, text, separator, missing)
    else:
        table = from_records(str(path), *_records(path, text), nested=nested)
    check_rows(str(path), len(table.rows), most_rows)
    return DataTable(table.name, table.columns, table.rows, table.lines, sha256)


def from_records(
    name: str, records: Sequence[Mapping[str, Any]], lines: Sequence[int], *, nested: bool = False
) -> DataTable:
    """A table from rows by column, None where a row lacks one; HarnessError if objects are nested too deep."""
    try:
        rows = [record if nested else dict(flat(record)) for record in records]
    except RecursionError:
        raise HarnessError(f"{name}: objects are nested too deep for a table") from None
    columns = tuple(dict.fromkeys(str(key) for row in rows for key in row))
    return DataTable(name, columns, [[row.get(key) for key in columns] for row in rows], lines)


def check_rows(name: str, rows: int, most: int | None) -> None:
    """Raise HarnessError for a table of more than ``most`` rows."""
    if most is not None and rows > most:
        raise HarnessError(f"{name}: {rows:,} rows; at most {most:,} are read")


def read_parquet(path: Path, most_rows: int | None = None) -> Any:
    """A Parquet file as a ``pyarrow.Table``; HarnessError if it is damaged or claims too many cells."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with path.open("rb") as content:  # pyarrow would take a name for an address
            shape = parquet.read_metadata(content)
            if shape.num_rows * max(1, shape.num_columns) > MOST_CELLS:
                raise HarnessError(f"{path} claims {shape.num_rows:,} rows of {shape.num_columns:,} columns")
            check_rows(str(path), shape.num_rows, most_rows)
            content.seek(0)
            return parquet.read_table(content)
    except (OSError, pa.ArrowException) as error:
        raise HarnessError(f"{path} is not a readable Parquet file: {first_line(error)}") from error


def _from_parquet(path: Path, most_rows: int | None) -> DataTable:
    table = read_parquet(path, most_rows)
    columns = [column.to_pylist() for column in table.columns]
    names = _columns(str(path), table.column_names)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return DataTable(str(path), names, list(zip(*columns, strict=True)), range(1, table.num_rows + 1), sha256)


def _text(path: Path) -> tuple[str, str]:
    """A text file's content, unpacked, and its checksum."""
    try:
        content = content_of(path)
        return content.decode("utf-8-sig"), hashlib.sha256(path.read_bytes()).hexdigest()
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise HarnessError(f"{path}:{line}: not UTF-8 text ({error.reason}); save the table as UTF-8") from None
    except (OSError, EOFError, zlib.error) as error:
        raise HarnessError(f"{path} cannot be read: {error}") from None


def _from_csv(path: Path, text: str, separator: str, missing: Collection[str]) -> DataTable:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator or _separator(path, text), strict=True)
    absent = frozenset(missing)
    columns: tuple[str, ...] = ()
    rows: list[list[str | None]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if not row or row == [""]:
                continue
            cells = [cell.strip() for cell in row]
            if not columns:
                columns = _columns(f"{path}:{reader.line_num}", cells)
            elif len(cells) != len(columns):
                raise HarnessError(
                    f"{path}:{reader.line_num}: {len(cells)} fields, but the header has {len(columns)} columns"
                )
            else:
                rows.append([None if cell in absent else cell for cell in cells])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise HarnessError(f"{path}:{reader.line_num}: not a valid CSV table: {error}") from None
    if not columns:
        raise HarnessError(f"{path}:1: the file is empty; its first line must name the columns")
    return DataTable(str(path), columns, rows, lines)


def _separator(path: Path, text: str) -> str:
    if Path(path.name.lower().removesuffix(".gz")).suffix in (".tsv", ".tab"):
        return "\t"
    return max(",;\t", key=text.partition("\n")[0].count)  # the first of equals: a single column has none


def _columns(place: str, names: Sequence[str]) -> tuple[str, ...]:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise HarnessError(f"{place}: duplicate column '{twice[0]}'")
    return tuple(names)


def _records(path: Path, text: str) -> tuple[list[Mapping[str, Any]], list[int]]:
    """The objects of a JSON list or of JSON lines; their lines."""
    if text.lstrip().startswith("["):
        listed = _json(str(path), text)
        numbered = list(enumerate(listed, 1))
    else:
        numbered = [
            (number, _json(f"{path}:{number}", line))
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip()
        ]
    for number, record in numbered:
        if not isinstance(record, Mapping):
            raise HarnessError(f"{path}:{number}: expected an object with a value for each column")
    return [record for _, record in numbered], [number for number, _ in numbered]


def _json(place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{place}: not valid JSON: {error}") from None
