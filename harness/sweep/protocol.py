"""The tuned protocol of a run: equal searches, the trials of what each arm chose, and the rate curve."""

from __future__ import annotations

from harness.execute.run import RunningSuite
from harness.execute.session import now
from harness.judge.protocols import search_results
from harness.plan.protocols import EqualSearch, rate_plans, searches, tuned_plan, tuned_section
from harness.store.events import SweepEvent
from harness.sweep.engine import Search, sweep_row
from harness.sweep.summary import summarise


def run_protocol(running: RunningSuite) -> None:
    """Run what the tuned claims of a running suite need; what is stored is reused, and a killed run goes on.

    Raises:
        HarnessError: a search that cannot be made; nothing of it has run.
    """
    suite, overrides = running.suite, running.request.selection.overrides
    if tuned_section(suite, running.result.plan.scale) is None:
        return
    asked = searches(suite, running.result.plan, overrides)
    for search in asked:
        _tune(running, search)
        if running.result.stopped is not None:
            return
    with running.session.owner.reader() as reader:
        results = search_results(suite, running.result.plan, reader, overrides)
    whole = [(result.search, result.params) for result in results if result.equal]
    running.run_further(tuned_plan(suite, running.result.plan, whole, overrides).run)
    for each in rate_plans(suite, running.result.plan, overrides):
        if running.result.stopped is None:
            running.run_further(each.plan.run)


def _tune(running: RunningSuite, search: EqualSearch) -> None:
    """One search, stored as a sweep: its page shows every configuration."""
    owner, tuning = running.session.owner, search.tuning
    row = sweep_row(tuning, search.budget, running.request.command)
    owner.record(SweepEvent({**row, "status": "running", "started_at": now()}))
    tried = Search(tuning, search.budget, running.session, running.outcomes)
    try:
        tried.tune()
    except BaseException:
        owner.record(SweepEvent({**row, "status": "cancelled"}))
        raise
    summary = summarise(tuning, tried.points, search.budget)
    status = "done" if running.result.stopped is None else "cancelled"
    owner.record(SweepEvent({**row, "status": status, "spec": {**row["spec"], **summary}}))
