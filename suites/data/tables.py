"""User tables: a target column, columns of numbers and of categories, splits."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError, choices
from harness.trial.contracts import DataRequest
from harness.trial.options import REQUIRED, option
from suites.data.splitting import HELD, SPELLED, USUAL, drawn, shares_of, split_with
from suites.data.table_files import (
    MISSING,
    Cells,
    Rows,
    as_numbers,
    distinct,
    find_tables,
    odd_number,
    read_rows,
    texts_of,
)
from suites.data.types import Array, Labels

# A numeric target with at most so many different values is stratified like classes.
FEW = 20


@dataclass(frozen=True, slots=True)
class TableSplit:
    """Rows of one split.

    Attributes:
        numbers: (N, n) float64; NaN where a value is missing.
        levels: (N, c) number of the text in its column's ``levels``; -1 if missing.
        targets: (N,) float64 or texts, as in the column.
        items: (N,) number of the row in the whole table.
    """

    numbers: npt.NDArray[np.float64]
    levels: Labels
    targets: Array
    items: Labels

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class TableData:
    """A table by split.

    Attributes:
        splits: ``train``, ``test`` and perhaps ``validation``.
        numeric, categorical: names of the columns of ``numbers`` and ``levels``.
        levels: texts of each categorical column.
        target: name of the target column.
        path: the file or folder, for messages.
    """

    splits: Mapping[str, TableSplit]
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    target: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOptions:
    """Reading and splitting of a user file's rows."""

    path: str = option(REQUIRED, "file or folder of train and test files, absolute or below HARNESS_DATA")
    target: str = option(REQUIRED, "target column")
    split: Mapping[str, Any] = option({}, "{validation: 0.1, test: 0.2}: shares or counts of random splits")
    split_column: str = option("", "column with train, validation or test")
    group: str = option("", "column whose equal values stay in one split (a person, a place)")
    separator: str = option("", "separator of CSV; empty: by the first line")
    missing: tuple[str, ...] = option(MISSING, "texts for a missing value in CSV")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions(RowOptions):
    """Options of the layout ``table``."""

    categorical: tuple[str, ...] = option((), "numeric columns to treat as categories (a postcode)")
    ignore: tuple[str, ...] = option((), "columns to ignore (an identifier)")


def rows_for(request: DataRequest[Any]) -> Rows:
    """Read the rows at ``path``; warn and drop those without a target."""
    options = request.options
    path = request.root / options.path
    rows = read_rows(find_tables(path, request.name), request.name, options.separator, options.missing)
    target = rows.column(options.target, "target")
    absent = np.array([value is None for value in target]) if target.dtype == object else np.isnan(target)
    if not absent.any():
        return rows
    first = rows.where(int(absent.argmax()))
    if absent.all():
        raise HarnessError(f"{request.name}: no row of {path} has a '{options.target}'")
    message = f"{request.name}: {first}: {int(absent.sum())} rows lack '{options.target}' and are ignored"
    warnings.warn(message, stacklevel=2)
    kept = (~absent).nonzero()[0]
    renumbered = np.cumsum(~absent) - 1
    parts = {name: renumbered[part[~absent[part]]] for name, part in rows.parts.items()}
    columns = {name: cells[kept] for name, cells in rows.columns.items()}
    return Rows(rows.source, columns, rows.files, rows.file_of[kept], rows.lines[kept], parts)


def target_of(rows: Rows, name: str) -> Cells:
    """The target's values: float64 if all are numbers, else texts (``<U``)."""
    cells = rows.columns[name]
    numbers = as_numbers(cells)
    return cells.astype(np.str_) if numbers is None else numbers


def places_of(rows: Rows, strata: Labels, request: DataRequest[Any]) -> dict[str, Labels]:
    """Split rows by a column, else by files, else at random; groups stay together."""
    options = request.options
    own = _by_column(rows, options.split_column) if options.split_column else dict(rows.parts)
    groups = None
    if options.group:
        texts = rows.column(options.group, "group").astype(np.str_)
        groups = np.unique(texts, return_inverse=True)[1].astype(np.int64)
    return split_with(request, own, options.split, strata, groups=groups)


def _by_column(rows: Rows, name: str) -> dict[str, Labels]:
    cells = rows.column(name, "split_column")
    words = [None if value is None else SPELLED.get(str(value).lower()) for value in cells]
    wrong = next((row for row, word in enumerate(words) if word is None), None)
    if wrong is not None:
        valid = choices(["train", "validation", "test"], str(cells[wrong]))
        raise HarnessError(
            f"{rows.source}: {rows.where(wrong)}: '{name}' is '{cells[wrong]}', not a valid split; {valid}"
        )
    return {
        split: np.array([row for row, word in enumerate(words) if word == split])
        for split in ("train", *HELD)
        if split in words
    }


