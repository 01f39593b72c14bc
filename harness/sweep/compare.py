"""What a sweep concludes: budget curves with bands, chosen values, importances, and a judged comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import stats
from harness.judge import claim_rows, judge
from harness.plan import Plan, Selection, make_plan
from harness.run import record_judgement
from harness.store import Owner, open_reader
from harness.suite import Suite
from harness.suite.models import Arm, Binding, Fact, Published, Sweep
from harness.sweep.space import with_point
from harness.sweep.study import Point, worst_value

if TYPE_CHECKING:
    from harness.sweep.engine import SweepRequest, Tuning


def summarise(tuning: Tuning, points: Mapping[str, Sequence[Point]], budget: int) -> dict[str, Any]:
    """Chosen values, expected best-of-B curves with simultaneous bands (random draws only), their difference,
    best so far, importances, and whether the budgets were equal: plain data for the store and the report.
    """
    sign = 1.0 if tuning.better == "higher" else -1.0
    values = {arm: _told(tuning, points[arm][:budget]) for arm in tuning.arms}
    counts = {arm: sum(point.status != "failed" for point in points[arm][:budget]) for arm in tuning.arms}
    summary: dict[str, Any] = {
        "chosen": {arm: best_point(tuning, points[arm][:budget]) for arm in tuning.arms},
        "told": counts,
        "equal": len(set(counts.values())) == 1 and all(count == budget for count in counts.values()),
        "best_so_far": {arm: list(np.maximum.accumulate(sign * v) * sign) for arm, v in values.items()},
        "importances": {arm: _importances(tuning, arm, points[arm][:budget]) for arm in tuning.arms},
    }
    if tuning.sampler == "random" and min(len(v) for v in values.values()) >= 2:
        summary["curves"] = {arm: _curve(sign * v, sign) for arm, v in values.items()}
        first, *others = list(tuning.arms)
        budgets = range(1, min(len(v) for v in values.values()) + 1)
        summary["differences"] = {
            f"{arm} − {first}": [
                stats.expected_best(sign * values[arm], b) - stats.expected_best(sign * values[first], b)
                for b in budgets
            ]
            for arm in others
        }
    return summary


def _told(tuning: Tuning, points: Sequence[Point]) -> np.ndarray:
    """Values in the order of the draws; a diverged one counts as the worst finite value."""
    worst = worst_value(points, tuning.better == "higher")
    told = [worst if p.status == "diverged" else p.value for p in points if p.status != "failed"]
    return np.asarray([math.nan if value is None else value for value in told], dtype=float)


def best_point(tuning: Tuning, points: Sequence[Point]) -> dict[str, Any]:
    """The configuration with the best value on validation; of equals the first."""
    sign = 1.0 if tuning.better == "higher" else -1.0
    told = [p for p in points if p.status in ("told", "pruned") and p.value is not None and math.isfinite(p.value)]
    if not told:
        return {}
    best = max(told, key=lambda point: (sign * float(point.value or 0.0), -point.number))
    return {"number": best.number, "params": best.params, "value": best.value}


def _curve(signed: np.ndarray, sign: float) -> dict[str, list[float]]:
    """Expected best of B draws, B = 1…N, by the unbiased U-statistic, with the band of the median best of B."""
    band = stats.median_best_band(signed)
    expected = [float(stats.expected_best(signed, int(b))) for b in band.budgets]
    edges = sorted([list(sign * band.low), list(sign * band.high)], key=lambda edge: float(np.nansum(edge)))
    return {
        "budget": [int(b) for b in band.budgets],
        "expected": [sign * value for value in expected],
        "low": [float(value) for value in edges[0]],
        "high": [float(value) for value in edges[1]],
    }


def _importances(tuning: Tuning, arm: str, points: Sequence[Point]) -> dict[str, float]:
    """Shares of the variance by PED-ANOVA; empty where there is too little to tell."""
    import optuna

    finite = [p for p in points if p.value is not None and math.isfinite(p.value)]
    if len(tuning.spaces[arm]) < 2 or len(finite) < 4 or len({p.value for p in finite}) < 2:
        return {}
    try:
        study = tuning.drawing(arm).study(points)
        return {key: float(value) for key, value in optuna.importance.get_param_importances(study).items()}
    except (ValueError, RuntimeError):
        return {}  # a space in which every draw was the same


def compare(
    tuning: Tuning,
    request: SweepRequest,
    run: Callable[[Plan], None],
    owner: Owner,
    points: Mapping[str, Sequence[Point]],
    summary: Mapping[str, Any],
) -> tuple[Plan | None, Suite, list[dict[str, Any]]]:
    """Run each arm's chosen configuration on fresh seeds and judge the differences as any other claim."""
    own = tuning.suite.model.sweep or Sweep()
    fresh = request.fresh or own.fresh
    arms = {
        f"{arm}-tuned": with_point(tuning.arms[arm], tuning.fill, chosen["params"])
        for arm, chosen in summary["chosen"].items()
        if chosen
    }
    if len(arms) < len(tuning.arms):
        return None, tuning.suite, []
    suite = derived_suite(tuning, arms, request.budget)
    chosen_seeds = tuple(range(fresh))
    plan = make_plan(
        suite, Selection(scale=tuning.scale, benchmarks=(tuning.benchmark,), arms=tuple(arms), seeds=chosen_seeds,
                         overrides=tuning.overrides)
    )  # fmt: skip
    run(plan)
    owner.record({"kind": "claims", "suite": suite.name, "claims": claim_rows(suite)})
    owner.flush()
    with open_reader(request.database) as reader:
        judgement = judge(suite, plan, reader, judged_at=datetime.now(UTC).replace(tzinfo=None))
    if not summary["equal"]:
        for verdict in judgement.verdicts:
            told = ", ".join(f"{arm} {count}" for arm, count in summary["told"].items())
            verdict["verdict"] = "invalid"
            verdict["design"] = {
                **verdict["design"],
                "reason": f"unequal tuning budgets: told {told} of {request.budget}",
            }
    record_judgement(owner.record, suite.name, plan.scale, judgement)
    return plan, suite, judgement.verdicts


