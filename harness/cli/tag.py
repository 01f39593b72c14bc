"""``harness tag``: names for runs."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import database_option

EXAMPLE = """
\b
Examples:
  harness tag latest camera-ready baseline
  harness tag 20261124T0930 camera-ready --remove

'harness list runs' shows them, and a tag of one run is taken wherever that run is asked for here: harness forget --run.
"""


@click.command("tag", epilog=EXAMPLE)
@click.argument("run", metavar="RUN")
@click.argument("names", nargs=-1, metavar="[NAME…]")
@click.option("--remove", is_flag=True, help="Take these names from the run.")
@database_option
def tag_command(run: str, names: tuple[str, ...], remove: bool, database: Path) -> None:
    """Give a run names. RUN is an id, its unique beginning, a tag, or 'latest'; without NAME its tags are shown."""
    from harness.results.tagging import tag_run

    run_id, tags = tag_run(database, run, names, remove=remove)
    click.echo(f"{run_id}: {' '.join(tags) or 'no tags'}")
