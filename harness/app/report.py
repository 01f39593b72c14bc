"""Judge claims from stored trials, write the report, serve it."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import HarnessError
from harness.judge.imported import imported_suite, judge_imported
from harness.judge.stored import (
    JudgedSuite,
    as_last_run,
    judge_now,
    judge_suite,
    judged_suite,
    named_suite,
    stored_plan,
    stored_suite,
)
from harness.plan.imported import ENVIRONMENT
from harness.plan.planning import Plan, Selection, must_exist
from harness.registry.shipped import page_writer, suite_files
from harness.results.current import Reported
from harness.results.serve import RunProgress, ServedReport, run_progress, serve
from harness.store import Reader, open_reader
from harness.suite import Suite
from harness.vocabulary import WRITTEN_SCALES, Scale

ORDER = (*reversed(WRITTEN_SCALES), Scale.SMOKE)
"""The order in which a suite's scales stand on the first page."""


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """Pages to write from a database.

    Attributes:
        names: suites; empty: every suite in the database.
        selection: scale, benchmarks, arms and seeds; with ``every_scale`` its scale is that of suites that never ran.
        every_scale: each suite at every scale at which it has run.
        out: the folder of the pages; None: ``report`` beside the database.
        single_file: write one file instead of a folder.
        trial_pages: write a page for every trial.
        imported: judge imported results alone; their pages go to a separate folder.
    """

    database: Path
    names: tuple[str, ...]
    selection: Selection
    every_scale: bool = False
    out: Path | None = None
    single_file: bool = False
    trial_pages: bool = False
    imported: bool = False


def judge_claims(
    names: Sequence[str], selection: Selection, database: Path, *, imported: bool = False
) -> Iterator[JudgedSuite]:
    """Judge the claims of suites from stored or from ``imported`` trials; no names: of every suite.

    Raises:
        HarnessError: a suite is invalid, nothing has run, or ``imported`` without a name.
    """
    _check_named(names, imported)
    for suite in suites_of(names, database):
        if imported:
            plan, verdicts = judge_imported(suite, selection, database)
            judged = judged_suite(imported_suite(suite), plan, verdicts, database)
            yield replace(judged, superseded=0)  # trials that ran here are not counted
        else:
            must_exist("benchmark", selection.benchmarks, suite.benchmarks)
            must_exist("arm", selection.arms, {**suite.model.arms, **selection.added_arms})
            yield _part(judge_suite(suite, whole(selection), database), selection)


def whole(selection: Selection) -> Selection:
    """The selection without its filters: verdicts are of the whole suite, whose families correct them."""
    return replace(selection, benchmarks=None, arms=None)


def _part(judged: JudgedSuite, selection: Selection) -> JudgedSuite:
    """The lines of the selected benchmarks and arms."""
    benchmarks, arms = (None if names is None else set(names) for names in (selection.benchmarks, selection.arms))
    verdicts = tuple(
        row
        for row in judged.verdicts
        if (benchmarks is None or benchmarks & set(row.detail.question.benchmarks))
        and (arms is None or arms & {row.detail.question.arm, *row.detail.question.against})
    )
    ablations = [
        row
        for row in judged.ablations
        if (benchmarks is None or row.benchmark in benchmarks) and (arms is None or arms & {row.arm, row.parent})
    ]
    return replace(judged, verdicts=verdicts, ablations=ablations)


def _check_named(names: Sequence[str], imported: bool) -> None:
    if imported and not names:
        raise HarnessError("--imported requires the name of a suite")


