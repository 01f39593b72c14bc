"""``harness import`` and ``init``: suites from external results, scripts and images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import PATH, command_line, database_option, format_option, grouped, scale_option
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.imports.record import ImportedFile


EXAMPLE = """
\b
Examples:
  harness import results.csv --suite mine.yaml --metric acc=accuracy
  harness import mlruns --suite mine.yaml --benchmark digits --arm-column optimizer --arm AdamP=adamp
  harness import runs/ --suite mine.yaml --pattern 'path={arm}/seed{seed}' --metric val/acc=accuracy*100
  harness import wandb/ --suite mine.yaml --map map.yaml

Tables (CSV, TSV, JSON lines, Parquet, DuckDB, SQLite), MLflow stores (mlruns or its database), W&B run folders and
exports, folders of TensorBoard's event files, Optuna studies. 'harness claims SUITE --imported only' judges them.
"""
KINDS = click.Choice(["table", "mlflow", "wandb", "tensorboard", "optuna"])
SHOWN = 6


_columns = grouped(
    click.option("--benchmark-column", metavar="NAME", help="Read the benchmark from this column, parameter or tag."),
    click.option("--arm-column", metavar="NAME", help="… the arm.  [default: the column that has the suite's arms]"),
    click.option("--seed-column", metavar="NAME", help="… the seed.  [default: seed, fold or similar]"),
    click.option("--split-column", metavar="NAME", help="… the split."),
    click.option("--step-column", metavar="NAME", help="… the step, in a table of curves."),
    click.option("--metric-column", metavar="NAME", help="… the metric's name, in a table with one row per number."),
    click.option("--value-column", metavar="NAME", help="… the number, in such a table."),
)
_METRIC, _METRIC_NAMES = "Map an external number to a metric of the suite.", "THEIRS=OURS[@SPLIT][*FACTOR]"
_SPLITS, _SPLIT = click.Choice(["train", "validation", "test"]), "Assign all to this split.  [default: from the metric]"
_PATTERN = "Extract fields from a text: 'path={arm}/seed{seed}'."
_RESAMPLED = "Correct tests for seeds that split one data set: n_test/n_train, or k-fold."
_INDEPENDENT = "State that seeds named like splits or repeats are independent."
_ARM = "Map an external arm to one of the suite; without OURS, skip it."


@click.command("import", epilog=EXAMPLE)
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE…")
@click.option("--suite", required=True, metavar="SUITE", help="Import the results as trials of this suite.")
@click.option("--benchmark", metavar="B", help="Assign all results to this benchmark of the suite.")
@click.option("--map", "map_file", type=PATH, metavar="map.yaml", help="Read the mapping of names from this file.")
@click.option("--arm", "arms", multiple=True, metavar="THEIRS=OURS", help=_ARM)
@click.option("--metric", "metrics", multiple=True, metavar=_METRIC_NAMES, help=_METRIC)
@_columns
@click.option("--split", type=_SPLITS, help=_SPLIT)
@click.option("--pattern", "patterns", multiple=True, metavar="NAME=PATTERN", help=_PATTERN)
@click.option("--where", multiple=True, metavar="NAME=VALUE", help="Import only these results.")
@click.option("--resampled", metavar="RATIO", help=_RESAMPLED)
@click.option("--independent", is_flag=True, help=_INDEPENDENT)
@click.option("--table", metavar="NAME", help="Read this table of a database.")
@click.option("--as", "kind", type=KINDS, help="Read files as this kind.  [default: detected]")
@scale_option()
@database_option
@click.option("--dry-run", is_flag=True, help="Show the trials to import and store nothing.")
@format_option
def import_command(files: tuple[Path, ...], suite: str, scale: str, database: Path, form: str, **names: Any) -> None:
    """Import external results as trials of a suite; they are marked as imported.

    Importing the same file again adds nothing.
    """
    from harness.app.imports import import_results
    from harness.imports.mapping import WORDS, Flags
    from harness.suite import load_suite

    loaded = load_suite(suite)
    dry_run = names.pop("dry_run")
    request = {"scale": scale, "dry_run": dry_run, **{name: names.pop(name) for name in ("map_file", "kind")}}
    columns = {word: column for word in WORDS if (column := names.pop(f"{word}_column")) is not None}
    flags = Flags(columns=columns, **names)  # the other options have the names of its fields
    stored = import_results(files, loaded, database, flags=flags, command=command_line(), **request)
    if form == "json":
        rows = [asdict(imported) for imported in stored]
        click.echo(json.dumps({"suite": loaded.name, "scale": scale, "dry_run": dry_run, "files": rows}))
        return
    for imported in stored:
        _show(imported, dry_run)
    if not dry_run:
        scaled = "" if scale == "mini" else f" --scale {scale}"
        click.echo(f"'harness claims {suite}{scaled} --imported only' judges the imported results")


def _show(imported: ImportedFile, dry_run: bool) -> None:
    """Print a file's imported configurations, its failures and a summary."""
    from harness.cli.terminal import counted, note, print_table

    rows = [(arm["benchmark"], arm["arm"], str(len(arm["seeds"])), _seeds(arm["seeds"])) for arm in imported.cells]
    note(f"{imported.file}: {imported.kind}, sha256 {imported.sha256[:12]}", "bold")
    print_table(("benchmark", "arm", "trials", "seeds"), rows, right=("trials",))
    note(imported.mapping)
    for trial in imported.failed[:SHOWN]:
        note(f"failed: {trial['trial']}: {trial['error']}", "yellow")
    if len(imported.failed) > SHOWN:
        note(f"failed: {len(imported.failed) - SHOWN} more", "yellow")
    for text in imported.notes:
        note(text, "yellow")
    if imported.left_out:
        note(f"{counted(imported.left_out, 'result')} left out by the mapping")
    click.echo(_summary(imported, dry_run))


