"""``harness db delete`` and ``harness db restore``."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import command_line, database_option, json_option
from harness.cli.terminal import counted, print_table
from harness.store.paths import default_database

if TYPE_CHECKING:
    from harness.results.deletion import Deletion

EXAMPLE = """
\b
Examples:
  harness db delete 3f2a91 --reason "wrong file on that node"
  harness db delete --suite adamp --arm adamp --seed 2 --dry-run
  harness db delete --run latest

Deleted trials are no longer judged, shown, exported or queried, and a run measures them again. The event log keeps
them. Their rows are marked in the tables NAME_with_deleted (harness query "FROM trials_with_deleted WHERE deleted_at IS
NOT NULL"), and 'harness db restore' restores them.
"""


@click.command("delete", epilog=EXAMPLE)
@click.argument("trials", nargs=-1, metavar="[TRIAL…]")
@click.option(
    "--run", metavar="RUN", help="Delete trials that this run ran itself: an id, its beginning, a tag, 'latest'."
)
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
        click.echo(json.dumps(deletion.as_dict()))
    else:
        _show(deletion, database)


def _show(deletion: Deletion, database: Path) -> None:
    cells = Counter((each.suite, each.scale, each.benchmark, each.arm, each.status) for each in deletion.trials)
    rows = [(*cell, str(count)) for cell, count in cells.items()]
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
