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
    """Write the HTML site of suites (without names: of every suite in the database) and print its path.

    Without --scale, of every scale at which a suite has run.
    """
    from harness.results.reporting import write_report

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