def _summary(imported: ImportedFile, dry_run: bool) -> str:
    from harness.cli.terminal import counted

    there = f"{imported.stored} {'was' if imported.stored == 1 else 'were'} already there"
    if not imported.new:
        return (
            f"nothing imported: every trial of {imported.file} is already there ({counted(imported.stored, 'trial')})"
        )
    parts = [f"{counted(imported.new, 'trial')} {'would be imported' if dry_run else 'imported'}"]
    parts += [there] if imported.stored else []
    parts += [f"{len(imported.failed)} without a score"] if imported.failed else []
    parts += [f"{imported.series} series with them"] if imported.series else []
    return ", ".join(parts)


def _seeds(seeds: Sequence[int]) -> str:
    """``0 to 4``, or the numbers one by one."""
    ordered = sorted(seeds)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]} to {ordered[-1]}"
    return ", ".join(map(str, ordered[:12])) + (f", … ({len(ordered)} in all)" if len(ordered) > 12 else "")


INIT_EXAMPLE = """
\b
Examples:
  harness init mine.yaml --script train.py --option opt --arm adam --arm adamp --metric accuracy
  harness init photos.yaml --data photos/
"""


_SCRIPT = "Create a suite for this training script, which trains one arm with one seed."
_DATA = "Create a suite for this image folder: train/CLASS/, test/CLASS/."


@click.command("init", epilog=INIT_EXAMPLE)
@click.argument("file", type=PATH, default=Path("mine.yaml"), metavar="[FILE.yaml]")
@click.option("--script", type=PATH, metavar="FILE", help=_SCRIPT)
@click.option("--data", "folder", type=PATH, metavar="DIR", help=_DATA)
@click.option("--arm", "arms", multiple=True, metavar="NAME", help="Add an arm; the first is the baseline.")
@click.option("--option", metavar="NAME", help="Pass the arm's name to the script by this option.")
@click.option("--metric", metavar="M", help="Compare this metric, which the script prints at its end.")
@click.option("--better", type=click.Choice(["higher", "lower"]), help="State which values of the metric are better.")
@click.option("--unit", default="", show_default=False, metavar="percent|…", help="State the unit of the metric.")
@click.option("--seeds", type=click.IntRange(3, 100), default=6, help="Run at least this many seeds of each arm.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def init_command(
    file: Path,
    script: Path | None,
    folder: Path | None,
    arms: tuple[str, ...],
    option: str | None,
    metric: str | None,
    better: str | None,
    unit: str,
    seeds: int,
    force: bool,
) -> None:
    """Create a suite file for your training script or images.

    'harness judge' judges a table of results without a suite.
    """
    from harness.imports.table_question import better_of
    from harness.suite import load_suite
    from harness.suite.starting import FOLDER_ARMS, FOLDER_METRIC, FirstSuite, for_folder, for_script, suite_name

    if (script is None) == (folder is None):
        raise HarnessError("give one of --script FILE and --data DIR; 'harness judge' reads a table of results")
    if file.exists() and not force:
        raise HarnessError(f"{file} exists; choose another name or --force")
    name = suite_name(file)
    if script is not None:
        needed = {"--option NAME": option, "--arm A --arm B": arms, "--metric M": metric}
        if missing := [flag for flag, value in needed.items() if not value]:
            raise HarnessError(
                f"--script needs {', '.join(missing)}; an example: {INIT_EXAMPLE.splitlines()[3].strip()}"
            )
        start = FirstSuite(name, arms, str(metric), better or better_of(str(metric)), unit, seeds, str(option))
        text = for_script(script, start, file.resolve().parent)
    else:
        assert folder is not None
        text = for_folder(folder, FirstSuite(name, arms or FOLDER_ARMS, FOLDER_METRIC, "higher", "percent", seeds))
    file.write_text(text, encoding="utf-8")
    load_suite(file)  # reports where the file is not valid
    click.echo(text, nl=False)
    click.echo(f"\nwritten to {file}; next: harness run {file}", err=True)
