"""``harness report``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import database_option, selection, selection_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.site import Reported

SCALES = ("mini", "small", "paper", "smoke")
"""The order in which a suite's scales stand on the first page."""


@click.command(name="report", epilog="Example: harness report adamp --single-file")
@click.argument("suites", nargs=-1, metavar="[SUITE…]")
@selection_options
@database_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder.  [default: report/ beside the database]")
@click.option("--single-file", is_flag=True, help="One HTML file that can be mailed.")
def command(suites: tuple[str, ...], **options: Any) -> None:
    """Write the HTML site of suites (without names: of every suite in the database) and print its path.

    Without --scale, of every scale at which a suite has run.
    """
    chosen, _ = selection(
        options["scale"], options["benchmarks"], options["arms"], options["seeds"], options["overrides"]
    )
    out = options["out"] or options["database"].parent / "report"
    every = reported_scale()
    index = write_report(
        list(suites), chosen, options["database"], out, single_file=options["single_file"], every_scale=every
    )
    click.echo(str(index))


def reported_scale() -> bool:
    """Whether the command now running was given no --scale: then every scale that ran is reported."""
    source = click.get_current_context().get_parameter_source("scale")
    return source is click.core.ParameterSource.DEFAULT


def write_report(
    names: list[str],
    chosen: Any,
    database: Path,
    out: Path,
    *,
    single_file: bool = False,
    judging: bool = True,
    every_scale: bool = False,
) -> Path:
    """Write the site of suites and return its ``index.html``.

    Args:
        names: suites; none: every suite in the database.
        chosen: scale, benchmarks, arms and seeds; with ``every_scale`` its scale is that of suites that never ran.
        database: the store's file.
        out: where the site goes.
        single_file: one file instead of a folder.
        judging: judge from the stored trials first.
        every_scale: each suite at every scale at which it has run.
    """
    from harness.claims import as_last_run, judge_now, stored_plan
    from harness.store import open_reader
    from harness.suite import load_suite
    from reports.site import Reported, write_site

    reported = []
    for name in names or suites_in(database):
        suite = load_suite(name)
        scales = (scales_of(suite.name, database) if every_scale else []) or [chosen.scale]
        for scale in scales:
            selection_ = replace(chosen, scale=scale)
            if judging:
                plan = judge_now(suite, selection_, database)[0]
            else:
                with open_reader(database) as reader:
                    plan = stored_plan(suite, as_last_run(suite, selection_, reader), reader)
            reported.append(Reported(suite, plan))
    return write_site(database, reported, out, single_file=single_file)


def others_in(database: Path, reported: Sequence[Reported]) -> list[Reported]:
    """What else has run on a database, so that the pages of one run do not hide another's; unreadable suites are left
    out.
    """
    from harness.claims import as_last_run, stored_plan
    from harness.errors import HarnessError
    from harness.plan import Selection
    from harness.store import open_reader
    from harness.suite import load_suite
    from reports.site import Reported

    known = {(one.suite.name, one.plan.scale) for one in reported}
    found = []
    for name in suites_in(database):
        try:
            suite = load_suite(name)
            for scale in scales_of(suite.name, database):
                if (suite.name, scale) not in known:
                    with open_reader(database) as reader:
                        plan = stored_plan(suite, as_last_run(suite, Selection(scale=scale), reader), reader)
                    found.append(Reported(suite, plan))
        except HarnessError:
            continue
    return found


def scales_of(suite: str, database: Path) -> list[str]:
    """The scales at which a suite has run, mini first; none without a database."""
    from harness.store import open_reader

    if not database.exists():
        return []
    with open_reader(database) as reader:
        rows = reader.query("SELECT DISTINCT scale FROM runs WHERE suite = ?", [suite]).rows
    found = {str(scale) for (scale,) in rows}
    return [scale for scale in SCALES if scale in found]


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