def write_report(request: ReportRequest, judging: bool = True) -> Path:
    """Write the site of suites and return its ``index.html``; with ``judging`` judge the stored trials first.

    Raises:
        HarnessError: as :func:`judge_claims`.
    """
    _check_named(request.names, request.imported)
    reported, database = [], request.database
    for suite in suites_of(request.names, database):
        scales = scales_of(suite.name, database, imported=request.imported) if request.every_scale else []
        for scale in scales or [request.selection.scale]:
            selection = replace(request.selection, scale=scale)
            if request.imported:
                plan = judge_imported(suite, selection, database)[0]
                reported.append(Reported(imported_suite(suite), plan))
                continue
            everything = whole(selection)
            judged = judge_now(suite, everything, database)[0] if judging else None
            shown = judged if judged and selection == everything else _last_plan(suite, selection, database)
            reported.append(Reported(suite, shown))
    out = request.out or database.parent / ("report-imported" if request.imported else "report")
    return page_writer("site")(
        database, reported, out, single_file=request.single_file, trial_pages=request.trial_pages
    )


def serve_report(request: ReportRequest, port: int, every: float, announce: Callable[[str], None]) -> None:
    """Write a report, serve it and follow runs until interrupted.

    Args:
        port: of the loopback address; 0 takes a free one.
        every: seconds between updates.
        announce: is called with the address.
    """

    def progress() -> RunProgress | None:
        with open_reader(request.database) as reader:
            return run_progress(reader)

    # a run judges at its end; judging at every update would only fill the store
    write = functools.partial(write_report, request, judging=False)
    serve(ServedReport(request.database, write, progress), port, every, announce)


def write_run_report(database: Path, ran: Sequence[Reported]) -> Path:
    """Write the site of finished runs and of all other suites; return its index.

    The pages of one run must not hide another's; suites that cannot be read are left out.
    """
    existing = {(reported.suite.name, reported.plan.scale) for reported in ran}
    others = []
    with open_reader(database) as reader:
        names = _suites_run(reader)
    for name in names:
        try:
            with open_reader(database) as reader:
                suite = stored_suite(reader, name)
            for scale in scales_of(suite.name, database):
                if (suite.name, scale) not in existing:
                    others.append(Reported(suite, _last_plan(suite, Selection(scale=scale), database)))
        except HarnessError:
            continue
    return page_writer("site")(database, [*ran, *others], database.parent / "report")


def _last_plan(suite: Suite, selection: Selection, database: Path) -> Plan:
    with open_reader(database) as reader:
        return stored_plan(suite, as_last_run(suite, selection, reader), reader)


def scales_of(suite: str, database: Path, imported: bool = False) -> list[str]:
    """The scales at which a suite has run (or was ``imported``), mini first; none without a database."""
    if not database.exists():
        return []
    with open_reader(database) as reader:
        which = "IS NOT DISTINCT FROM" if imported else "IS DISTINCT FROM"
        sql = f"SELECT DISTINCT scale FROM runs WHERE suite = ? AND environment_id {which} ?"
        ran = {str(scale) for (scale,) in reader.query(sql, [suite, ENVIRONMENT]).rows}
    return [scale for scale in ORDER if scale in ran]


def suites_of(names: Sequence[str], database: Path) -> list[Suite]:
    """Return the named suites, or those of a database; without either every shipped suite.

    Raises:
        HarnessError: nothing has run on the database yet, or a suite is invalid.
    """
    if names or not database.exists():
        return [named_suite(name, database) for name in names or suite_files()]
    with open_reader(database) as reader:
        return [stored_suite(reader, name) for name in _suites_run(reader)]


def _suites_run(reader: Reader) -> list[str]:
    sql = "SELECT DISTINCT suite FROM runs WHERE {} ORDER BY suite"
    ran = [str(name) for (name,) in reader.query(sql.format("environment_id IS DISTINCT FROM ?"), [ENVIRONMENT]).rows]
    if not ran:
        imported = reader.query(sql.format("environment_id = ?"), [ENVIRONMENT]).rows
        hint = f", or 'harness report {imported[0][0]} --imported only' for imported results" if imported else ""
        raise HarnessError(f"the database holds no run yet; 'harness run SUITE' makes one, or name a suite here{hint}")
    return ran
