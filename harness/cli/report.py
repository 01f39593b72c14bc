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
    chosen, _ = selection(
        options["scale"], options["benchmarks"], options["arms"], options["seeds"], options["overrides"]
    )
    out = options["out"] or options["database"].parent / "report"
    click.echo(str(write_report(list(suites), chosen, options["database"], out, options["single_file"])))


def write_report(
    names: list[str], chosen: Any, database: Path, out: Path, single_file: bool = False, judging: bool = True
) -> Path:
    """Judge the suites (without names: every suite in the database) and write the site; returns index.html."""
    from harness.claims import judge_now
    from harness.plan import make_plan
    from harness.suite import load_suite
    from reports.site import Reported, write_site

    reported = []
    for name in names or suites_in(database):
        suite = load_suite(name)
        plan = judge_now(suite, chosen, database)[0] if judging else make_plan(suite, chosen)
        reported.append(Reported(suite, plan))
    return write_site(database, reported, out, single_file=single_file)


def suites_in(database: Path) -> list[str]:
    """The files of the suites that have run on a database: where they lay at their newest run, else by name.

    Raises:
        HarnessError: nothing has run yet.
    """
    from harness.errors import HarnessError
    from harness.store import open_reader

    with open_reader(database) as reader:
        rows = reader.query(
            "SELECT suite, arg_max(spec ->> '$.path', started_at) FROM runs GROUP BY suite ORDER BY suite"
        ).rows
    if not rows:
        raise HarnessError(f"{database} holds no run yet; 'harness run SUITE' makes one, or name a suite here")
    return [path if path and Path(path).is_file() else name for name, path in rows]
