"""The tuned protocol of a run: equal searches, the trials of what each arm chose, and the rate curve."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from harness.app.run import RunningSuite
from harness.app.session import now
from harness.app.sweep import Search, sweep_row
from harness.judge.protocols import search_results
from harness.plan.planning import Plan
from harness.plan.protocols import EqualSearch, rate_plans, searches, together, tuned_plan, tuned_section
from harness.plan.remaining import Cell
from harness.store.events import SweepEvent
from harness.sweep.planned import search_plan, tuned_cells
from harness.sweep.summary import summarise


def foreseen(running: RunningSuite) -> Counter[Cell]:
    """How many trials of each cell the protocol will ask for at most, of those that are not stored.

    Raises:
        HarnessError: a search that cannot be made.
    """
    overrides, plan = running.request.selection.overrides, running.result.plan
    cells = tuned_cells(running.suite, plan, overrides)
    stored = running.session.owner.finished(sorted({trial for cell in cells for trial in cell.known}))
    return Counter({(cell.benchmark, cell.arm): cell.to_run(stored) for cell in cells})


def run_protocol(running: RunningSuite) -> None:
    """Run what the tuned claims of a running suite need; what is stored is reused, and a killed run goes on.

    The trials of all searches and of the rate curve are known before any of them has run: they wait in one queue, so
    that processors are idle once at its end and not once a search.

    Raises:
        HarnessError: a search that cannot be made; nothing of it has run.
    """
    suite, overrides, plan = running.suite, running.request.selection.overrides, running.result.plan
    if tuned_section(suite, plan.scale) is None:
        return
    asked = searches(suite, plan, overrides)
    rates = [each.plan.run for each in rate_plans(suite, plan, overrides)]
    ahead = [*(search_plan(suite, search) for search in asked), *rates]
    if ahead:
        running.foresee(_judged(plan, asked))
        _run(running, functools.reduce(together, ahead, replace(plan, trials=(), links=())))
    for search in asked:
        _tune(running, search)
        if running.result.stopped is not None:
            return
    with running.session.owner.reader() as reader:
        results = search_results(suite, plan, reader, overrides)
    whole = [(result.search, result.params) for result in results if result.equal]
    running.foresee({})
    _run(running, tuned_plan(suite, plan, whole, overrides).run)


def _run(running: RunningSuite, plan: Plan) -> None:
    """Run what is missing of a plan, but nothing that has failed in this run already."""
    for _ in running.once(plan, running.session.stored(plan)):
        pass  # counted as they come


def _judged(plan: Plan, asked: Sequence[EqualSearch]) -> Counter[Cell]:
    """The trials of what each arm will have chosen."""
    return Counter(
        {
            (search.benchmark, arm): len(plan.trial_ids(search.benchmark, arm))
            for search in asked
            for arm in search.tuning.arms
        }
    )


def _tune(running: RunningSuite, search: EqualSearch) -> None:
    """One search, stored as a sweep: its page shows every configuration."""
    owner, tuning = running.session.owner, search.tuning
    row = sweep_row(tuning, search.budget, running.request.command)
    owner.record(SweepEvent({**row, "status": "running", "started_at": now()}))
    tried = Search(tuning, search.budget, running.session, running.once)
    try:
        tried.tune()
    except BaseException:
        owner.record(SweepEvent({**row, "status": "cancelled"}))
        raise
    summary = summarise(tuning, tried.points, search.budget)
    status = "done" if running.result.stopped is None else "cancelled"
    owner.record(SweepEvent({**row, "status": status, "spec": {**row["spec"], **summary}}))
