"""Ablations: what changing one part of a method does, arm by arm. Exploratory, never a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import stats
from harness.errors import HarnessError, choices
from harness.judge import fairness
from harness.judge.design import DesignBlock, Pairing
from harness.judge.effects import Effect, effects_of, measure
from harness.judge.evidence import Evidence, read_evidence
from harness.judge.pairs import pair
from harness.judge.rows import finite
from harness.plan.planning import Plan
from harness.store.queries import Queries
from harness.suite import Suite
from harness.suite.ablate import Design, designs_of
from harness.suite.models import Arm, Metric
from harness.vocabulary import SLOTS

LABEL = "exploratory"


def parent_of(name: str, arms: Mapping[str, Arm]) -> str | None:
    """The arm that an ablation changes: the one that it names, else the most similar arm of role method, else baseline.

    Similar: the most equal slots and overrides, then the most slots filled by the same method; the first declared of
    several. Baselines count where no arm of role method shares a method with it; None where none of both does.

    Raises:
        HarnessError: ``parent`` names no arm.
    """
    arm = arms[name]
    if arm.parent is not None:
        if arm.parent not in arms:
            raise HarnessError(f"the arm '{name}' has the parent '{arm.parent}'; {choices(arms, arm.parent)}")
        return arm.parent
    for role in ("method", "baseline"):
        scored = {other: _likeness(arm, one) for other, one in arms.items() if one.role == role}
        best = max(scored.values(), default=(0, 0))
        if best[1]:
            return next(other for other, score in scored.items() if score == best)
    return None


def _likeness(arm: Arm, other: Arm) -> tuple[int, int]:
    """(equal slots and overrides, slots filled by one method)."""
    equal = sum(getattr(arm, slot) == getattr(other, slot) and getattr(arm, slot) is not None for slot in SLOTS)
    equal += sum(other.set.get(key) == value for key, value in arm.set.items())
    same = sum(bool(_names(getattr(arm, slot)) & _names(getattr(other, slot))) for slot in SLOTS)
    return equal, same


def _names(slot: Any) -> set[str]:
    if slot is None:
        return set()
    if isinstance(slot, str):
        return {slot}
    filled = [slot] if "name" in slot else slot.values()
    return {one if isinstance(one, str) else str(one.get("name")) for one in filled}


def ablations(suite: Suite, plan: Plan, reader: Queries) -> list[dict[str, Any]]:
    """What each ablation does on each benchmark's first metric, then main effects and interactions of factorials.

    ``difference`` is ablation minus parent (or the effect's contrast), up = better; the interval is unadjusted,
    ``adjusted_p`` is Benjamini–Hochberg over all rows. ``effect`` is ``change``, ``main effect`` or ``interaction``;
    ``changes`` says what the two trials differ in, or names the levels.
    """
    arms = {**suite.model.arms, **plan.arms}
    wanted = {(name, parent_of(name, arms)) for name, arm in arms.items() if arm.role == "ablation"}
    designs = designs_of(suite.model)
    # a design may use an arm that is there for itself
    wanted |= {(name, design.parents[cell]) for design in designs for cell, name in design.cells.items()
               if cell in design.parents}  # fmt: skip
    order = list(arms)
    cells = {
        (benchmark, name, parent): (plan.trial_ids(benchmark, name), plan.trial_ids(benchmark, parent))
        for benchmark in plan.settings
        for name, parent in sorted(wanted, key=lambda pair: (order.index(pair[0]), pair[1] or ""))
        if parent is not None
    }
    cells = {key: both for key, both in cells.items() if all(both) and both[0] != both[1]}
    factorials = {
        (benchmark, number): {arm: plan.trial_ids(benchmark, arm) for arm in design.cells.values()}
        for benchmark in plan.settings
        for number, design in enumerate(designs)
        if design.kind == "factorial"
    }
    factorials = {key: by_arm for key, by_arm in factorials.items() if all(by_arm.values())}
    trials = {trial for pairs in cells.values() for cell in pairs for trial in cell.values()}
    trials |= {trial for by_arm in factorials.values() for cell in by_arm.values() for trial in cell.values()}
    evidence = read_evidence(reader, trials)
    rows = [_change(suite, plan, key, both, evidence) for key, both in cells.items()]
    for (benchmark, number), by_arm in factorials.items():
        design = designs[number]
        rows += [_effect(suite, plan, benchmark, design, one, by_arm, evidence) for one in effects_of(design)]
    rows = _distinct(rows)
    adjusted = stats.benjamini_hochberg([row["p"] for row in rows])
    return [row | {"adjusted_p": float(value)} for row, value in zip(rows, adjusted, strict=True)]


def _distinct(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Benchmarks that one stand-in serves count once."""
    seen: dict[Any, dict[str, Any]] = {}
    for row in rows:
        trials = row.pop("trials")
        if trials in seen:
            seen[trials]["shares"].append(row["benchmark"])
        else:
            seen[trials] = row
    return list(seen.values())


def _measured(suite: Suite, plan: Plan, benchmark: str) -> tuple[str, Metric]:
    served = plan.settings[benchmark].served_by
    return next(iter(suite.benchmarks[served].model.metrics.items()))


def _change(
    suite: Suite,
    plan: Plan,
    key: tuple[str, str, str],
    cells: tuple[dict[int, str], dict[int, str]],
    evidence: Evidence,
) -> dict[str, Any]:
    benchmark, name, parent = key
    metric, described = _measured(suite, plan, benchmark)
    sign = 1 if described.better == "higher" else -1
    block = DesignBlock(
        benchmark, (), metric, described.split, described.better, described.unit, sign, (name, parent), False,
        {name: cells[0], parent: cells[1]},
    )  # fmt: skip
    # the plainest question: a difference whose diverged trials are left out and counted
    pairs = pair(Pairing(), block, name, parent, evidence)
    specs = {trial.trial_id: trial.spec for trial in plan.trials}
    one, other = specs[cells[0][min(cells[0])]], specs[cells[1][min(cells[1])]]
    return {
        "benchmark": benchmark, "shares": [], "effect": "change", "arm": name, "parent": parent,
        **_tested(suite, plan, benchmark, pairs.values), "changes": fairness.changes(one, other),
        "missing": pairs.missing, "failed": pairs.failed, "diverged": pairs.diverged,
        "trials": ("change", tuple(sorted(cells[0].items())), tuple(sorted(cells[1].items()))),
    }  # fmt: skip


def _effect(
    suite: Suite,
    plan: Plan,
    benchmark: str,
    design: Design,
    effect: Effect,
    by_arm: Mapping[str, dict[int, str]],
    evidence: Evidence,
) -> dict[str, Any]:
    measured = measure(effect, design, by_arm, evidence, *_measured(suite, plan, benchmark))
    weighed = sorted(
        (tuple(sorted(by_arm[design.cells[cell]].items())), weight) for cell, weight in effect.weights.items()
    )
    return {
        "benchmark": benchmark, "shares": [], "effect": effect.kind, "arm": effect.name, "parent": design.arm,
        **_tested(suite, plan, benchmark, [measured.values[seed] for seed in sorted(measured.values)]),
        "changes": [f"{factor}: {level}" for factor, level in effect.levels], "missing": measured.missing,
        "failed": measured.failed, "diverged": measured.diverged, "trials": (effect.kind, tuple(weighed)),
    }  # fmt: skip


def _tested(suite: Suite, plan: Plan, benchmark: str, values: list[float]) -> dict[str, Any]:
    """The columns of a test of differences."""
    metric, described = _measured(suite, plan, benchmark)
    tested = stats.paired_t(values, suite.model.judge.alpha)
    return {
        "metric": metric, "unit": described.unit, "better": described.better, "n": tested.n,
        "difference": finite(tested.estimate), "ci_low": finite(tested.low), "ci_high": finite(tested.high),
        "p": tested.p, "d_z": finite(stats.hedges_d(values)), "label": LABEL, "correction": "Benjamini–Hochberg",
        "stand_in": list(plan.settings[benchmark].stand_in),
    }  # fmt: skip
