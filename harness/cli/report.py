"""``harness claims`` and ``harness report``: conclusions from stored trials."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import PATH, Chosen, FiniteRange, database_option, format_option, selection_options
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.judge.stored import JudgedSuite
    from harness.results.reporting import ReportRequest
    from harness.suite import Suite

_out_option = click.option(
    "--out", type=PATH, help="Write the report to this folder.  [default: report/ next to the database]"
)
_imported_option = click.option(
    "--imported", type=click.Choice(["only"]), help="Judge imported results alone.  [default: they are not used]"
)
UPDATE_SECONDS = 5.0
REPORT_EXAMPLES = """
\b
Examples:
  harness report adamp --single-file
  harness report adamp --serve --port 8000
"""
IMPORTED = ", imported results only"


@click.command(name="claims", epilog="Example: harness claims adamp --format json")
@click.argument("suites", nargs=-1, metavar="[SUITE…]")
@selection_options()
@database_option
@_imported_option
@format_option
def claims_command(suites: tuple[str, ...], chosen: Chosen, database: Path, imported: str | None, form: str) -> None:
    """Judge the claims of a suite from stored trials.

    Without SUITE: of every suite in the database.
    """
    from harness.cli.terminal import counted, plain
    from harness.cli.verdicts import print_ablations, print_claims
    from harness.judge.stored import judge_suite
    from harness.results.reporting import suites_of
    from harness.results.verdict_records import verdict_record
    from harness.results.verdict_text import headline

    if imported is not None:
        _must_name(suites)
    rows = []
    for number, suite in enumerate(suites_of(suites, database)):
        name = suites[number] if suites else suite.name
        if imported is None:
            judged = judge_suite(suite, chosen.selection, database)
            _print_unused(name, judged.suite.name, judged.plan.scale, database)
        else:
            judged = _imported(suite, chosen, database)
        suite, scale = judged.suite, judged.plan.scale
        if form == "json":
            verdicts = {"headline": headline(judged.verdicts), "verdicts": list(map(verdict_record, judged.verdicts))}
            removed = [plain(asdict(row)) for row in judged.ablations]
            rows.append({"suite": suite.name, "scale": scale, "imported": imported, **verdicts, "ablations": removed})
        else:
            print_claims(suite, f"{scale}{IMPORTED}" if imported else scale, judged.verdicts)
            print_ablations(judged.ablations)
        if judged.superseded:
            trials = counted(judged.superseded, "stored trial")
            were, are = ("was", "is") if judged.superseded == 1 else ("were", "are")
            click.echo(
                f"{suite.name}: {trials} of these configurations {were} measured with other code, recipes or data and "
                f"{are} not judged; 'harness run {name} --scale {scale}' runs the current ones",
                err=True,
            )
        if judged.adopted:
            trials = counted(judged.adopted, "trial")
            click.echo(f"{suite.name}: {trials} measured by older code, adopted by 'harness verify --adopt'", err=True)
    if form == "json":
        click.echo(json.dumps(rows))


def _must_name(suites: tuple[str, ...]) -> None:
    if not suites:
        raise HarnessError("--imported: name the suite whose imported results are meant")


def _imported(suite: Suite, chosen: Chosen, database: Path) -> JudgedSuite:
    """Judge a suite on imported trials."""
    from harness.judge.imported import imported_suite, judge_imported
    from harness.judge.stored import judged_suite

    plan, verdicts = judge_imported(suite, chosen.selection, database)
    judged = judged_suite(imported_suite(suite), plan, verdicts, database)
    return replace(judged, superseded=0)  # of trials that ran here; what is asked of is another matter


def _print_unused(name: str, suite: str, scale: str, database: Path) -> None:
    """Print how many imported trials were not used."""
    from harness.cli.terminal import counted
    from harness.judge.imported import unused_imports

    if unused := unused_imports(suite, scale, database):
        scaled = "" if scale == "mini" else f" --scale {scale}"
        trials, are = counted(unused, "imported trial"), "is" if unused == 1 else "are"
        click.echo(
            f"{suite}: {trials} {are} not used; 'harness claims {name}{scaled} --imported only' judges them", err=True
        )


@click.command(name="report", epilog=REPORT_EXAMPLES)
@click.argument("suites", nargs=-1, metavar="[SUITE…]")
@selection_options()
@database_option
@_out_option
@_imported_option
@click.option("--single-file", is_flag=True, help="Write one HTML file instead of a folder.")
@click.option("--trial-pages", is_flag=True, help="Write a page for every trial, too.")
@click.option("--serve", is_flag=True, help="Serve the report on this machine and follow runs until interrupted.")
@click.option("--port", type=click.IntRange(0, 65535), help="Serve on this port.  [default: a free port]")
@click.option(
    "--every", type=FiniteRange(min=1), metavar="SECONDS", help="Update the served pages this often.  [default: 5]"
)
def report_command(
    suites: tuple[str, ...],
    chosen: Chosen,
    database: Path,
    out: Path | None,
    imported: str | None,
    single_file: bool,
    trial_pages: bool,
    serve: bool,
    port: int | None,
    every: float | None,
) -> None:
    """Write the HTML report and print its path, or serve it.

    Without SUITE: every suite in the database. Without --scale: every scale at which a suite has run. A served report
    shows what runs, the time left, failures and added seeds, and updates its pages while results come in.
    """
    from harness.results.reporting import write_report

    if imported is not None:
        _must_name(suites)
    requested = _requested(suites, chosen, database, out, single_file)
    if not serve:
        if port is not None or every is not None:
            raise click.UsageError("--port and --every require --serve")
        click.echo(str(write_report(replace(requested, imported=imported is not None, trial_pages=trial_pages))))
        return
    if imported is not None or single_file:
        raise click.UsageError("--serve excludes --imported and --single-file")
    from harness.results.serve import browse

    browse(requested, port or 0, every or UPDATE_SECONDS, click.echo)


def _requested(
    suites: tuple[str, ...], chosen: Chosen, database: Path, out: Path | None, single_file: bool = False
) -> ReportRequest:
    """Return the requested pages, by default of every scale that ran."""
    from harness.results.reporting import ReportRequest

    source = click.get_current_context().get_parameter_source("scale")
    every = source is click.core.ParameterSource.DEFAULT
    return ReportRequest(database, suites, chosen.selection, every, out, single_file)
