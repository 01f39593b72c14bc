"""The judged comparison that ends a sweep: the chosen configuration of each arm on fresh seeds, scored on test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.judge import claim_rows, judge
from harness.judge.judging import record_judgement
from harness.judge.rows import VerdictRow
from harness.plan.planning import Plan, Selection, make_plan
from harness.store import Writer
from harness.store.events import ClaimsEvent
from harness.suite import Suite
from harness.suite.models import Arm, Claim, MechanismCheck, PaperClaim, Published
from harness.suite.spaces import with_point
from harness.vocabulary import Verdict

if TYPE_CHECKING:
    from harness.plan.tuning import Tuning


def compare(
    tuning: Tuning, run: Callable[[Plan], Iterable[object]], owner: Writer, summary: Mapping[str, Any]
) -> tuple[Plan, Suite, tuple[VerdictRow, ...]]:
    """Run the chosen configurations on fresh seeds and judge their differences.

    Where an arm has no finished configuration nothing is run, and the comparison is ``invalid`` as with any other
    inequality of budgets.
    """
    chosen = summary["chosen"]
    arms = {
        f"{arm}-tuned": with_point(item, tuning.fill, chosen[arm]["params"]) if chosen[arm] else item
        for arm, item in tuning.arms.items()
    }
    suite = derived_suite(tuning, arms)
    wanted = Selection(
        scale=tuning.scale,
        benchmarks=(tuning.benchmark,),
        arms=tuple(arms),
        seeds=tuple(range(tuning.fresh)),
        overrides=tuning.overrides,
    )
    plan = make_plan(suite, wanted)
    if all(chosen.values()):
        for _ in run(plan):
            pass  # the trials are stored, which is all that is asked of them here
    owner.record(ClaimsEvent(suite.name, claim_rows(suite)))
    with owner.reader() as reader:
        judgement = judge(suite, plan, reader)
    if not summary["equal"]:
        reason = unequal(summary)
        invalid = (
            replace(row, verdict=Verdict.INVALID, detail=replace(row.detail, reason=reason))
            for row in judgement.verdicts
        )
        judgement = replace(judgement, verdicts=tuple(invalid))
    record_judgement(owner.record, suite.name, plan.scale, judgement)
    return plan, suite, judgement.verdicts


def unequal(summary: Mapping[str, Any]) -> str:
    """Why a comparison after unequal budgets is invalid."""
    message = ", ".join(f"{arm} {count} ({summary['rungs'][arm]} trials)" for arm, count in summary["told"].items())
    return f"unequal tuning budgets: configurations tried {message}"


def _gates(tuning: Tuning, arm: str, baseline: str) -> list[MechanismCheck] | None:
    """Return the mechanism checks of the claim on these arms.

    A comparison of two arms presumes that they differ in the method alone; between arms of other learning rates and
    weight decays it says nothing of the cause, and is left out.
    """
    for binding in tuning.suite.model.claims:
        if tuning.benchmark in binding.benchmarks and binding.arm == arm and binding.against[:1] == [baseline]:
            own = [gate for gate in binding.gates if gate.arms == (gate.arm,) and gate.arm in tuning.arms]
            return [gate.model_copy(update={"arm": f"{gate.arm}-tuned"}) for gate in own] or None
    return None


def derived_suite(tuning: Tuning, arms: Mapping[str, Arm]) -> Suite:
    """The suite of the comparison: the tuned arms, and one claim for each against the first."""
    baseline, *methods = list(arms)
    metric = tuning.suite.benchmarks[tuning.benchmark].model.metrics[tuning.metric]
    name = f"{tuning.suite.name}-sweep-{tuning.sweep_id}"
    facts, bindings = {}, []
    for arm in methods:
        plain, other = arm.removesuffix("-tuned"), baseline.removesuffix("-tuned")
        identifier = f"{tuning.suite.name}-tuned-{tuning.benchmark}-{plain}-{tuning.sweep_id[:8]}"
        facts[identifier] = PaperClaim(
            id=identifier,
            suite=name,
            benchmark=tuning.benchmark,
            metric=tuning.metric,
            unit=metric.unit,
            better=metric.better,
            method=arm,
            baseline=baseline,
            published=Published(),
            kind="ordering",
            statement=f"Tuned at equal budgets, {plain} beats {other} on {tuning.benchmark}.",
            source="this sweep",
        )
        bindings.append(
            Claim(
                id=identifier,
                benchmarks=[tuning.benchmark],
                arm=arm,
                against=[baseline],
                primary=True,
                protocol="tuned",
                on_divergence="worst",
                mechanism=_gates(tuning, plain, other),
            )
        )
    suite, used = tuning.suite, tuning.suite.benchmarks[tuning.benchmark]
    used = replace(used, used=used.used.model_copy(update={"arms": None}))
    changed = {"suite": name, "arms": {**suite.model.arms, **arms}, "claims": bindings, "facts": list(facts.values())}
    model = suite.model.model_copy(update=changed)
    return replace(suite, model=model, benchmarks={**suite.benchmarks, tuning.benchmark: used}, facts=facts)
