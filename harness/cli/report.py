"""``harness claims``, ``harness report`` and ``harness browse``: what is concluded from the stored trials."""

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
    from harness.plan.imported import How
    from harness.results.reporting import ReportRequest

_out_option = click.option("--out", type=PATH, help="Folder.  [default: report/ beside the database]")
_imported_option = click.option(
    "--imported",
    type=click.Choice(["only", "beside"]),
    help="Imported results: nothing else, or in cells without trials of our own.  [default: not used]",
)
LABELS = {"only": ", imported results only", "beside": ", imported results beside our own"}


@click.command(name="claims", epilog="Example: harness claims adamp --format json")
@click.argument("suites", nargs=-1, metavar="[SUITE…]")
@selection_options()
@database_option
@_imported_option
@format_option
def claims_command(suites: tuple[str, ...], chosen: Chosen, database: Path, imported: How | None, form: str) -> None:
    """Judge a suite's claims from the stored trials (without a name: of every suite that has run on the database)."""
    from harness.cli.terminal import counted, plain
    from harness.cli.verdicts import headline, print_ablations, print_claims, verdict_record
    from harness.judge.stored import judge_suite
    from harness.results.reporting import suite_file, suites_in

    if imported is not None:
        _must_name(suites)
    rows = []
    for name in [suite_file(suite, database) for suite in suites] or suites_in(database):
        if imported is None:
            judged = judge_suite(name, chosen.selection, database)
            _tell_unused(name, judged.suite.name, judged.plan.scale, database)
        else:
            judged = _imported(name, chosen, database, imported)
        suite, scale = judged.suite, judged.plan.scale
        if form == "json":
            told = {"headline": headline(judged.verdicts), "verdicts": list(map(verdict_record, judged.verdicts))}
            removed = [plain(asdict(row)) for row in judged.ablations]
            rows.append({"suite": suite.name, "scale": scale, "imported": imported, **told, "ablations": removed})
        else:
            print_claims(suite, f"{scale}{LABELS[imported]}" if imported else scale, judged.verdicts)
            print_ablations(judged.ablations)
        if judged.superseded:
            trials = counted(judged.superseded, "stored trial")
            were, are = ("was", "is") if judged.superseded == 1 else ("were", "are")
            click.echo(
                f"{suite.name}: {trials} of these cells {were} made by other code, recipes or data and {are} not "
                f"judged; 'harness run {name} --scale {scale}' runs today's",
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


def _imported(name: str, chosen: Chosen, database: Path, how: How) -> JudgedSuite:
    """A suite's verdicts from imported trials."""
    from harness.judge.imported import imported_suite, judge_imported
    from harness.judge.stored import judged_suite
    from harness.suite import load_suite

    suite = load_suite(name)
    plan, verdicts = judge_imported(suite, chosen.selection, database, how)
    judged = judged_suite(imported_suite(suite, how), plan, verdicts, database)
    return replace(judged, superseded=0)  # of trials that ran here; what is asked of is another matter


def _tell_unused(name: str, suite: str, scale: str, database: Path) -> None:
    """Imported trials are not used without being asked for; that there are some is told."""
    from harness.cli.terminal import counted
    from harness.judge.imported import unused_imports

    if unused := unused_imports(suite, scale, database):
        scaled = "" if scale == "mini" else f" --scale {scale}"
        trials, are = counted(unused, "imported trial"), "is" if unused == 1 else "are"
        click.echo(
            f"{suite}: {trials} {are} not used; 'harness claims {name}{scaled} --imported only' judges them", err=True
        )


@click.command(name="report", epilog="Example: harness report adamp --single-file")
@click.argument("suites", nargs=-1, metavar="[SUITE…]")
@selection_options()
@database_option
@_out_option
@_imported_option
@click.option("--single-file", is_flag=True, help="Write one HTML file that can be mailed.")
@click.option("--trial-pages", is_flag=True, help="Write a page for every trial, too.")
def report_command(
    suites: tuple[str, ...],
    chosen: Chosen,
    database: Path,
    out: Path | None,
    imported: How | None,
    single_file: bool,
    trial_pages: bool,
) -> None:
    """Write the HTML site of suites (without names: of every suite in the database) and print its path.

    Without --scale, of every scale at which a suite has run.
    """
    from harness.results.reporting import write_report

    if imported is not None:
        _must_name(suites)
    requested = _requested(suites, chosen, database, out, single_file)
    click.echo(str(write_report(replace(requested, imported=imported, trial_pages=trial_pages))))


@click.command(name="browse", epilog="Example: harness browse adamp --port 8000")
@click.argument("suites", nargs=-1, metavar="[SUITE…]")
@selection_options()
@database_option
@_out_option
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="[default: a free one]")
@click.option("--every", type=FiniteRange(min=1), default=5.0, show_default=True, help="Seconds between looks.")
def browse_command(
    suites: tuple[str, ...], chosen: Chosen, database: Path, out: Path | None, port: int, every: float
) -> None:
    """Serve the report on this machine and follow a run: progress, time left, what runs, failures, bought seeds.

    Pages renew themselves while results come in.
    """
    from harness.results.serve import browse

    browse(_requested(suites, chosen, database, out), port, every, click.echo)


def _requested(
    suites: tuple[str, ...], chosen: Chosen, database: Path, out: Path | None, single_file: bool = False
) -> ReportRequest:
    """The pages that the command now running asks for: without --scale, of every scale that ran."""
    from harness.results.reporting import ReportRequest

    source = click.get_current_context().get_parameter_source("scale")
    every = source is click.core.ParameterSource.DEFAULT
    return ReportRequest(database, suites, chosen.selection, every, out, single_file)
