"""``harness query``: ask the database in SQL, and change nothing."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click

from harness.store import QueryResult, default_database, open_reader

EXAMPLE = """
\b
Examples:
  harness query "SELECT suite, status, count(*) FROM trials GROUP BY ALL"
  harness query "FROM results WHERE metric = 'top1-accuracy'" --format csv
  harness query "SHOW TABLES"

One reading statement; no files, no settings. SQL's own words are quoted as names: "at" in events.
Works while a run writes and while another program holds the file.
"""


@click.command("query", epilog=EXAMPLE)
@click.argument("sql", metavar="SQL")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How to print the answer.",
)
@click.option(
    "--db",
    type=click.Path(path_type=Path),
    default=default_database,
    show_default="HARNESS_DB or results/harness.duckdb",
    help="The database.",
)
def command(sql: str, form: str, db: Path) -> None:
    """Ask the database in SQL; it is only read. SQL of - is read from standard input."""
    if sql == "-":
        sql = sys.stdin.read()
    with open_reader(db, sandbox=True) as reader:
        answer = reader.query(sql)
        if reader.holder is not None:
            click.echo(f"{db} is held by {reader.holder}; this answer is from its snapshot and journal", err=True)
    click.echo(FORMS[form](answer), nl=False)


def as_json(answer: QueryResult) -> str:
    """A list of objects; NaN and infinities are the strings NaN, Infinity, -Infinity."""
    rows = [{column: _plain(value) for column, value in row.items()} for row in answer.dicts()]
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(answer: QueryResult) -> str:
    """Comma-separated values with a head line; null is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows([["" if value is None else _cell(value) for value in row] for row in answer.rows])
    return text.getvalue()


def as_table(answer: QueryResult) -> str:
    """Aligned columns, numbers to the right, and the number of rows."""
    cells = [["NULL" if value is None else _one_line(_cell(value)) for value in row] for row in answer.rows]
    numeric = [
        bool(answer.rows) and all(isinstance(row[i], (int, float, type(None))) for row in answer.rows)
        for i in range(len(answer.columns))
    ]
    widths = [
        max(len(name), *(len(row[i]) for row in cells)) if cells else len(name) for i, name in enumerate(answer.columns)
    ]
    lines = [answer.columns, ["─" * width for width in widths], *cells]
    text = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    ]
    count = len(answer.rows)
    return "\n".join([*text, f"({count} row{'' if count == 1 else 's'})"]) + "\n"


FORMS: dict[str, Callable[[QueryResult], str]] = {"table": as_table, "json": as_json, "csv": as_csv}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return _cell(value)


def _cell(value: Any) -> str:
    if isinstance(value, (datetime, date)):
        return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(_plain(value), ensure_ascii=False)
    return str(_plain(value)) if isinstance(value, float) else str(value)


def _one_line(text: str) -> str:
    return text.replace("\r", "").replace("\n", "⏎")
