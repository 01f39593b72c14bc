"""``harness db``: check the database against its journal, or make it again."""

from __future__ import annotations

from pathlib import Path

import click

from harness import store
from harness.cli.terminal import counted

_database = click.option(
    "--db",
    "path",
    type=click.Path(path_type=Path),
    default=store.default_database,
    show_default="HARNESS_DB or results/harness.duckdb",
    help="The database.",
)


@click.group("db", epilog="\b\nExample:\n  harness db check --db results/harness.duckdb")
def command() -> None:
    """Check the database, or make it again from its journal."""


@command.command("check", epilog="\b\nExample:\n  harness db check\n\nExit code 1 if something is wrong.")
@_database
@click.pass_context
def check(context: click.Context, path: Path) -> None:
    """Compare the database with its journal: file, schema, rows, counts, segments."""
    problems = store.check(path)
    for problem in problems:
        click.echo(str(problem))
    if problems:
        click.echo(
            f"{counted(len(problems), 'problem')}; `harness db rebuild --db {path}` makes the file from the journal"
        )
        context.exit(1)
    click.echo(f"{path} is sound and agrees with its journal")


@command.command("rebuild", epilog="\b\nExample:\n  harness db rebuild --db results/harness.duckdb")
@_database
@click.option("--force", is_flag=True, help="Even if the journal lacks finished trials that the file has.")
def rebuild(path: Path, force: bool) -> None:
    """Make the database again from the journal; the old file is kept as a backup."""
    made = store.rebuild(path, force=force)
    for problem in made.problems:
        click.echo(str(problem), err=True)
    rows = made.rows
    click.echo(
        f"{path} is made again: {counted(rows['runs'], 'run')}, {counted(rows['trials'], 'trial')} "
        f"({made.finished} finished), {counted(rows['results'], 'result')}, {rows['metrics']} rows of series"
    )
    if made.backup is not None:
        click.echo(f"the old file is {made.backup}")
