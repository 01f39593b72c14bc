"""``harness db tag``: names for runs."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import database_option

EXAMPLE = """
\b
Examples:
  harness db tag latest camera-ready baseline
  harness db tag 20261124T0930 camera-ready --remove

'harness list runs' shows tags, and 'harness db delete --run' takes them.
"""


@click.command("tag", epilog=EXAMPLE)
@click.argument("run", metavar="RUN")
@click.argument("names", nargs=-1, metavar="[TAG…]")
@click.option("--remove", is_flag=True, help="Remove these tags from the run.")
@database_option
def tag_command(run: str, names: tuple[str, ...], remove: bool, database: Path) -> None:
    """Add tags to a run. RUN is an id, its unique beginning, a tag, or 'latest'; without TAG the tags are shown."""
    from harness.results.tagging import tag_run

    run_id, tags = tag_run(database, run, names, remove=remove)
    click.echo(f"{run_id}: {' '.join(tags) or 'no tags'}")
