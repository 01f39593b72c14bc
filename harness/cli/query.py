"""``harness query``: read-only SQL on the database."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from harness.cli.options import database_option
from harness.cli.terminal import counted, plain
from harness.store import QueryResult, open_reader

EXAMPLE = """
\b
Examples:
  harness query "SELECT suite, status, count(*) FROM trials GROUP BY ALL"
  harness query "FROM current_results WHERE suite = 'adamp' AND metric = 'top1-accuracy'" --format csv
  harness query "SHOW TABLES"

The view current_results has the results of one plan: one recipe, code version and protocol, no sweep (docs/tables.md).
One statement that reads; no files, no settings. Quote SQL keywords used as names: "at" in events. Queries work while a
run writes and while another program locks the file.
"""


WIDTH = 80
"""Characters of a table cell: the content of a trial has thousands."""


@click.command("query", epilog=EXAMPLE)
@click.argument("sql", metavar="SQL")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="Choose the output format.",
)
@click.option(
    "--width",
    type=click.IntRange(min=0),
    metavar="N",
    default=WIDTH,
    show_default=True,
    help="Cut table cells after this many characters; 0: never.",
)
@database_option
def query_command(sql: str, form: str, width: int, database: Path) -> None:
    """Query the database in SQL, read-only; with - as SQL, read it from standard input."""
    if sql == "-":
        sql = sys.stdin.read()
    with open_reader(database, sandbox=True) as reader:
        answer = reader.query(sql)
    # color: print the data unchanged; click would remove color codes.
    click.echo(as_table(answer, width) if form == "table" else FORMS[form](answer), nl=False, color=True)


def as_json(answer: QueryResult) -> str:
    """Format as a JSON list of objects; NaN and infinities are strings."""
    rows = [{column: plain(value, named=True) for column, value in row.items()} for row in answer.dicts()]
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(answer: QueryResult) -> str:
    """Format as comma-separated values with a header; null is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows([["" if value is None else _cell(value) for value in row] for row in answer.rows])
    return text.getvalue()


def as_table(answer: QueryResult, longest: int = WIDTH) -> str:
    """Format as aligned columns and the number of rows; with ``longest`` 0 no cell is cut."""
    columns = []
    cut = 0
    for i, name in enumerate(answer.columns):
        values = [row[i] for row in answer.rows]
        texts = ("NULL" if value is None else _cell(value) for value in values)
        cells = [name, *(text.replace("\r", "").replace("\n", "⏎") for text in texts)]
        if longest:
            cut += sum(len(text) > longest for text in cells[1:])
            cells[1:] = [text if len(text) <= longest else f"{text[: longest - 1]}…" for text in cells[1:]]
        width = max(map(len, cells))
        right = values and all(isinstance(value, int | float | None) for value in values)
        lines = (name, "─" * width, *cells[1:])
        columns.append([line.rjust(width) if right else line.ljust(width) for line in lines])
    text = ["  ".join(line).rstrip() for line in zip(*columns, strict=True)]
    note = (
        f"; {counted(cut, 'cell')} cut at {longest} characters; --width 0, --format json or --format csv show all"
        if cut
        else ""
    )
    return "\n".join([*text, f"({counted(len(answer.rows), 'row')}{note})"]) + "\n"


FORMS: dict[str, Callable[[QueryResult], str]] = {"json": as_json, "csv": as_csv}


def _cell(value: Any) -> str:
    if isinstance(value, bool | list | tuple | dict):
        return json.dumps(plain(value, named=True), ensure_ascii=False)
    return str(plain(value, named=True))
