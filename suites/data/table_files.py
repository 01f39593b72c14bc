"""Tables of data sets: columns of numbers and texts from one or more files."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import repeat
from numbers import Real
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.base.tables import form_of, read_file
from harness.base.values import number_of
from harness.errors import HarnessError, choices
from suites.data.archive import missing
from suites.data.splitting import SPELLED
from suites.data.types import Labels

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".jsonl", ".parquet")
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")
# A column in which so large a share of the values are numbers was meant to be one.
MEANT_AS_NUMBERS = 0.9

Cells = npt.NDArray[Any]
"""A column: float64 with NaN, or texts (dtype object) with None."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of several files, one after the other.

    Attributes:
        source: the data source, for messages.
        columns: by name, (N,) each.
        files: the files.
        file_of: (N,) the number of each row's file.
        lines: (N,) where in its file a row ends, counting from 1.
        parts: by the name of a split the rows of its files; empty where the files name no splits.
    """

    source: str
    columns: Mapping[str, Cells]
    files: tuple[Path, ...]
    file_of: Labels
    lines: Labels
    parts: Mapping[str, Labels]

    def __len__(self) -> int:
        return len(self.lines)

    def where(self, row: int) -> str:
        """``iris.csv:17`` (of Parquet: the row)."""
        file = self.files[self.file_of[row]]
        return f"{file}, row {self.lines[row]}" if file.suffix == ".parquet" else f"{file}:{self.lines[row]}"

    def column(self, name: str, what: str) -> Cells:
        if name not in self.columns:
            at = f"{self.files[0]}:1" if self.files[0].suffix != ".parquet" else str(self.files[0])
            raise HarnessError(f"{self.source}: {at}: no column '{name}' ({what}); {choices(list(self.columns), name)}")
        return self.columns[name]


def find_tables(path: Path, source: str) -> dict[str, tuple[Path, ...]]:
    """The files of a table by split: a file is all of it (split ""), a folder has ``train.csv``, ``test.csv``, …

    Also the Hugging Face data sets' layout, ``data/train-00000-of-00001.parquet``.
    """
    if not path.exists():
        raise missing(source, path)
    if path.is_file():
        if not path.name.lower().endswith(SUFFIXES):
            raise HarnessError(f"{source}: {path}: unsupported file extension; valid: {', '.join(SUFFIXES)}")
        return {"": (path,)}
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name.lower().endswith(SUFFIXES))
    by_split: dict[str, list[Path]] = {}
    for file in files:
        split = split_of(file.relative_to(path).as_posix())
        if split is not None:
            by_split.setdefault(split, []).append(file)
    if "train" not in by_split:
        if len(files) == 1:
            return {"": tuple(files)}
        listed = ", ".join(file.name for file in files[:5]) or "no table"
        raise HarnessError(
            f"{source}: {path} has no train.csv (also .tsv, .parquet, or train-00000-of-00001.parquet) but {listed}; "
            f"name the files train, validation and test, or point path at one file"
        )
    return {split: tuple(parts) for split, parts in by_split.items()}


def split_of(name: str) -> str | None:
    """Split at the beginning of a file's name (``train.csv``, ``test-00000-of-2.parquet``), or of a folder above it."""
    path = PurePosixPath(name)
    first = path.name.lower().partition(".")[0].partition("-")[0]
    named = (SPELLED.get(folder.lower()) for folder in reversed(path.parts[:-1]))
    return SPELLED.get(first) or next(filter(None, named), None)


