"""``harness report``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import database_option, selection, selection_options

if TYPE_CHECKING:
    from harness.results.reporting import ReportRequest


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

    click.echo(str(write_report(requested(suites, options))))


def requested(suites: tuple[str, ...], options: Mapping[str, Any]) -> ReportRequest:
    """The pages that the command now running asks for: without --scale, of every scale that ran."""
    from harness.results.reporting import ReportRequest

    chosen, _ = selection(
        options["scale"], options["benchmarks"], options["arms"], options["seeds"], options["overrides"]
    )
    source = click.get_current_context().get_parameter_source("scale")
    every = source is click.core.ParameterSource.DEFAULT
    return ReportRequest(options["database"], suites, chosen, every, options["out"], bool(options.get("single_file")))
