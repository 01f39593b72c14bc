"""``harness db``: tag runs, delete and restore trials, check and rebuild the database."""

from __future__ import annotations

from pathlib import Path

import click

from harness import store
from harness.cli.group import Command, LazyGroup
from harness.cli.options import database_option
from harness.cli.terminal import counted

COMMANDS = {
    "tag": Command("Add tags to a run, remove or show them.", "tag:tag_command"),
    "delete": Command("Delete stored trials; they can be restored.", "forget:delete_command"),
    "restore": Command("Restore deleted trials, or list all deletions.", "forget:restore_command"),
    "check": Command("Compare the database with its event log.", "db:check_command"),
    "rebuild": Command("Rebuild the database from its event log.", "db:rebuild_command"),
}


@click.group("db", cls=LazyGroup, entries=COMMANDS, epilog="Example: harness db check --db results/harness.duckdb")
def db_command() -> None:
    """Tag runs, delete and restore trials, check and rebuild the database."""


@click.command("check", epilog="Example: harness db check\n\nThe exit code is 1 if there is a problem.")
@database_option
@click.pass_context
def check_command(context: click.Context, database: Path) -> None:
    """Compare the database with its event log: file, schema, rows, counts, log segments."""
    problems = store.check(database)
    for problem in problems:
        click.echo(str(problem))
    if problems:
        count = counted(len(problems), "problem")
        click.echo(f"{count}; `harness db rebuild --db {database}` rebuilds the file from the event log")
        context.exit(1)
    click.echo(f"{database} is valid and agrees with its event log")


@click.command("rebuild", epilog="Example: harness db rebuild --db results/harness.duckdb")
@database_option
@click.option("--force", is_flag=True, help="Rebuild even if the event log lacks finished trials that the file has.")
def rebuild_command(database: Path, force: bool) -> None:
    """Rebuild the database from its event log; the old file stays as a backup."""
    rebuilt = store.rebuild(database, force=force)
    for problem in rebuilt.problems:
        click.echo(str(problem), err=True)
    rows = rebuilt.rows
    click.echo(
        f"{database} rebuilt: {counted(rows['runs'], 'run')}, {counted(rows['trials'], 'trial')} "
        f"({rebuilt.finished} finished), {counted(rows['results'], 'result')}, {rows['metrics']} rows of series"
    )
    if rebuilt.backup is not None:
        click.echo(f"the old file is now {rebuilt.backup}")
