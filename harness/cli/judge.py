"""``harness judge``: a verdict from a table of results alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from harness.cli.options import PATH, FiniteRange, format_option
from harness.cli.terminal import note, plain, print_table
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.results.table_verdicts import TableVerdict, TableVerdicts

EXAMPLE = """
\b
Examples:
  harness judge results.csv --method adamp --against adam --metric accuracy
  harness judge runs.parquet --method adamp --against adam --against adamw --metric top1 --by dataset --by model
  harness judge log.jsonl --method ours --against baseline --metric loss --pair fold --where split=test

A row a result (a column names the arm) or a column an arm. Results are paired by seed, fold or another column, and
every comparison of the table goes through one correction.
"""
NUMBERS = ("n", "difference", "interval", "adj. p", "d_z", "seen at 80 %")


@click.command("judge", epilog=EXAMPLE)
@click.argument("file", type=PATH, metavar="FILE")
@click.option("--method", "methods", multiple=True, required=True, metavar="A", help="The arm that should be better.")
@click.option("--against", multiple=True, required=True, metavar="B", help="What it is held against.")
@click.option("--metric", required=True, metavar="M", help="The metric, as the table names it.")
@click.option("--pair", metavar="COLUMN", help="What pairs results.  [default: seed, fold or the like]")
@click.option("--by", multiple=True, metavar="COLUMN", help="Its values are benchmarks, each a test of its own.")
@click.option(
    "--scope",
    type=click.Choice(["each", "all", "mean"]),
    default="each",
    show_default=True,
    help="each: a test a benchmark; all: in every one; mean: over them.",
)
@click.option(
    "--better", type=click.Choice(["higher", "lower"]), help="Which way.  [default: as the metric's name says]"
)
@click.option("--unit", default="", metavar="percent|fraction|…", help="Of the metric; seconds are compared as ratios.")
@click.option(
    "--primary",
    multiple=True,
    metavar="TEST",
    help="A test announced before results, as BENCHMARK/A/B or a part of it; Holm among these.",
)
@click.option(
    "--smallest",
    type=FiniteRange(min=0, min_open=True),
    metavar="X",
    help="The smallest effect worth having, in the metric's unit.",
)
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Only these rows.")
@click.option("--arm-column", metavar="COLUMN", help="The column of the arms, where several could be.")
@click.option("--alpha", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.05, show_default=True)
@click.option(
    "--on-divergence",
    type=click.Choice(["invalid", "worst"]),
    default="invalid",
    show_default=True,
    help="A score that is missing or not finite: a failed training, or a lost pair.",
)
@click.option("--table", metavar="NAME", help="Of a DuckDB or SQLite file.")
@click.option("--out", type=PATH, metavar="FILE.html", help="The page.  [default: FILE-verdicts.html, where you are]")
@click.option("--page/--no-page", default=True, show_default=True, help="Write the page.")
@format_option
def judge_command(file: Path, table: str | None, out: Path | None, page: bool, form: str, **given: Any) -> None:
    """Judge a table of results: one method against another, no suite.

    FILE is CSV, TSV, JSON lines, Parquet, or a DuckDB or SQLite file. Nothing is trained and nothing is stored.
    """
    from harness.results.table_file import read_table
    from harness.results.table_layout import TableReading
    from harness.results.table_verdicts import Asked, verdicts_of

    where = tuple(_filter(text) for text in given["where"])
    reading = TableReading(
        given["methods"],
        given["against"],
        given["metric"],
        given["pair"],
        given["by"],
        given["arm_column"],
        where,
        given["unit"],
        given["better"],
    )
    asked = Asked(given["scope"], given["primary"], given["smallest"], given["alpha"], given["on_divergence"])
    verdicts = verdicts_of(read_table(file, table), reading, asked)
    written = verdicts.write_page(out or Path(f"{file.name.partition('.')[0]}-verdicts.html")) if page else None
    if form == "json":
        click.echo(json.dumps(_record(verdicts, written), ensure_ascii=False))
        return
    print_table_verdicts(verdicts)
    if written is not None:
        click.echo(str(written))


def _filter(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not equals or not column:
        raise HarnessError(f"--where '{text}': COLUMN=VALUE is expected, as in --where split=test")
    return column, value


def _record(verdicts: TableVerdicts, written: Path | None) -> Any:
    """Everything as JSON data."""
    return plain(
        {
            "table": verdicts.table.name,
            "sha256": verdicts.table.sha256,
            "layout": verdicts.layout,
            "metric": verdicts.metric,
            "better": verdicts.better,
            "unit": verdicts.unit,
            "correction": verdicts.correction,
            "notes": list(verdicts.notes),
            "page": None if written is None else str(written),
            "verdicts": [
                record | {"design": one.row.detail.to_json()}
                for record, one in zip(verdicts.records(), verdicts, strict=True)
            ],
        }
    )


def print_table_verdicts(verdicts: TableVerdicts) -> None:
    """The verdicts as a table, and below it what a reader must know."""
    unit = f", {verdicts.unit}" if verdicts.unit else ""
    title = f"{verdicts.metric}{unit}: {verdicts.better} is better, + is better for the method"
    announced = ("announced",) if verdicts.asked.primary else ()
    print_table(
        ("test", "verdict", *announced, *NUMBERS),
        [_row(one, bool(announced)) for one in verdicts],
        right=NUMBERS,
        title=title,
    )
    note(f"{verdicts.layout}; {verdicts.correction}")
    for text in verdicts.notes:
        note(text, "yellow")
    for one in verdicts:
        for text in filter(None, (one.row.detail.reason, *one.row.detail.warnings)):
            note(f"{one.test}: {text}", "yellow")


def _row(one: TableVerdict, announced: bool) -> tuple[str | Text, ...]:
    from harness.cli.verdicts import interval, number, verdict_text

    effect = one.row.detail.effect
    return (
        one.test,
        verdict_text(one.word),
        *(("yes" if one.family == "primary" else "",) if announced else ()),
        str(one.n or ""),
        number(one.difference),
        interval(one.low, one.high),
        "" if one.adjusted_p is None else f"{one.adjusted_p:.3f}",
        number(None if effect is None else effect.d_z),
        number(one.detectable).lstrip("+"),
    )
