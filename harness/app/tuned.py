"""The tuned protocol of a run: equal searches, the trials of the chosen configurations, learning-rate sensitivity."""

from __future__ import annotations

import functools
from dataclasses import replace

from harness.app.running import RunningSuite
from harness.app.search import Search, sweep_row
from harness.app.session import now
from harness.judge.protocols import search_results
from harness.plan.planning import Plan
from harness.plan.protocols import EqualSearch, rate_plans, searches, together, tuned_plan, tuned_section
from harness.store.events import SweepEvent
from harness.sweep.planned import search_plan
from harness.sweep.summary import summarise


def run_protocol(running: RunningSuite) -> None:
    """Run the trials of tuned claims that are not stored.

    The trials of all searches and of the learning-rate sensitivity are known before any of them has run: they wait in
    one queue, so that processors are idle once at its end and not once a search.

    Raises:
        HarnessError: a search that is not valid; none of its trials has run.
    """
    suite, plan = running.suite, running.result.plan
    if tuned_section(suite, plan.scale) is None:
        return
    equal = searches(suite, plan)
    rates = [each.plan.run for each in rate_plans(suite, plan)]
    ahead = [*(search_plan(search) for search in equal), *rates]
    if ahead:
        _run(running, functools.reduce(together, ahead, replace(plan, trials=(), links=())))
    for search in equal:
        _tune(running, search)
        if running.result.stopped is not None:
            return
    with running.session.owner.reader() as reader:
        results = search_results(suite, plan, reader)
    whole = [(result.search, result.params) for result in results if result.equal]
    _run(running, tuned_plan(suite, plan, whole).run)


def _run(running: RunningSuite, plan: Plan) -> None:
    """Run trials that are neither stored nor failed in this run."""
    for _ in running.once(plan, running.session.stored(plan)):
        pass  # they are counted


def _tune(running: RunningSuite, search: EqualSearch) -> None:
    """Run one search, stored as a sweep: its page shows every configuration."""
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
