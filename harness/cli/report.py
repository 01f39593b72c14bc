"""``harness claims`` and ``harness report``: conclusions from stored trials."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import PATH, Chosen, FiniteRange, database_option, format_option, selection_options

if TYPE_CHECKING:
    from harness.judge.stored import JudgedSuite

_imported_option = click.option(
    "--imported", type=click.Choice(["only"]), help="Judge imported results alone.  [default: they are not used]"
)
_OUT = "Write the report to this folder.  [default: report/ next to the database]"
_EVERY = "Update the served pages this often.  [default: 5]"
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
    from harness.app.report import judge_claims
    from harness.cli.terminal import plain
    from harness.cli.verdicts import print_ablations, print_claims
    from harness.results.verdict_text import headline, verdict_record

    rows = []
    every = judge_claims(suites, chosen.selection, database, imported=imported is not None)
    for number, judged in enumerate(every):
        suite, scale = judged.suite, judged.plan.scale
        if form == "json":
            verdicts = {"headline": headline(judged.verdicts), "verdicts": list(map(verdict_record, judged.verdicts))}
            removed = [plain(asdict(row)) for row in judged.ablations]
            rows.append({"suite": suite.name, "scale": scale, "imported": imported, **verdicts, "ablations": removed})
        else:
            print_claims(suite, f"{scale}{IMPORTED}" if imported else scale, judged.verdicts)
            print_ablations(judged.ablations)
        _print_unused(suites[number] if suites else suite.name, judged, database, imported=imported is not None)
    if form == "json":
        click.echo(json.dumps(rows))


def _print_unused(name: str, judged: JudgedSuite, database: Path, *, imported: bool) -> None:
    """Print the numbers of unused and of carried-over trials."""
    from harness.cli.terminal import counted
    from harness.judge.imported import unused_imports

    suite, scale = judged.suite.name, judged.plan.scale
    scaled = "" if scale == "mini" else f" --scale {scale}"
    if not imported and (unused := unused_imports(suite, scale, database)):
        trials, are = counted(unused, "imported trial"), "is" if unused == 1 else "are"
        hint = f"'harness claims {name}{scaled} --imported only' judges them"
        click.echo(f"{suite}: {trials} {are} not used; {hint}", err=True)
    if judged.superseded:
        trials, are = counted(judged.superseded, "stored trial"), "is" if judged.superseded == 1 else "are"
        hint = f"'harness run {name} --scale {scale}' runs the current ones"
        click.echo(f"{suite}: {trials} measured with other code, recipes or data {are} not judged; {hint}", err=True)
    if judged.adopted:
        trials = counted(judged.adopted, "trial")
        click.echo(f"{suite}: {trials} measured by older code, adopted by 'harness verify --adopt'", err=True)


@click.command(name="report", epilog=REPORT_EXAMPLES)
@click.argument("suites", nargs=-1, metavar="[SUITE…]")
@selection_options()
@database_option
@click.option("--out", type=PATH, help=_OUT)
@_imported_option
@click.option("--single-file", is_flag=True, help="Write one HTML file instead of a folder.")
@click.option("--trial-pages", is_flag=True, help="Write a page for every trial, too.")
@click.option("--serve", is_flag=True, help="Serve the report on this machine and follow runs until interrupted.")
@click.option("--port", type=click.IntRange(0, 65535), help="Serve on this port.  [default: a free port]")
@click.option("--every", type=FiniteRange(1), metavar="SECONDS", help=_EVERY)
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
    from harness.app.report import ReportRequest, serve_report, write_report

    source = click.get_current_context().get_parameter_source("scale")
    every_scale, only = source is click.core.ParameterSource.DEFAULT, imported is not None
    request = ReportRequest(database, suites, chosen.selection, every_scale, out, single_file, trial_pages, only)
    if not serve:
        if port is not None or every is not None:
            raise click.UsageError("--port and --every require --serve")
        click.echo(str(write_report(request)))
        return
    if imported is not None or single_file:
        raise click.UsageError("--serve excludes --imported and --single-file")
    serve_report(replace(request, trial_pages=False), port or 0, every or UPDATE_SECONDS, click.echo)
