"""Run a sweep: tune every arm at one budget, then compare the chosen configurations on fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from harness.app.request import SessionRequest
from harness.app.search import Search, sweep_row
from harness.app.session import Session, now
from harness.execute.dispatch import Watch
from harness.execute.environment import environment, environment_id
from harness.judge.rows import VerdictRow
from harness.plan.planning import Plan
from harness.plan.tuning import Point, TuningRequest, make_tuning
from harness.store import Writer
from harness.store.events import EnvironmentEvent, SweepEvent
from harness.suite import Suite
from harness.sweep.compare import compare
from harness.sweep.summary import summarise


@dataclass(frozen=True, slots=True)
class SweepRequest(SessionRequest):
    """The options of ``harness sweep``; None takes the suite's own."""

    benchmark: str
    budget: int
    arms: tuple[str, ...] = ()
    scale: str = "mini"
    sampler: str | None = None
    pruner: str | None = None
    seeds: int | None = None
    fresh: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tuning(self) -> TuningRequest:
        """The request for the tuning alone, without where and how it runs."""
        return TuningRequest(**{each.name: getattr(self, each.name) for each in fields(TuningRequest)})


@dataclass(slots=True)
class SweepResult:
    """The result of a sweep: points and chosen configurations by arm, and the verdicts of the comparison."""

    sweep_id: str
    suite: Suite
    plan: Plan | None
    points: dict[str, list[Point]]
    chosen: dict[str, dict[str, Any]]
    verdicts: tuple[VerdictRow, ...]
    ran: int
    summary: dict[str, Any]


def run_sweep(suite: Suite, request: SweepRequest, watch: Watch) -> SweepResult:
    """Tune every arm at one budget, then compare the chosen configurations.

    Raises:
        HarnessError: before anything runs, if the sweep is not valid.
    """
    request = replace(request, own_methods=(*request.own_methods, *suite.own_methods))
    tuning = make_tuning(suite, request.tuning)
    with Writer(request.database, f"sweep-{tuning.sweep_id}-{now().replace(':', '')}") as owner:
        owner.record(EnvironmentEvent(environment_id(), environment()))
        row = sweep_row(tuning, request.budget, request.command)
        owner.record(SweepEvent({**row, "status": "running", "started_at": now()}))
        try:
            with Session(owner, request, request.policy, watch) as session:
                search = Search(tuning, request.budget, session)
                search.tune()
                summary = summarise(tuning, search.points, request.budget)
                plan, derived, verdicts = compare(tuning, search.run, owner, summary)
        except BaseException:
            owner.record(SweepEvent({**row, "status": "cancelled"}))
            raise
        compared = {"comparison": [verdict.claim_id for verdict in verdicts]}
        owner.record(SweepEvent({**row, "status": "done", "spec": {**row["spec"], **summary, **compared}}))
    return SweepResult(tuning.sweep_id, derived, plan, search.points, summary["chosen"], verdicts, search.ran, summary)
