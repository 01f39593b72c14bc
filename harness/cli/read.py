"""``harness list``, ``show``, ``query``, ``diff`` and ``export``."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.base.text import interval, number
from harness.cli.options import PATH, FiniteRange, database_option, json_option
from harness.cli.terminal import counted, plain, print_table
from harness.errors import HarnessError
from harness.store import QueryResult, open_reader
from harness.vocabulary import Protocol

if TYPE_CHECKING:
    from harness.results.arm_changes import ArmChange, ArmRegression
    from harness.results.diff import ContentChange, RunDifference, VerdictChange


@click.command(name="list", epilog="Example: harness list methods 'adam*'")
@click.argument("kind")
@click.argument("pattern", default="*")
@database_option
@json_option
def list_command(kind: str, pattern: str, database: Path, as_json: bool) -> None:
    """List suites, benchmarks, methods, tasks, data, models, runs or trials; PATTERN filters names.

    'harness show TRIAL' shows one trial.
    """
    from harness.results.listing import listed

    rows = [row for row in listed(kind, database) if fnmatch(str(next(iter(row.values()))), pattern)]
    if as_json:
        click.echo(json.dumps(rows, default=str))
    elif rows:
        print_table(list(rows[0]), [[_field(key, value) for key, value in row.items()] for row in rows])
    else:
        click.echo(f"no {kind}", err=True)


def _field(key: str, value: Any) -> str:
    if key == "trial_id":
        return str(value)[:12]
    if isinstance(value, float):
        return f"{value:.1f}"
    return "" if value is None else str(value)


@click.command(name="show", epilog="Example: harness show 3f2a91")
@click.argument("trial")
@database_option
@json_option
def show_command(trial: str, database: Path, as_json: bool) -> None:
    """Show one trial: its content, results and artifacts.

    TRIAL is an id or its unique beginning.
    """
    from harness.results.deletion import whole_id

    with open_reader(database) as reader:
        ids = [whole_id(reader, trial)]
        row = reader.trial(ids[0]) or {}
        results = reader.results(ids).dicts()
        artifacts = reader.artifacts(ids).dicts()
    if as_json:
        click.echo(json.dumps({"trial": row, "results": results, "artifacts": artifacts}, default=str))
        return
    spec = row.pop("spec", None)
    for key, value in row.items():
        if value is not None:
            click.echo(f"{key:>15}  {value}")
    click.echo("\nresults")
    for result in results:
        click.echo(f"  {result['split']:<11} {result['metric']:<40} {result['value']:.6g}")
    for artifact in artifacts:
        click.echo(f"\n{artifact['kind']}  {artifact['path']}  {artifact['caption']}")
    click.echo("\nspec")
    click.echo(json.dumps(json.loads(spec) if isinstance(spec, str) else spec, indent=2))


QUERY_EXAMPLES = """
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
_FORMAT, _WIDTH = "Choose the output format.", "Cut table cells after this many characters; 0: never."


@click.command("query", epilog=QUERY_EXAMPLES)
@click.argument("sql", metavar="SQL")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", help=_FORMAT)
@click.option("--width", type=click.IntRange(min=0), metavar="N", default=WIDTH, help=_WIDTH)
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


EXPORT_EXAMPLES = """
\b
Examples:
  harness export --to latex tables/ --suite adamp --metric top1-accuracy
  harness export --to csv tables/ --suite adamp --scale small --split test
  harness export --to mlflow mlruns/

A table has the trials of one plan: for each configuration those of the newest run, or of --run. Without --suite there
are separate files for every suite and scale.
"""
EXPORTED = ("parquet", "csv", "latex", "markdown", "mlflow", "tensorboard")


@click.command(name="export", epilog=EXPORT_EXAMPLES)
@click.option("--to", "form", type=click.Choice(EXPORTED), required=True, help="Choose the format.")
@click.argument("folder", type=PATH, metavar="DIR")
@click.option("--suite", metavar="S", help="Export only this suite.")
@click.option("--scale", metavar="S", help="Export only this scale.  [default: each separately]")
@click.option("--run", metavar="RUN", help="Export this run's trials: an id, its beginning, 'latest' or 'previous'.")
@click.option("--metric", metavar="M", help="Export only this metric.  [default: all declared ones, each separately]")
@click.option("--split", metavar="SPLIT", help="Export only test, validation or train.  [default: test in tables]")
@click.option("--benchmark", "benchmarks", multiple=True, metavar="B", help="Export only this benchmark.")
@click.option("--arm", "arms", multiple=True, metavar="A", help="Export only this arm.")
@database_option
def export_command(form: str, folder: Path, database: Path, **filters: Any) -> None:
    """Export tables for a paper, data frames or trackers.

    latex and markdown: a paper's tables, arms as columns, and the verdicts. parquet and csv: every table of the store
    and current_results, or with a filter the latter alone. mlflow and
    tensorboard: current trials with curves, written through these tools (paper-harness[trackers]).
    """
    from harness.exports.export import export
    from harness.results.current import ResultFilter

    for path in export(database, form, folder, ResultFilter(**filters)):
        click.echo(str(path))


