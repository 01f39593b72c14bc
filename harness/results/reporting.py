"""What a report shows: suites, each with the plan whose trials are its results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.judge.stored import as_last_run, judge_now, stored_plan
from harness.plan.planning import Plan, Selection
from harness.registry.shipped import write_site
from harness.store import open_reader
from harness.suite import Suite, load_suite

SCALES = ("mini", "small", "paper", "smoke")
"""The order in which a suite's scales stand on the first page."""


@dataclass(frozen=True, slots=True)
class Reported:
    """A suite and the plan whose trials are its results."""

    suite: Suite
    plan: Plan


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
    return write_site()(database, reported, out, single_file=single_file)


def others_in(database: Path, reported: Sequence[Reported]) -> list[Reported]:
    """What else has run on a database, so that the pages of one run do not hide another's; unreadable suites are left
    out.
    """

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

    with open_reader(database) as reader:
        rows = reader.query(
            "SELECT suite, arg_max(spec ->> '$.path', started_at) FROM runs GROUP BY suite ORDER BY suite"
        ).rows
    if not rows:
        raise HarnessError(f"{database} holds no run yet; 'harness run SUITE' makes one, or name a suite here")
    return [path if path and Path(path).is_file() else name for name, path in rows]