def derived_suite(tuning: Tuning, arms: Mapping[str, Arm], budget: int) -> Suite:
    """The suite of the comparison: the tuned arms, and one claim for each against the first."""
    baseline, *methods = list(arms)
    metric = tuning.suite.benchmarks[tuning.benchmark].model.metrics[tuning.metric]
    name = f"{tuning.suite.name}-sweep-{tuning.sweep_id}"
    facts, bindings = {}, []
    for arm in methods:
        identifier = f"{tuning.suite.name}-tuned-{tuning.benchmark}-{arm.removesuffix('-tuned')}-{tuning.sweep_id[:8]}"
        facts[identifier] = Fact(
            id=identifier, suite=name, benchmark=tuning.benchmark, metric=tuning.metric, unit=metric.unit,
            better=metric.better, method=arm, baseline=baseline, published=Published(), kind="ordering",
            statement=f"Tuned with {budget} configurations each, {arm.removesuffix('-tuned')} beats "
                      f"{baseline.removesuffix('-tuned')} on {tuning.benchmark}.",
            source="this sweep",
        )  # fmt: skip
        bindings.append(
            Binding(
                id=identifier,
                benchmarks=[tuning.benchmark],
                arm=arm,
                against=[baseline],
                primary=True,
                protocol="tuned",
            )
        )
    used = tuning.suite.benchmarks[tuning.benchmark]
    used = replace(used, used=used.used.model_copy(update={"arms": None}))
    model = tuning.suite.model.model_copy(
        update={
            "suite": name,
            "arms": {**tuning.suite.model.arms, **arms},
            "claims": bindings,
            "facts": list(facts.values()),
        }
    )
    return replace(
        tuning.suite, model=model, benchmarks={**tuning.suite.benchmarks, tuning.benchmark: used}, facts=facts
    )
