"""Summary of a sweep, and the judged comparison that ends it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from harness import stats
from harness.judge import claim_rows, judge
from harness.judge.judging import record_judgement
from harness.judge.protocols import conditional
from harness.judge.rows import VerdictRow
from harness.plan.planning import Plan, Selection, make_plan
from harness.plan.tuning import Point, Tuning, best_point
from harness.store import Writer
from harness.store.events import ClaimsEvent
from harness.suite import Suite
from harness.suite.models import Arm, Claim, MechanismCheck, Metric, PaperClaim, Published
from harness.suite.spaces import with_point
from harness.sweep.study import Drawing, worst_value
from harness.trial.options import Values
from harness.vocabulary import Verdict

if TYPE_CHECKING:
    from harness.plan.tuning import Tuning


ALPHA = 0.05
RANGES = {"percent": (0.0, 100.0), "fraction": (0.0, 1.0), "BLEU": (0.0, 100.0), "chrF": (0.0, 100.0)}
"""The values that a metric of a unit can take."""


class Curve(TypedDict):
    """The best of B configurations by B, with its band."""

    budget: list[int]
    expected: list[float]
    middle: list[float]
    low: list[float]
    high: list[float]
    band: str


class BudgetCurves(TypedDict, total=False):
    """Curves by arm; differences to the first arm and their bands by pair."""

    curves: dict[str, Curve]
    differences: dict[str, list[float]]
    difference_bands: dict[str, dict[str, list[float]]]


class SweepSummary(BudgetCurves):
    """Results of a sweep by arm; ``equal``: all arms had the whole budget."""

    chosen: dict[str, Values]
    told: dict[str, int]
    rungs: dict[str, int]
    equal: bool
    best_so_far: dict[str, list[float]]
    importances: dict[str, dict[str, float]]


def summarise(tuning: Tuning, points: Mapping[str, Sequence[Point]], budget: int) -> SweepSummary:
    """Chosen values, expected best-of-B curves with simultaneous bands (random draws only), their difference,
    best so far, importances, and whether the budgets were equal.

    Budgets are equal where every arm has ``budget`` tried configurations, each with all of its rungs unless it was
    pruned or diverged.
    """
    tried = {arm: list(points[arm])[:budget] for arm in tuning.arms}
    values = {arm: told_values(tuning, tried[arm]) for arm in tuning.arms}
    message = {arm: sum(point.status != "failed" for point in tried[arm]) for arm in tuning.arms}
    whole = all(len(p.trial_ids) >= tuning.seeds for item in tried.values() for p in item if p.status == "told")
    sign = _sign(tuning)
    curves: BudgetCurves = {}
    if tuning.sampler == "random" and not tuning.first and min(len(v) for v in values.values()) >= 2:
        curves = budget_curves({arm: sign * v for arm, v in values.items()}, sign, _support(tuning, sign))
    return {
        "chosen": {arm: best_point(tuning, tried[arm]) for arm in tuning.arms},
        "told": message,
        "rungs": {arm: sum(len(point.trial_ids) for point in tried[arm]) for arm in tuning.arms},
        "equal": whole and all(count == budget for count in message.values()),
        "best_so_far": {arm: (np.fmax.accumulate(sign * v) * sign).tolist() for arm, v in values.items()},
        "importances": {arm: importances(tuning, arm, tried[arm]) for arm in tuning.arms},
        **curves,
    }


def _sign(tuning: Tuning) -> float:
    return 1.0 if tuning.better == "higher" else -1.0


def _support(tuning: Tuning, sign: float) -> tuple[float, float]:
    """The range of the metric, up = better; an end that is not known is infinite."""
    metrics: Mapping[str, Metric] = tuning.suite.benchmarks[tuning.benchmark].model.metrics
    if tuning.selection_metric not in metrics:
        return -math.inf, math.inf
    metric = metrics[tuning.selection_metric]
    low, high = sorted(sign * end for end in RANGES.get(metric.unit, (-math.inf, math.inf)))
    return low, sign * metric.perfect if metric.perfect is not None else high


def told_values(tuning: Tuning, points: Sequence[Point]) -> np.ndarray:
    """Values in the order of the draws; a diverged one counts as the worst finite value."""
    worst = worst_value(points, tuning.better == "higher")
    message = [worst if p.status == "diverged" else p.value for p in points if p.status != "failed"]
    return np.asarray([math.nan if value is None else value for value in message], dtype=float)


def budget_curves(values: Mapping[str, np.ndarray], sign: float, support: tuple[float, float]) -> BudgetCurves:
    """Curves of arms over B = 1…N, and differences to the first.

    ``values``: up = better; the curves are in the metric's own direction again, differences positive where the arm is
    better than the first. Where the metric's range is known, ``low`` and ``high`` are the simultaneous band of the
    expected best (``band: expected``), else of the median best, which needs no range (``band: median``). The band of a
    difference holds over all B at once too: it is made of two bands at half the error each.
    """
    curves = {arm: _curve(item, sign, support) for arm, item in values.items()}
    first, *others = list(values)
    budgets = range(1, min(map(len, values.values())) + 1)
    halves = {arm: _bands(item, support, ALPHA / 2, budgets) for arm, item in values.items()}
    best = {arm: band.estimate for arm, band in halves.items()}  # what the band is of: the mean or the median best
    differences, bands = {}, {}
    for arm in others:
        pair = f"{arm} − {first}"
        differences[pair] = (best[arm] - best[first]).tolist()
        low, high = halves[arm].low - halves[first].high, halves[arm].high - halves[first].low
        bands[pair] = {"low": low.tolist(), "high": high.tolist()}
    return {"curves": curves, "differences": differences, "difference_bands": bands}


def _bands(values: np.ndarray, support: tuple[float, float], alpha: float, budgets: Sequence[int]) -> stats.BudgetBand:
    if np.isfinite(support).all():
        return stats.expected_best_band(values, alpha, budgets, support)
    return stats.median_best_band(values, alpha, budgets)


def _curve(signed: np.ndarray, sign: float, support: tuple[float, float]) -> Curve:
    budgets = range(1, len(signed) + 1)
    band = _bands(signed, support, ALPHA, budgets)
    low, high = (band.low, band.high) if sign > 0 else (-band.high, -band.low)
    return {
        "budget": list(budgets),
        "expected": [sign * float(stats.expected_best(signed, b)) for b in budgets],
        "middle": (sign * band.estimate).tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
        "band": "expected" if np.isfinite(support).all() else "median",
    }


def importances(tuning: Tuning, arm: str, points: Sequence[Point]) -> dict[str, float]:
    """Shares of the variance among the better configurations by PED-ANOVA; empty where there is too little to tell.

    Source: Watanabe, Bansal & Hutter (2023), PED-ANOVA, arXiv 2304.10255.
    """
    import warnings

    from optuna import exceptions
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    finite = [p for p in points if p.value is not None and math.isfinite(p.value)]
    if len(tuning.spaces[arm]) < 2 or len(finite) < 4 or len({p.value for p in finite}) < 2:
        return {}
    study = Drawing.of(tuning, arm).study(points)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", exceptions.ExperimentalWarning)
            result = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    except (ValueError, RuntimeError):
        return {}  # a space in which every draw was the same
    return {key: float(value) for key, value in result.items()}


def compare(
    tuning: Tuning, run: Callable[[Plan], Iterable[object]], owner: Writer, summary: SweepSummary
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
    judgement = replace(judgement, verdicts=tuple(map(conditional, judgement.verdicts)))
    if not summary["equal"]:
        reason = unequal(summary)
        invalid = (
            replace(row, verdict=Verdict.INVALID, detail=replace(row.detail, reason=reason))
            for row in judgement.verdicts
        )
        judgement = replace(judgement, verdicts=tuple(invalid))
    record_judgement(owner.record, suite.name, plan.scale, judgement)
    return plan, suite, judgement.verdicts


def unequal(summary: SweepSummary) -> str:
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
    model = suite.model.model_copy(update=changed | {"tuned": None})
    return replace(suite, model=model, benchmarks={**suite.benchmarks, tuning.benchmark: used}, facts=facts)
