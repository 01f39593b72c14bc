"""``harness forget``: stored trials that are to count as not stored, and their way back."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import command_line, database_option, json_option
from harness.cli.terminal import counted, print_table
from harness.errors import HarnessError
from harness.store.paths import default_database

if TYPE_CHECKING:
    from harness.results.forgetting import Forgetting

EXAMPLE = """
\b
Examples:
  harness forget 3f2a91 --reason "another file on that node"
  harness forget --suite adamp --arm adamp --seed 2 --dry-run
  harness forget --run latest
  harness forget --undo latest

Forgotten trials are no longer judged, shown, exported or queried, and a run measures them again. The journal keeps
them; their rows stand in the schema 'forgotten' (harness query "FROM forgotten.trials"), and --undo brings them back as
they were.
"""


@click.command("forget", epilog=EXAMPLE)
@click.argument("trials", nargs=-1, metavar="[TRIAL…]")
@click.option(
    "--run", metavar="RUN", help="The trials that this run ran itself: an id, its beginning, a tag, 'latest'."
)
@click.option("--suite", metavar="S", help="Only of this suite.")
@click.option("--benchmark", metavar="B", help="Only of this benchmark.")
@click.option("--arm", metavar="A", help="Only of this arm.")
@click.option("--seed", "seeds", type=int, multiple=True, metavar="N", help="Only of this seed.")
@click.option("--scale", metavar="S", help="Only at this scale.")
@click.option("--status", metavar="W", help="Only with this status, as failed.")
@click.option("--reason", metavar="TEXT", help="Why, for the record.")
@click.option("--dry-run", is_flag=True, help="Show what would be forgotten.")
@click.option("--undo", metavar="WHICH", help="Bring back what was forgotten: an id, its beginning, or 'latest'.")
@click.option("--list", "listed", is_flag=True, help="What was ever forgotten.")
@database_option
@json_option
def forget_command(
    trials: tuple[str, ...],
    undo: str | None,
    listed: bool,
    reason: str | None,
    dry_run: bool,
    database: Path,
    as_json: bool,
    **named: Any,
) -> None:
    """Let stored trials count as not stored. TRIAL is an id or its unique beginning; options narrow the choice."""
    from harness.results.forgetting import ForgetRequest, forget

    request = ForgetRequest(trials, **named)
    if (undo is not None) + listed + (not request.is_empty) > 1:
        raise HarnessError("--undo and --list stand alone")
    if listed:
        _show_list(database, as_json)
    elif undo is not None:
        _undo(database, undo, as_json)
    else:
        found = forget(database, request, reason=reason, command=command_line(), dry_run=dry_run)
        if as_json:
            click.echo(json.dumps(found.as_dict()))
        else:
            _show(found, database)


def _show(found: Forgetting, database: Path) -> None:
    cells = Counter((one.suite, one.scale, one.benchmark, one.arm, one.status) for one in found.trials)
    rows = [(*cell, str(count)) for cell, count in cells.items()]
    title = "forgotten" if found.forget_id else "would be forgotten"
    print_table(("suite", "scale", "benchmark", "arm", "status", "trials"), rows, right=("trials",), title=title)
    if found.unended:
        click.echo(f"{counted(found.unended, 'trial')} that fit wait or run, and have no result to forget")
    if found.verdicts:
        claims = ", ".join(
            dict.fromkeys(f"{claim} ({suite})" if suite else claim for suite, claim, *_ in found.verdicts)
        )
        rest = "now says 'not run'" if found.forget_id else "rests on them"
        click.echo(f"the verdict of {claims} {rest}")
    if found.forget_id:
        where = "" if database == default_database() else f" --db {shlex.quote(str(database))}"
        trials = counted(len(found.trials), "trial")
        click.echo(f"{trials} forgotten; 'harness forget --undo {found.forget_id}{where}' brings them back")


def _undo(database: Path, which: str, as_json: bool) -> None:
    from harness.results.forgetting import undo

    restored = undo(database, which)
    if as_json:
        told = {"forget_id": restored.forget_id, "trials": list(restored.trials), "ran_again": list(restored.ran_again)}
        click.echo(json.dumps(told))
        return
    click.echo(f"{counted(len(restored.trials), 'trial')} of {restored.forget_id} brought back as before")
    if restored.ran_again:
        stay = counted(len(restored.ran_again), "trial")
        click.echo(f"{stay} ran again meanwhile: what is stored now stays, and what was forgotten stays forgotten")


def _show_list(database: Path, as_json: bool) -> None:
    from harness.results.forgetting import forgettings
    from harness.store import open_reader

    with open_reader(database) as reader:
        rows = forgettings(reader)
    if as_json:
        click.echo(json.dumps(rows, default=str))
    elif not rows:
        click.echo("nothing was ever forgotten", err=True)
    else:
        columns = ("forget_id", "forgotten_at", "trials", "restored_at", "reason")
        shown = [[_text(row[column]) for column in columns] for row in rows]
        print_table(("which", "forgotten at", "trials still", "undone at", "reason"), shown, right=("trials still",))


def _text(value: object) -> str:
    return "" if value is None else str(value)[:19] if not isinstance(value, int | str) else str(value)
