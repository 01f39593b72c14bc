"""``harness db``: tag runs, delete and restore trials, check and rebuild the database."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness import store
from harness.cli.group import Command, LazyGroup
from harness.cli.options import command_line, database_option, json_option
from harness.cli.terminal import counted, print_table
from harness.store.paths import default_database

if TYPE_CHECKING:
    from harness.results.deletion import Deletion

COMMANDS = {
    "tag": Command("Add tags to a run, remove or show them.", "db:tag_command"),
    "delete": Command("Delete stored trials; they can be restored.", "db:delete_command"),
    "restore": Command("Restore deleted trials, or list all deletions.", "db:restore_command"),
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


TAG_EXAMPLES = """
\b
Examples:
  harness db tag latest camera-ready baseline
  harness db tag 20261124T0930 camera-ready --remove

'harness list runs' shows tags, and 'harness db delete --run' takes them.
"""


@click.command("tag", epilog=TAG_EXAMPLES)
@click.argument("run", metavar="RUN")
@click.argument("names", nargs=-1, metavar="[TAG…]")
@click.option("--remove", is_flag=True, help="Remove these tags from the run.")
@database_option
def tag_command(run: str, names: tuple[str, ...], remove: bool, database: Path) -> None:
    """Add tags to a run. RUN is an id, its unique beginning, a tag, or 'latest'; without TAG the tags are shown."""
    from harness.results.current import tag_run

    run_id, tags = tag_run(database, run, names, remove=remove)
    click.echo(f"{run_id}: {' '.join(tags) or 'no tags'}")


DELETE_EXAMPLES = """
\b
Examples:
  harness db delete 3f2a91 --reason "wrong file on that node"
  harness db delete --suite adamp --arm adamp --seed 2 --dry-run
  harness db delete --run latest

Deleted trials are no longer judged, shown, exported or queried, and a run measures them again. The event log keeps
them. Their rows are marked in the tables NAME_with_deleted (harness query "FROM trials_with_deleted WHERE deleted_at IS
NOT NULL"), and 'harness db restore' restores them.
"""


@click.command("delete", epilog=DELETE_EXAMPLES)
@click.argument("trials", nargs=-1, metavar="[TRIAL…]")
@click.option("--run", metavar="RUN", help="Delete the trials of this run: an id, its beginning, a tag, 'latest'.")
@click.option("--suite", metavar="S", help="Delete only trials of this suite.")
@click.option("--benchmark", metavar="B", help="… of this benchmark.")
@click.option("--arm", metavar="A", help="… of this arm.")
@click.option("--seed", "seeds", type=int, multiple=True, metavar="N", help="… of this seed.")
@click.option("--scale", metavar="S", help="… at this scale.")
@click.option("--status", metavar="W", help="… with this status, for example failed.")
@click.option("--reason", metavar="TEXT", help="Store a reason.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted.")
@database_option
@json_option
def delete_command(
    trials: tuple[str, ...], reason: str | None, dry_run: bool, database: Path, as_json: bool, **names: Any
) -> None:
    """Delete stored trials. TRIAL is an id or its unique beginning; options narrow the selection."""
    from harness.results.deletion import TrialFilter, delete

    which = TrialFilter(trials, **names)
    deletion = delete(database, which, reason=reason, command=command_line(), dry_run=dry_run)
    if as_json:
        click.echo(json.dumps(asdict(deletion)))
    else:
        _show_deletion(deletion, database)


def _show_deletion(deletion: Deletion, database: Path) -> None:
    counts = Counter((each.suite, each.scale, each.benchmark, each.arm, each.status) for each in deletion.trials)
    rows = [(*names, str(many)) for names, many in counts.items()]
    title = "deleted" if deletion.deletion_id else "would be deleted"
    print_table(("suite", "scale", "benchmark", "arm", "status", "trials"), rows, right=("trials",), title=title)
    if deletion.unended:
        click.echo(f"{counted(deletion.unended, 'matching trial')} without a result: queued or running, not deleted")
    if deletion.verdicts:
        claims = dict.fromkeys(
            f"{each.claim_id} ({each.suite})" if each.suite else each.claim_id for each in deletion.verdicts
        )
        verdict = "is now 'not run'" if deletion.deletion_id else "rests on them"
        click.echo(f"the verdict of {', '.join(claims)} {verdict}")
    if deletion.deletion_id:
        where = "" if database == default_database() else f" --db {shlex.quote(str(database))}"
        trials = counted(len(deletion.trials), "trial")
        click.echo(f"{trials} deleted; 'harness db restore {deletion.deletion_id}{where}' restores them")


def _restore(database: Path, which: str, as_json: bool) -> None:
    from harness.results.deletion import restore

    restored = restore(database, which)
    if as_json:
        click.echo(json.dumps(asdict(restored)))
        return
    click.echo(f"{counted(len(restored.trials), 'trial')} of {restored.deletion_id} restored")
    if restored.ran_again:
        click.echo(f"{counted(len(restored.ran_again), 'trial')} ran again since: the new result stays")


def _show_list(database: Path, as_json: bool) -> None:
    from harness.results.deletion import deletions
    from harness.store import open_reader

    with open_reader(database) as reader:
        rows = [asdict(each) for each in deletions(reader)]
    if as_json:
        click.echo(json.dumps(rows, default=str))
    elif not rows:
        click.echo("no deletions", err=True)
    else:
        columns = ("deletion_id", "deleted_at", "trials", "restored_at", "reason")
        shown = [["" if row[column] is None else str(row[column])[:60] for column in columns] for row in rows]
        print_table(("which", "deleted at", "still deleted", "restored at", "reason"), shown, right=("still deleted",))


@click.command("restore", epilog="Example: harness db restore latest")
@click.argument("deletion", required=False, metavar="[DELETION]")
@database_option
@json_option
def restore_command(deletion: str | None, database: Path, as_json: bool) -> None:
    """Restore the trials of a deletion; without an argument, list all deletions.

    DELETION is an id, its unique beginning, or 'latest'. Trials that were rerun since keep their new results.
    """
    if deletion is None:
        _show_list(database, as_json)
    else:
        _restore(database, deletion, as_json)
