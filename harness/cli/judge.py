"""``harness judge``: verdicts from a table of results."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from harness.base.text import interval, number, probability
from harness.cli.options import PATH, FiniteRange, format_option
from harness.cli.terminal import note, plain, print_table
from harness.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.imports.over_datasets import OverDatasets
    from harness.imports.table_verdicts import TableVerdict, TableVerdicts

EXAMPLE = """
\b
Examples:
  harness judge results.csv --method adamp --against adam --metric accuracy
  harness judge runs.parquet --method adamp --against adam --against adamw --metric top1 --by dataset --by model
  harness judge log.jsonl --method ours --against baseline --metric loss --where split=test
  harness judge means.csv --metric accuracy --over dataset
  harness judge folds.csv --method ours --against svm --metric f1 --pair repeat --pair fold --resampled k-fold

The table has one row for each result (a column names the arm) or one column for each arm. Results are paired by seed,
fold or another column, and the p values of all comparisons are corrected together. Splits, folds and repeats of one
data set share training items: --resampled corrects the t test for them (Nadeau and Bengio 2003). With --over a data set
is the unit: signed ranks of its means and Holm's correction, of all methods if none is named (Demsar 2006).
"""
_PAIR = "Pair results by this column, or by several.  [default: seed, fold or similar]"
_SCOPE = "Test each benchmark, whether all show the effect, or their mean."
_BETTER = "State which values are better.  [default: from the metric's name]"
_UNIT = "State the unit of the metric; seconds are compared as ratios."
_PRIMARY = "Mark a test as announced before the results: BENCHMARK/A/B or a part; Holm correction among these."
_SMALLEST = "Set the smallest effect size of interest, in the metric's unit."
_ALPHA = click.FloatRange(0, 1, min_open=True, max_open=True)
_DIVERGENCE = "Treat a missing or infinite score as a lost pair (invalid) or as the worst score."
_DETERMINISTIC = "Accept equal scores of this arm in every row; without it they make its tests invalid."
_OVER = "Test over the data sets in this column, by signed ranks of their means; every arm if none is named."
_SD = "Read the sd of published means from this column: Welch's t test, unpaired; needs --n."
_RESAMPLED = "Correct the test for pairs that split one data set: n_test/n_train, or k-fold."
_INDEPENDENT = "State that pairs named like splits or repeats are independent."
_OUT = "Write the page to this file.  [default: FILE-verdicts.html in the current folder]"
NUMBERS = ("n", "difference", "interval", "adj. p", "d_z", "P(A > B)", "seen at 80 %")
OVER_NUMBERS = ("n", "difference", "interval", "adj. p", "P(A > B)")
RANKS = ("rank", "mean", "won", "tied", "lost", "better than", "worse than")
MOST_LINES = 24
"""Comparisons that are listed below ranks; the page and JSON have all."""


@click.command("judge", epilog=EXAMPLE)
@click.argument("file", type=PATH, metavar="FILE")
@click.option("--method", "methods", multiple=True, metavar="A", help="Test whether this arm is better.")
@click.option("--against", multiple=True, metavar="B", help="Compare with this arm.")
@click.option("--metric", required=True, metavar="M", help="Compare this metric, as the table names it.")
@click.option("--over", multiple=True, metavar="COLUMN", help=_OVER)
@click.option("--sd", metavar="COLUMN", help=_SD)
@click.option("--n", metavar="COLUMN", help="Read the number of runs behind each published mean from this column.")
@click.option("--pair", multiple=True, metavar="COLUMN", help=_PAIR)
@click.option("--resampled", metavar="RATIO", help=_RESAMPLED)
@click.option("--independent", is_flag=True, help=_INDEPENDENT)
@click.option("--by", multiple=True, metavar="COLUMN", help="Test each value of this column (a benchmark) separately.")
@click.option("--scope", type=click.Choice(["each", "all", "mean"]), default="each", help=_SCOPE)
@click.option("--better", type=click.Choice(["higher", "lower"]), help=_BETTER)
@click.option("--unit", default="", show_default=False, metavar="percent|fraction|…", help=_UNIT)
@click.option("--primary", multiple=True, metavar="TEST", help=_PRIMARY)
@click.option("--smallest", type=FiniteRange(0, min_open=True), metavar="X", help=_SMALLEST)
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Use only these rows.")
@click.option("--arm-column", metavar="COLUMN", help="Read the arms from this column, if several are possible.")
@click.option("--alpha", type=_ALPHA, default=0.05, help="Set the significance level.")
@click.option("--on-divergence", type=click.Choice(["invalid", "worst"]), default="invalid", help=_DIVERGENCE)
@click.option("--deterministic", multiple=True, metavar="ARM", help=_DETERMINISTIC)
@click.option("--table", metavar="NAME", help="Read this table of a DuckDB or SQLite file.")
@click.option("--out", type=PATH, metavar="FILE.html", help=_OUT)
@click.option("--page/--no-page", default=True, help="Write an HTML page.")
@format_option
def judge_command(file: Path, table: str | None, out: Path | None, page: bool, form: str, **values: Any) -> None:
    """Compare methods in a table of results; no suite needed.

    FILE is CSV, TSV, JSON lines, Parquet, or a DuckDB or SQLite file. Nothing is trained and nothing is stored.
    """
    from harness.imports.result_files import read_table
    from harness.imports.table_question import TableQuestion
    from harness.imports.table_verdicts import verdicts_of

    where = tuple(_filter(text) for text in values["where"])
    verdicts = verdicts_of(read_table(file, table), TableQuestion(**{**values, "where": where}))
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
        raise HarnessError(f"--where '{text}': expected COLUMN=VALUE, for example --where split=test")
    return column, value


def _record(verdicts: TableVerdicts, written: Path | None) -> Any:
    """Return the verdicts as JSON data."""
    names = ("layout", "metric", "better", "unit", "correction", "notes")
    rows: list[Any] = verdicts.records()
    if verdicts.over is None:  # each design repeats its family, which here may be hundreds of tests
        rows = [record | {"design": item.row.detail.to_json()} for record, item in zip(rows, verdicts, strict=True)]
    table: dict[str, Any] = {"table": verdicts.table.name, "sha256": verdicts.table.sha256}
    table["over"] = None if verdicts.over is None else asdict(verdicts.over)
    page = {"page": None if written is None else str(written)}
    return plain({**table, **{name: getattr(verdicts, name) for name in names}, **page, "verdicts": rows})


def print_table_verdicts(verdicts: TableVerdicts) -> None:
    """Print the verdicts as a table, with notes below it."""
    unit = f", {verdicts.unit}" if verdicts.unit else ""
    title = f"{verdicts.metric}{unit}: {verdicts.better} is better, + is better for the method"
    announced = ("announced",) if verdicts.question.primary else ()
    if verdicts.over is not None:
        _print_ranks(verdicts.over, title)
    if verdicts.over is None or len(verdicts) <= MOST_LINES:
        numbers = NUMBERS if verdicts.over is None else OVER_NUMBERS
        rows = [_row(item, announced=bool(announced), numbers=numbers) for item in verdicts]
        print_table(("test", "verdict", *announced, *numbers), rows, right=numbers, title=title)
    note(f"{verdicts.layout}; {verdicts.correction}")
    for text in verdicts.notes:
        note(text, "yellow")
    for item in verdicts:
        for text in filter(None, (item.row.detail.reason, *item.row.detail.warnings)):
            note(f"{item.test}: {text}", "yellow")


def _print_ranks(over: OverDatasets, title: str) -> None:
    """Print methods by average rank, and those alike to the best."""
    others = len(over.methods) - 1
    rows = [
        (
            method.arm,
            f"{method.rank:.2f}",
            number(method.mean),
            *map(str, (method.wins, method.ties, method.losses)),
            f"{method.better} of {others}",
            f"{method.worse} of {others}",
        )
        for method in over.methods
    ]
    print_table(("method", *RANKS), rows, right=RANKS, title=title)
    best = next((over.methods[: last + 1] for first, last in over.groups if first == 0), over.methods[:1])
    alike = ", ".join(method.arm for method in best[1:])
    note(f"no difference from {best[0].arm}: {alike}" if alike else f"every method differs from {best[0].arm}")
    note(f"ranks over {len(over.datasets)} data sets; Friedman's p of 'all alike' {probability(over.friedman_p)}")


def _row(item: TableVerdict, *, announced: bool, numbers: Sequence[str]) -> tuple[str | Text, ...]:
    from harness.cli.verdicts import verdict_text

    effect = item.row.detail.effect
    cells = {
        "n": str(item.n or ""),
        "difference": number(item.difference, sign=True),
        "interval": interval(item.low, item.high),
        "adj. p": probability(item.adjusted_p),
        "d_z": number(None if effect is None else effect.d_z, sign=True),
        "P(A > B)": item.share_text,
        "seen at 80 %": number(item.detectable),
    }
    return (
        item.test,
        verdict_text(item.word),
        *(("yes" if item.family == "primary" else "",) if announced else ()),
        *(cells[name] for name in numbers),
    )