def read_rows(
    tables: Mapping[str, Sequence[Path]], source: str, separator: str = "", empty: Sequence[str] = MISSING
) -> Rows:
    """Every row of the files; a column without any text is float64.

    Args:
        tables: as of ``find_tables``; all have the same columns.
        source: for messages.
        separator: of CSV; "": by the file's first line.
        empty: texts that mean a missing value.
    """
    files = tuple(file for parts in tables.values() for file in parts)
    pieces = [_piece(file, source, separator, empty) for file in files]
    names = list(pieces[0][0])
    for file, (columns, _) in zip(files, pieces, strict=True):
        other = sorted(set(names) ^ set(columns))
        if other:
            raise HarnessError(f"{source}: {file} and {files[0]} differ in the columns {', '.join(other[:6])}")
    lengths = [len(lines) for _, lines in pieces]
    if not sum(lengths):
        raise HarnessError(f"{source}: {files[0]} has no rows")
    joined = {name: [columns[name] for columns, _ in pieces] for name in names}
    bounds = np.cumsum([0, *lengths])
    parts: dict[str, Labels] = {}
    number = 0
    for split, some in tables.items():
        if split:
            parts[split] = np.arange(bounds[number], bounds[number + len(some)])
        number += len(some)
    return Rows(
        source,
        {name: _joined(cells) for name, cells in joined.items()},
        files,
        np.repeat(np.arange(len(files)), lengths),
        np.concatenate([lines for _, lines in pieces]),
        parts,
    )


def as_numbers(cells: Cells) -> Cells | None:
    """A column of texts as float64 with NaN; None if one is not finite."""
    if cells.dtype != object:
        return cells
    numbers = _numbers(cells)
    present = np.array([cell is not None for cell in cells], dtype=bool)
    return numbers if np.isfinite(numbers[present]).all() else None


def _numbers(cells: Cells) -> npt.NDArray[np.float64]:
    """(N,) each text as a number; NaN where it is none."""
    numbers = (None if cell is None else number_of(cell) for cell in cells)
    return np.array([np.nan if number is None else number for number in numbers], dtype=np.float64)


def odd_number(cells: Cells) -> int | None:
    """The first text in a column of mostly numbers; None for other columns."""
    numbers = _numbers(cells)
    present = np.array([cell is not None for cell in cells], dtype=bool)
    odd = (present & ~np.isfinite(numbers)).nonzero()[0]
    return int(odd[0]) if len(odd) and len(odd) <= (1 - MEANT_AS_NUMBERS) * present.sum() else None


def texts_of(cells: Cells) -> list[str | None]:
    """A column as texts: numbers in their shortest form."""
    return list(cells) if cells.dtype == object else [None if np.isnan(cell) else f"{cell:.15g}" for cell in cells]


def _joined(parts: Sequence[Cells]) -> Cells:
    """One column of several files: of texts as soon as one is."""
    if len({part.dtype for part in parts}) == 1:
        return np.concatenate(parts)
    return np.concatenate([part if part.dtype == object else _texts(part) for part in parts])


def _texts(numbers: Cells) -> Cells:
    return np.array([None if np.isnan(number) else f"{number:g}" for number in numbers], dtype=object)


def _piece(file: Path, source: str, separator: str, empty: Sequence[str]) -> tuple[dict[str, Cells], Labels]:
    try:
        table = read_file(file, separator=separator, missing=empty, nested=True)
    except HarnessError as error:
        raise HarnessError(f"{source}: {error}") from error
    form = form_of(file)
    columns: dict[str, Cells] = {}
    for name, values in zip(table.columns, zip(*table.rows, strict=True) if table.rows else repeat(()), strict=False):
        columns[name] = _objects(values) if form == "csv" else _values(values, str if form == "parquet" else json.dumps)
    return columns, np.array(table.lines, dtype=np.int64)


def _values(values: Sequence[Any], write: Callable[[Any], str]) -> Cells:
    """Values as float64 where all are numbers, else as texts."""
    if all(value is None or isinstance(value, Real | Decimal) for value in values):
        return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    return _objects([value if value is None or isinstance(value, str) else write(value) for value in values])


def _objects(values: Sequence[str | None]) -> Cells:
    cells = np.empty(len(values), dtype=object)
    cells[:] = values
    return cells


def distinct(cells: Cells) -> Iterator[str]:
    """A column's distinct values, sorted: numbers in their shortest form, or texts."""
    if cells.dtype != object:
        yield from (f"{value:.15g}" for value in np.unique(cells[~np.isnan(cells)]))
    else:
        yield from sorted({str(value) for value in cells if value is not None})
