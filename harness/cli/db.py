"""``harness db``: check the database against its journal, or make it again."""

from __future__ import annotations

from pathlib import Path

import click

from harness import store
from harness.cli.options import database_option
from harness.cli.terminal import counted


@click.group("db", epilog="\b\nExample:\n  harness db check --db results/harness.duckdb")
def db_command() -> None:
    """Check the database, or make it again from its journal."""


@db_command.command("check", epilog="\b\nExample:\n  harness db check\n\nExit code 1 if something is wrong.")
@database_option
@click.pass_context
def check(context: click.Context, database: Path) -> None:
    """Compare the database with its journal: file, schema, rows, counts, segments."""
    problems = store.check(database)
    for problem in problems:
        click.echo(str(problem))
    if problems:
        count = counted(len(problems), "problem")
        click.echo(f"{count}; `harness db rebuild --db {database}` makes the file from the journal")
        context.exit(1)
    click.echo(f"{database} is sound and agrees with its journal")


@db_command.command("rebuild", epilog="\b\nExample:\n  harness db rebuild --db results/harness.duckdb")
@database_option
@click.option("--force", is_flag=True, help="Even if the journal lacks finished trials that the file has.")
def rebuild(database: Path, force: bool) -> None:
    """Make the database again from the journal; the old file is kept as a backup."""
    made = store.rebuild(database, force=force)
    for problem in made.problems:
        click.echo(str(problem), err=True)
    rows = made.rows
    click.echo(
        f"{database} is made again: {counted(rows['runs'], 'run')}, {counted(rows['trials'], 'trial')} "
        f"({made.finished} finished), {counted(rows['results'], 'result')}, {rows['metrics']} rows of series"
    )
    if made.backup is not None:
        click.echo(f"the old file is {made.backup}")