def strata_of(target: Cells) -> Labels:
    """Strata of a split: classes of a target of texts or few numbers, else one."""
    names, strata = np.unique(target, return_inverse=True)
    if target.dtype.kind == "f" and len(names) > FEW:
        return np.zeros(len(target), dtype=np.int64)
    return strata.astype(np.int64)


def load_table(request: DataRequest[TableOptions]) -> TableData:
    """Read and split a user's table with numeric and categorical columns."""
    options, source = request.options, request.name
    rows = rows_for(request)
    for name in (*options.categorical, *options.ignore):
        rows.column(name, "categorical" if name in options.categorical else "ignore")
    apart = {options.target, options.split_column, options.group, *options.ignore}
    names = [name for name in rows.columns if name not in apart]
    if not names:
        raise HarnessError(f"{source}: {options.path} has no column to predict '{options.target}' from")
    numbers: dict[str, Cells] = {}
    texts: dict[str, Cells] = {}
    for name in names:
        cells = rows.columns[name]
        as_number = None if name in options.categorical else as_numbers(cells)
        if as_number is not None:
            numbers[name] = as_number
            continue
        if name not in options.categorical:
            _check_numeric(rows, name, cells)
        texts[name] = cells
    levels, coded = _coded(texts, len(rows))
    target = target_of(rows, options.target)
    places = places_of(rows, strata_of(target), request)
    _warn_missing(source, {**numbers, **texts})
    stacked = np.stack(list(numbers.values()), 1) if numbers else np.empty((len(rows), 0))
    splits = {name: TableSplit(stacked[part], coded[part], target[part], part) for name, part in places.items()}
    return TableData(splits, tuple(numbers), tuple(texts), levels, options.target, options.path)


def _check_numeric(rows: Rows, name: str, cells: Cells) -> None:
    """Reject a column of numbers with a few other values: a mistake, not categories."""
    row = odd_number(cells)
    if row is not None:
        raise HarnessError(
            f"{rows.source}: {rows.where(row)}: '{name}' is '{cells[row]}' where a number is expected, as in nearly "
            f"all other rows; correct it, add it to 'missing', or set categorical: [{name}]"
        )


def _coded(texts: Mapping[str, Cells], length: int) -> tuple[tuple[tuple[str, ...], ...], Labels]:
    """Levels of columns with ``length`` rows, and their numbers (N, c)."""
    levels, columns = [], []
    for cells in texts.values():
        names = tuple(distinct(cells))
        number: dict[str | None, int] = {name: place for place, name in enumerate(names)}
        levels.append(names)
        columns.append(np.array([number.get(text, -1) for text in texts_of(cells)], dtype=np.int64))
    return tuple(levels), np.stack(columns, 1) if columns else np.empty((length, 0), dtype=np.int64)


def _warn_missing(source: str, columns: Mapping[str, Cells]) -> None:
    counts = {name: _absent(cells) for name, cells in columns.items()}
    listed = [f"{name} {count}" for name, count in counts.items() if count]
    if listed:
        more = f", … ({len(listed)} columns)" if len(listed) > 6 else ""
        filled = "numbers become the training median, with a column that marks them; categories become a category"
        warnings.warn(f"{source}: missing values: {', '.join(listed[:6])}{more}; {filled}", stacklevel=3)


def _absent(cells: Cells | Sequence[str | None]) -> int:
    array = np.asarray(cells)
    return int(sum(value is None for value in array) if array.dtype == object else np.isnan(array).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledTableOptions:
    """Options of scikit-learn's tables."""

    split: Mapping[str, Any] = option(dict(USUAL), "shares or counts of random splits")


def load_bundled(request: DataRequest[BundledTableOptions]) -> TableData:
    """Read the table of the source's name, split at random."""
    from sklearn import datasets

    name = request.name.replace("-", "_")
    more = {"scaled": False} if name == "diabetes" else {}
    loaded = getattr(datasets, f"load_{name}")(**more)
    numbers = np.asarray(loaded.data, dtype=np.float64)
    classes = getattr(loaded, "target_names", None)
    target = np.asarray(loaded.target, dtype=np.float64) if classes is None else classes[loaded.target].astype(np.str_)
    places = drawn(request, shares_of(request.options.split, request.name) or USUAL, strata_of(target))
    no_levels = np.empty((len(numbers), 0), dtype=np.int64)
    splits = {split: TableSplit(numbers[part], no_levels[part], target[part], part) for split, part in places.items()}
    return TableData(splits, tuple(map(str, loaded.feature_names)), (), (), "target", name)
