"""``harness init``: create a suite file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.cli.options import PATH
from harness.errors import HarnessError

EXAMPLE = """
\b
Examples:
  harness init mine.yaml --script train.py --option opt --arm adam --arm adamp --metric accuracy
  harness init photos.yaml --data photos/
  harness init --table results.csv

Without options the command asks for them.
"""
KINDS = ("script", "folder", "table")


@click.command("init", epilog=EXAMPLE)
@click.argument("file", type=PATH, default=Path("mine.yaml"), metavar="[FILE.yaml]")
@click.option(
    "--script",
    type=PATH,
    metavar="FILE",
    help="Create a suite for this training script, which trains one arm with one seed.",
)
@click.option(
    "--data",
    "folder",
    type=PATH,
    metavar="DIR",
    help="Create a suite for this image folder: train/CLASS/, test/CLASS/.",
)
@click.option("--table", type=PATH, metavar="FILE", help="Print the 'harness judge' command for this table of results.")
@click.option("--arm", "arms", multiple=True, metavar="NAME", help="Add an arm; the first is the baseline.")
@click.option("--option", metavar="NAME", help="Pass the arm's name to the script by this option.")
@click.option("--metric", metavar="M", help="Compare this metric, which the script prints at its end.")
@click.option("--better", type=click.Choice(["higher", "lower"]), help="State which values of the metric are better.")
@click.option("--unit", default="", metavar="percent|…", help="State the unit of the metric.")
@click.option(
    "--seeds",
    type=click.IntRange(3, 100),
    default=6,
    show_default=True,
    help="Run at least this many seeds of each arm.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def init_command(
    file: Path,
    script: Path | None,
    folder: Path | None,
    table: Path | None,
    arms: tuple[str, ...],
    option: str | None,
    metric: str | None,
    better: str | None,
    unit: str,
    seeds: int,
    force: bool,
) -> None:
    """Create a suite file for your training script or images.

    With --table, print the 'harness judge' command for a table of results instead.
    """
    from harness.suite import load_suite
    from harness.suite.starting import (
        FOLDER_ARMS,
        FirstSuite,
        checked_arms,
        flags_of,
        for_folder,
        for_script,
        suite_name,
    )

    if sum(path is not None for path in (script, folder, table)) > 1:
        raise HarnessError("--script, --data and --table exclude each other")
    if script is None and folder is None and table is None:
        kind = _ask("Start from", "script", KINDS, "--script FILE, --data DIR or --table FILE")
        where = Path(_ask("Where is it", None, (), f"--{kind} PATH"))
        script, folder, table = (where if kind == each else None for each in KINDS)
    if table is not None:
        click.echo(_judging(table))
        return
    if file.exists() and not force:
        raise HarnessError(f"{file} exists; choose another name or --force")
    if script is not None:
        flags = ", ".join(flags_of(script)) if script.is_file() else ""
        option = option or _ask(
            f"Which option tells the arms apart ({flags or 'none seen'})", "opt", (), "--option NAME"
        )
        named = arms or tuple(_ask("The arms, baseline first", None, (), "--arm A --arm B").replace(",", " ").split())
        metric = metric or _ask("The metric that it reports", "accuracy", (), "--metric M")
        better = better or _better(metric)
        start = FirstSuite(suite_name(file), checked_arms(named), metric, better, unit, seeds, option)
        text = for_script(script, start, file.resolve().parent)
    else:
        assert folder is not None
        chosen = checked_arms(arms or FOLDER_ARMS)
        start = FirstSuite(suite_name(file), chosen, "top1-accuracy", "higher", "percent", seeds)
        text = for_folder(folder, start)
    file.write_text(text, encoding="utf-8")
    load_suite(file)  # what this writes is valid, or says where it is not
    click.echo(text, nl=False)
    click.echo(f"\nwritten to {file}; next: harness run {file}", err=True)


def _better(metric: str) -> str:
    from harness.imports.table_scores import better_of

    try:
        return better_of(metric)
    except HarnessError:
        return _ask(f"Is a higher or a lower {metric} better", "higher", ("higher", "lower"), "--better higher|lower")


def _ask(question: str, default: str | None, valid: tuple[str, ...], flag: str) -> str:
    """An answer from the terminal.

    Raises:
        HarnessError: nobody can be asked.
    """
    if not sys.stdin.isatty():
        raise HarnessError(f"{question.lower()}? Give {flag}")
    kind = click.Choice(valid) if valid else None
    return str(click.prompt(question, default=default, type=kind))


def _judging(table: Path) -> str:
    """The command that judges a table, as far as the table itself says it."""
    from harness.imports.result_files import read_table

    rows = read_table(table)
    return (
        f"columns of {table}: {', '.join(rows.columns)}\n"
        f"harness judge {table} --method A --against B --metric M [--pair seed] [--by dataset]\n"
        "A and B are two of the arms, as a column names them, or two columns."
    )
