"""``harness browse``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import database_option, selection_options


@click.command(name="browse", epilog="Example: harness browse adamp --port 8000")
@click.argument("suites", nargs=-1, metavar="[SUITE…]")
@selection_options
@database_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder.  [default: report/ beside the database]")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="[default: a free one]")
@click.option("--every", type=click.FloatRange(min=1), default=5.0, show_default=True, help="Seconds between looks.")
def command(suites: tuple[str, ...], **options: Any) -> None:
    """Serve the report on this machine and follow a run: progress, time left, what runs, failures, bought seeds.

    Pages renew themselves while results come in.
    """
    from harness.cli.report import requested
    from harness.results.serve import browse

    browse(requested(suites, options), options["port"], options["every"], click.echo)
