"""Tables as runs: a row each; and the table of curves that the web page of W&B exports, a column a run."""

import re
from collections.abc import Iterator
from pathlib import Path

from harness.base.tables import DataTable
from harness.base.values import name_of
from harness.errors import HarnessError
from harness.imports.foreign import ForeignRun, ForeignSource, Point
from harness.imports.result_files import read_table, score_of

PANEL = re.compile(r"(?P<run>.+) - (?P<metric>.+?)(?P<range>__M(?:IN|AX))?")
"""A column of a chart's export: ``sweet-dawn-7 - val/accuracy``, and the ends of its range."""
STATE, ENDED = "State", "finished"
"""The column in which an export of W&B says how a run ended."""
STATES = frozenset({ENDED, "crashed", "failed", "killed", "running", "pending", "preempted", "preempting"})


def read_rows(path: Path, name: str | None) -> ForeignSource:
    """A table's rows.

    Raises:
        HarnessError: as :func:`harness.imports.result_files.read_table`.
    """
    table = read_table(path, name)
    if _is_panel(table):
        return ForeignSource(path, "W&B chart", table.sha256, list(_panel(table)))
    states = _states(table)
    runs = []
    for number, row in enumerate(table.rows):
        state = ENDED if states is None else states[number]
        ended = "" if state == ENDED else f"is '{state}' in its table of runs"
        runs.append(ForeignRun(table.place(number), dict(zip(table.columns, row, strict=True)), ended=ended))
    kind = "table" if states is None else "W&B table of runs"
    part = table.name.removeprefix(str(path)).strip("[]")
    return ForeignSource(path, kind, table.sha256, runs, rows=True, part=part)


def _states(table: DataTable) -> list[str] | None:
    """The final states of an export's runs; None for another table."""
    if not {STATE, "Name"} <= set(table.columns):
        return None
    states = [name_of(cell).lower() for cell in table.column(STATE)]
    return states if set(states) <= STATES else None


def _is_panel(table: DataTable) -> bool:
    """True for a chart's export: steps, then columns ``RUN - METRIC`` with ranges."""
    panels = [PANEL.fullmatch(column) for column in table.columns[1:]]
    return all(panels) and any(panel is not None and panel["range"] for panel in panels)


def _panel(table: DataTable) -> Iterator[ForeignRun]:
    series: dict[str, dict[str, list[Point]]] = {}
    steps = [_step(table, row) for row in range(len(table.rows))]
    for column in table.columns[1:]:
        panel = PANEL.fullmatch(column)
        if panel is None or panel["range"]:
            continue
        points: list[Point] = []
        for row, cell in enumerate(table.column(column)):
            value = score_of(cell)
            if value is None:
                raise HarnessError(f"{table.place(row)}: '{cell}' in the column '{column}' is not a number")
            if name_of(cell):  # a chart has a line for every step of any run
                points.append((steps[row], value))
        series.setdefault(panel["run"], {})[panel["metric"]] = points
    for run, numbers in series.items():
        yield ForeignRun(f"{table.name}, run '{run}'", {"Name": run}, numbers)


def _step(table: DataTable, row: int) -> int:
    value = score_of(table.rows[row][0])
    if value is None or not value.is_integer():
        message = f"'{table.rows[row][0]}' in the column '{table.columns[0]}' is not a step (a whole number)"
        raise HarnessError(f"{table.place(row)}: {message}; export the chart over its steps")
    return int(value)