EXAMPLE = """
\b
Examples:
  harness diff 20261124T0930 latest
  harness diff previous latest --regression 0.5 --metric top1-accuracy

RUN is an id, its unique beginning, 'latest', or 'previous' (the run of the same suite and scale before it).
docs/tables.md has a job for continuous integration.
"""
_REGRESSION = "Exit with code 1 if an arm is worse by more than this in --metric, in its unit."
_BETTER = "State which values are better.  [default: from the benchmark]"
_ALL = "Also compare mechanisms, dummy baselines and other splits; show every change."
NUMBERS = ("first", "second", "n", "difference", "95 % interval")
SHOWN = 8
"""Changes of one kind that are printed without --all."""
LONGEST = 60


@click.command(name="diff", epilog=EXAMPLE)
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@click.option("--metric", metavar="M", help="Compare only this final metric.")
@click.option("--regression", type=FiniteRange(0), metavar="SIZE", help=_REGRESSION)
@click.option("--better", type=click.Choice(["higher", "lower"]), help=_BETTER)
@click.option("--all", "everything", is_flag=True, help=_ALL)
@database_option
@json_option
def diff_command(first: str, second: str, metric: str | None, database: Path, as_json: bool, **values: Any) -> int:
    """Compare two runs: settings, code, environment and scores, paired by seed.

    With --regression an arm fails if the mean of its pairs is worse by more than SIZE and so is the whole 95 % interval
    or every single pair, or if a seed has lost its score.
    """
    from harness.results.arm_changes import compared_seeds, regressions
    from harness.results.diff import difference

    size, better = values["regression"], values["better"]
    if size is not None and metric is None:
        raise HarnessError("--regression requires --metric: the size is in its unit")
    with open_reader(database, consistent=True) as reader:
        compared = difference(reader, first, second, metric=metric, everything=values["everything"])
        seeds = 0 if size is None else compared_seeds(reader, (compared.first, compared.second), str(metric))
    worse = [] if size is None else regressions(compared.cells, size, str(metric), better)
    if as_json:
        click.echo(json.dumps(plain(asdict(compared) | {"regressions": [asdict(item) for item in worse]})))
    else:
        _show(compared, everything=values["everything"])
        if size is not None:
            _show_regressions(worse, f"{metric}: {counted(seeds, 'pair')} of seeds compared, tolerance {size:g}")
    return 1 if worse else 0


def _show(compared: RunDifference, *, everything: bool) -> None:
    click.echo(
        f"{compared.first} → {compared.second}: {counted(compared.shared_trials, 'trial')} shared, "
        f"{compared.only_first} only in the first, {compared.only_second} only in the second"
    )
    parts = (
        ("request", compared.request),
        ("recipe", compared.recipe),
        ("code", compared.code),
        ("environment", compared.environment),
        ("configurations", compared.missing),
    )
    same = [name for name, changes in parts[1:4] if not changes] if compared.paired else []
    for name, changes in parts:
        _show_content(name, changes, everything=everything)
    if same:
        click.echo(f"the same: {', '.join(same)}")
    if not compared.paired:
        click.echo("no configuration and seed in common: recipe and code are not compared")
    _show_lines("verdict", [_verdict_line(verdict) for verdict in compared.verdicts], everything=everything)
    if not compared.verdicts:
        click.echo("every verdict is the same")
    if compared.paired:
        _show_arms(compared.cells)


def _show_content(name: str, changes: Sequence[ContentChange], *, everything: bool) -> None:
    lines = []
    for change in changes:
        where = f" ({_few(change.cells)})" if change.cells else ""
        lines.append(f"{change.key}: {_cut(change.first)} → {_cut(change.second)}{where}")
    _show_lines(name, lines, everything=everything)


def _show_lines(name: str, lines: Sequence[str], *, everything: bool) -> None:
    shown = lines if everything else lines[:SHOWN]
    for line in shown:
        click.echo(f"{name}  {line}")
    if len(lines) > len(shown):
        click.echo(f"{name}  … and {len(lines) - len(shown)} more: --all or --json has them")


def _verdict_line(verdict: VerdictChange) -> str:
    protocol = "" if verdict.protocol == Protocol.PUBLISHED else f" ({verdict.protocol})"
    return f"{verdict.claim_id}{protocol}: {verdict.first or 'none'} → {verdict.second or 'none'}"


def _few(cells: Sequence[str], most: int = 3) -> str:
    return ", ".join(cells[:most]) + (f" and {len(cells) - most} more" if len(cells) > most else "")


def _cut(text: str) -> str:
    return (text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…") or "(nothing)"


def _show_arms(changes: Iterable[ArmChange]) -> None:
    rows = []
    for item in changes:
        means = (number(mean, 6) for mean in (item.first, item.second))
        n = str(item.n) if item.first_n == item.second_n == item.n else f"{item.n} of {item.first_n}, {item.second_n}"
        held = interval(item.low, item.high)
        place = f"{item.benchmark}/{item.arm}"
        rows.append((place, f"{item.split}.{item.metric}", *means, n, number(item.difference, sign=True), held))
    if rows:
        title = "changed arms: second − first, paired by seed"
        print_table(("arm", "metric", *NUMBERS), rows, right=NUMBERS, title=title)
    else:
        click.echo("every score is the same")


def _show_regressions(worse: Sequence[ArmRegression], counted_pairs: str) -> None:
    for item in worse:
        change = item.change
        by = "" if change.difference is None else f" ({number(change.difference, 4, sign=True)})"
        click.echo(f"REGRESSION  {change.benchmark}/{change.arm} {change.metric}{by}: {item.reason}")
    click.echo(f"{'no regression' if not worse else counted(len(worse), 'regression')}: {counted_pairs}")
