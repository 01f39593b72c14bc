"""``harness browse``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import database_option, selection, selection_options


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
    from harness.cli.report import reported_scale
    from harness.results.progress import live
    from harness.results.reporting import write_report
    from harness.results.serve import Site, serve
    from harness.store import open_reader

    chosen, _ = selection(
        options["scale"], options["benchmarks"], options["arms"], options["seeds"], options["overrides"]
    )
    database: Path = options["database"]
    out = options["out"] or database.parent / "report"
    every_scale = reported_scale()

    def write() -> Path:
        # A run judges at its end; judging at every look would only fill the store.
        return write_report(list(suites), chosen, database, out, judging=False, every_scale=every_scale)

    def now() -> dict[str, Any] | None:
        with open_reader(database) as reader:
            return live(reader)

    serve(Site(database, write, now), options["port"], options["every"], click.echo)
