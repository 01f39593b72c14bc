"""Layouts of a table: a row a result, a row a number, or a column an arm."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.base.tables import DataTable
from harness.base.values import name_of, names_in
from harness.errors import HarnessError, choices
from harness.imports.result_files import score_of
from harness.judge.comparing import ArmScore

NAMES, VALUES = ("metric", "name", "measure"), ("value", "score", "result")
"""Columns of a table with one row a number."""
EVERYTHING = ""
"""The benchmark of a table without any."""


@dataclass(frozen=True, slots=True)
class TableReading:
    """Options for reading a table.

    Attributes:
        methods: arms, as the table names them; so ``against``.
        pair: the column that pairs results; None: one of ``PAIRS``.
        by: columns whose values make benchmarks.
        arm_column: the column of the arms, where several could be.
        where: rows that are read: column and value.
        unit: of the metric; '' where it is unknown.
        better: ``higher`` or ``lower``; None: as the metric's name says.
    """

    methods: tuple[str, ...]
    against: tuple[str, ...]
    metric: str
    pair: str | None = None
    by: tuple[str, ...] = ()
    arm_column: str | None = None
    where: tuple[tuple[str, str], ...] = ()
    unit: str = ""
    better: str | None = None

    @property
    def arms(self) -> tuple[str, ...]:
        """Every arm, methods first."""
        return tuple(dict.fromkeys((*self.methods, *self.against)))


@dataclass(frozen=True, slots=True)
class PlacedScore:
    """A score with the row that it stands in."""

    score: ArmScore
    row: int


def placed_scores(
    table: DataTable, reading: TableReading, kept: Sequence[int], pair: str
) -> tuple[list[PlacedScore], str]:
    """Every number of a compared arm, and how the table was understood."""
    arms, columns = reading.arms, set(table.columns)
    if reading.arm_column is None and all(arm in columns for arm in arms):
        return _wide(table, reading, kept, pair, {arm: arm for arm in arms})
    arm_column = _arm_column(table, reading, kept)
    if arm_column is not None:
        return _long(table, reading, kept, pair, arm_column)
    named = {arm: column for arm in arms if (column := _composite(table, reading.metric, arm)) is not None}
    if len(named) == len(arms):
        return _wide(table, reading, kept, pair, named)
    raise HarnessError(_no_arms(table, reading))


def _composite(table: DataTable, metric: str, arm: str) -> str | None:
    """``adam_accuracy``, ``accuracy/adam`` and the like."""
    joined = {f"{first}{sign}{other}" for sign in "_-./ :" for first, other in ((arm, metric), (metric, arm))}
    listed = [column for column in table.columns if column in joined]
    return listed[0] if len(listed) == 1 else None


def _arm_column(table: DataTable, reading: TableReading, kept: Sequence[int]) -> str | None:
    if reading.arm_column is not None:
        table.must_have(reading.arm_column)
        values = set(map(name_of, table.column(reading.arm_column)))
        for arm in reading.arms:
            if arm not in values:
                valid = choices(sorted(values), arm)
                raise HarnessError(f"{table.name}: the column '{reading.arm_column}' has no '{arm}'; {valid}")
        return reading.arm_column
    wanted = set(reading.arms)
    holding = []
    for at, column in enumerate(table.columns):
        if wanted <= {name_of(table.rows[row][at]) for row in kept}:
            holding.append(column)
    if len(holding) > 1:
        listed = " and ".join(f"'{name}'" for name in holding)
        raise HarnessError(f"{table.name}: the columns {listed} both have the arms; name one with --arm-column")
    return holding[0] if holding else None


def _no_arms(table: DataTable, reading: TableReading) -> str:
    """Name the arms that the table lacks, and those that it has."""
    few: dict[str, list[str]] = {}
    best: tuple[int, str] = (0, "")
    for column in table.columns:
        values = names_in(table.column(column))
        best = max(best, (sum(arm in values for arm in reading.arms), column))
        few[column] = values
    missing = [arm for arm in reading.arms if arm not in few.get(best[1], ()) and arm not in table.columns]
    lacking = missing[0] if missing else reading.arms[0]
    if best[0]:
        return f"{table.name}: the column '{best[1]}' has no '{lacking}'; {choices(few[best[1]], lacking)}"
    return (
        f"{table.name}: no column has the values {', '.join(reading.arms)}, and none is called so. Columns: "
        f"{', '.join(table.columns)}"
    )


def _long(
    table: DataTable, reading: TableReading, kept: Sequence[int], pair: str, arm_column: str
) -> tuple[list[PlacedScore], str]:
    """One row a result: arms in a column."""
    arms = table.column(arm_column)
    rows = [row for row in kept if name_of(arms[row]) in reading.arms]
    if reading.metric in table.columns:
        value_column, layout = reading.metric, f"a row a result, arms in '{arm_column}'"
    else:
        name_column, value_column = _metric_columns(table, reading)
        names = table.column(name_column)
        rows = [row for row in rows if name_of(names[row]) == reading.metric]
        layout = f"a row a number, arms in '{arm_column}', metrics in '{name_column}', numbers in '{value_column}'"
    values = table.column(value_column)
    cells = [
        PlacedScore(
            ArmScore(name_of(arms[row]), *_place(table, reading, row, pair), _number(table, value_column, values, row)),
            row,
        )
        for row in rows
    ]
    return _in_one_scale(table, value_column, cells), layout


def _metric_columns(table: DataTable, reading: TableReading) -> tuple[str, str]:
    lowered = {column.lower(): column for column in table.columns}
    values = [lowered[name] for name in VALUES if name in lowered]
    for name in NAMES:
        if name in lowered and values:
            listed = names_in(table.column(lowered[name]))
            if reading.metric in listed:
                return lowered[name], values[0]
            where = f"{table.name}: the column '{lowered[name]}'"
            raise HarnessError(f"{where} has no '{reading.metric}'; {choices(listed, reading.metric)}")
    numeric = [c for c in table.columns if any(_is_number(value) for value in table.column(c)[:100])]
    raise HarnessError(
        f"{table.name} has no column '{reading.metric}'; {choices(numeric or table.columns, reading.metric)}"
    )


def _is_number(value: object) -> bool:
    number = score_of(value)
    return number is not None and not math.isnan(number)


def _wide(
    table: DataTable, reading: TableReading, kept: Sequence[int], pair: str, named: dict[str, str]
) -> tuple[list[PlacedScore], str]:
    """A column an arm."""
    lowered = {column.lower(): column for column in table.columns}
    metrics = next((lowered[name] for name in NAMES if name in lowered), None)
    if metrics is not None and metrics not in reading.by:
        names = table.column(metrics)
        measures = names_in(names[row] for row in kept)
        if reading.metric not in measures:
            raise HarnessError(
                f"{table.name}: the column '{metrics}' has no '{reading.metric}'; {choices(measures, reading.metric)}"
            )
        kept = [row for row in kept if name_of(names[row]) == reading.metric]
    cells: list[PlacedScore] = []
    for arm, column in named.items():
        values = table.column(column)
        cells += [
            PlacedScore(ArmScore(arm, *_place(table, reading, row, pair), _number(table, column, values, row)), row)
            for row in kept
        ]
    return cells, "a column an arm"


def _place(table: DataTable, reading: TableReading, row: int, pair: str) -> tuple[str, str]:
    """Benchmark and pair of a row."""
    by_name = dict(zip(table.columns, table.rows[row], strict=True)) if reading.by else {}
    benchmark = " · ".join(name_of(by_name[column]) for column in reading.by)
    key = name_of(table.rows[row][table.columns.index(pair)])
    if not key:
        raise HarnessError(f"{table.place(row)}: the column '{pair}', which pairs results, is empty")
    return benchmark or EVERYTHING, key


def _number(table: DataTable, column: str, values: Sequence[object], row: int) -> float:
    value = values[row]
    number = score_of(value)
    if number is None and isinstance(value, str) and value.strip().endswith("%"):
        number = score_of(value.strip()[:-1])
    if number is None:
        hint = "; a decimal comma? write a point" if re.fullmatch(r"-?\d+,\d+ ?%?", str(value).strip()) else ""
        raise HarnessError(f"{table.place(row)}: '{value}' in the column '{column}' is not a number{hint}")
    return number


def _in_one_scale(table: DataTable, column: str, cells: list[PlacedScore]) -> list[PlacedScore]:
    """Refuse a column in which only some numbers have a percent sign."""
    values = table.column(column)
    signed = [cell for cell in cells if isinstance(values[cell.row], str) and values[cell.row].strip().endswith("%")]
    numbers = [cell for cell in cells if not math.isnan(cell.score.value)]
    plain = [cell for cell in numbers if cell not in signed] if signed else []
    if plain:
        raise HarnessError(
            f"{table.place(signed[0].row)}: '{values[signed[0].row]}' has a percent sign, "
            f"'{values[plain[0].row]}' in line {table.lines[plain[0].row]} has none; write all in one way"
        )
    return cells
