"""``harness report``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import database_option, selection, selection_options


@click.command(name="report", epilog="Example: harness report adamp --single-file")
@click.argument("suites", nargs=-1, metavar="[SUITE…]")
@selection_options
@database_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder.  [default: report/ beside the database]")
@click.option("--single-file", is_flag=True, help="One HTML file that can be mailed.")
def command(suites: tuple[str, ...], **options: Any) -> None:
    """Write the HTML site of suites (without names: of every suite in the database) and print its path."""
    from harness.claims import judge_now
    from harness.errors import HarnessError
    from harness.store import open_reader
    from harness.suite import load_suite
    from reports.site import Reported, write_site

    database: Path = options["database"]
    names = list(suites)
    if not names:
        with open_reader(database) as reader:
            names = [row[0] for row in reader.query("SELECT DISTINCT suite FROM runs ORDER BY suite").rows]
        if not names:
            raise HarnessError(f"{database} holds no run yet; 'harness run SUITE' makes one, or name a suite here")
    chosen, _ = selection(
        options["scale"], options["benchmarks"], options["arms"], options["seeds"], options["overrides"]
    )
    reported = []
    for name in names:
        suite = load_suite(name)
        plan, _ = judge_now(suite, chosen, database)
        reported.append(Reported(suite, plan))
    out = options["out"] or database.parent / "report"
    click.echo(str(write_site(database, reported, out, single_file=options["single_file"])))
