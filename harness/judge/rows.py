"""From tests and their family's correction to a verdict's row, with the whole design stored in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from harness import stats
from harness.judge.absolute import ExaminedValue
from harness.judge.checks import CheckResult
from harness.judge.correction import CorrectedFamily, correction_name, needed_p
from harness.judge.design import ClaimDesign
from harness.judge.evidence import Evidence
from harness.judge.gates import GateReading, mechanism_in_words
from harness.judge.pairs import Pairs, mean_of, pair
from harness.judge.tests import inference
from harness.judge.units import ExaminedBlock, Unit
from harness.judge.verdicts import decide, least_favourable
from harness.suite.models import REPORTED
from harness.vocabulary import Protocol, Verdict

COUNTS = ("missing", "failed", "diverged", "mismatched")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """A row of ``verdicts``; ``design`` is JSON data: what was fixed before, and the numbers beside the verdict."""

    claim_id: str
    scale: str
    protocol: str = Protocol.PUBLISHED
    judged_at: datetime
    n: int = 0
    difference: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p: float | None = None
    adjusted_p: float | None = None
    e_value: float | None = None
    verdict: str
    stand_in: tuple[str, ...]
    sequential: bool
    design: Mapping[str, Any] = field(repr=False)

    def columns(self) -> dict[str, Any]:
        """Values by column."""
        return {each.name: getattr(self, each.name) for each in fields(self)} | {"stand_in": list(self.stand_in)}

    def with_design(self, **more: Any) -> VerdictRow:
        """The row with more in its design."""
        return replace(self, design={**self.design, **more})


@dataclass(frozen=True, slots=True)
class VerdictTrialRow:
    """A row of ``verdict_trials``: a trial that a claim looks at, and on which side."""

    claim_id: str
    scale: str
    judged_at: datetime
    trial_id: str
    side: str
    protocol: str = Protocol.PUBLISHED


@dataclass(frozen=True, slots=True)
class GateRow:
    """A row of ``gates``: a gate on the benchmark where it has least slack."""

    claim_id: str
    scale: str
    metric: str
    arm: str
    value: float
    threshold: float
    passed: bool
    protocol: str = Protocol.PUBLISHED


def finite(value: float | None) -> float | None:
    """None for what JSON has no number for."""
    return value if value is not None and math.isfinite(value) else None


def empty_row(design: ClaimDesign, judged_at: datetime, word: str, reason: str | None) -> VerdictRow:
    """A verdict without numbers; its design has the names that reports use."""
    contrast = design.multiplicity.contrast
    stored = design.as_dict() | {
        "registered": design.registered,
        "contrast": contrast,
        "contrast_id": contrast,
        "smallest": None,
        "missing": 0,
        "failed": 0,
        "diverged": 0,
        "unequal": [],
        "reason": reason,
    }
    return VerdictRow(
        claim_id=design.claim_id,
        scale=design.scale,
        protocol=design.question.protocol,
        judged_at=judged_at,
        verdict=word,
        stand_in=design.stand_in,
        sequential=design.rules.sequential,
        design=stored,
    )


def identity_row(design: ClaimDesign, check: CheckResult | None, judged_at: datetime) -> VerdictRow:
    """An identity: holds, fails or reported."""
    question = design.question
    if question.check == REPORTED:
        reason = question.note or "only the authors' files show it"
        return empty_row(design, judged_at, Verdict.REPORTED, reason)
    if check is None:
        return empty_row(design, judged_at, Verdict.NOT_RUN, "the check is computed by 'harness run'")
    if check.error is not None:
        row = empty_row(design, judged_at, Verdict.INVALID, check.error)
    else:
        agree = stats.relation_holds(check.ours, check.theirs, check.tolerance, check.relation)
        row = empty_row(design, judged_at, Verdict.HOLDS if agree else Verdict.FAILS, check.detail)
        row = replace(row, difference=finite(check.ours - check.theirs))
    shown = {
        "name": question.check,
        "ours": finite(check.ours),
        "theirs": finite(check.theirs),
        "tolerance": check.tolerance,
        "unit": check.unit,
        "relation": check.relation,
    }
    return row.with_design(check=shown, check_result=asdict(check))


def difference_row(
    design: ClaimDesign, units: Sequence[Unit], evidence: Evidence, family: CorrectedFamily, judged_at: datetime
) -> VerdictRow:
    """The verdict of a claim that is judged from differences."""
    words = unit_words(design, units, family)
    at = _deciding(units, words, family)
    unit, word, reading = units[at], words[at], units[at].reading
    row = empty_row(design, judged_at, word, unit.stopped.reason if unit.stopped else _why(design, units, words))
    if reading is not None and (unit.stopped is None or unit.stopped.verdict == Verdict.INACTIVE):
        estimate = None if math.isnan(reading.estimate) else reading.estimate
        row = replace(row, n=reading.n, difference=estimate, ci_low=reading.low, ci_high=reading.high)
    if reading is not None and unit.stopped is None:
        e_value = reading.e if design.rules.sequential else None
        row = replace(row, p=reading.p, adjusted_p=family.adjusted[unit.contrast], e_value=e_value)
    blocks = [examined for each in units for examined in each.blocks]
    gates = [gate for examined in blocks for gate in examined.gates]
    entries = [entry for each, said in zip(units, words, strict=True) for entry in _entries(design, each, said)]
    return row.with_design(
        **_numbers(design, unit, family),
        **_rule_in_use(design, unit),
        **_corrected(design, unit.contrast, family),
        **unit.method,
        deciding=[examined.block.benchmark for examined in unit.blocks],
        per_benchmark=entries,
        shown=[entry for examined in blocks for entry in _shown(design, examined, evidence)],
        mechanism=mechanism_in_words(gates),
        gate_readings=[_gate_entry(gate) for gate in gates],
    )


def absolute_row(
    design: ClaimDesign, values: Sequence[ExaminedValue], family: CorrectedFamily, judged_at: datetime
) -> VerdictRow:
    """The verdict of a claim about a value: the least favourable benchmark decides."""
    words = [each.verdict(family.adjusted, design.rules.alpha) for each in values]
    at = least_favourable(words)
    value, word = values[at], words[at]
    row = empty_row(design, judged_at, word, value.stopped.reason if value.stopped else None)
    if value.scores:
        row = replace(row, n=len(value.scores))
        if word != Verdict.NOT_COMPARABLE:
            row = replace(row, difference=value.difference, ci_low=value.low, ci_high=value.high)
    if value.p is not None:
        row = replace(row, p=value.p, adjusted_p=family.adjusted[value.block.contrast])
    entries = [
        {
            "benchmark": each.block.benchmark,
            "stand_in_name": each.block.named,
            "contrast": each.block.contrast,
            "n": len(each.scores),
            "difference": finite(each.difference),
            "low": finite(each.low),
            "high": finite(each.high),
            "p": each.p,
            "verdict": said,
            "method_mean": mean_of(each.scores),
            "baseline_mean": None,
            "scores": {str(seed): score for seed, score in each.scores.items()},
        }
        for each, said in zip(values, words, strict=True)
    ]
    return row.with_design(
        **_corrected(design, value.block.contrast, family),
        equivalence_margin=value.margin,
        margin_from=value.margin_from,
        missing=value.missing,
        failed=value.failed,
        diverged=value.diverged,
        per_benchmark=entries,
    )


def _corrected(design: ClaimDesign, contrast: str, family: CorrectedFamily) -> dict[str, Any]:
    """The test that decides, who shares it, and the family whose correction it went through."""
    place = design.multiplicity
    claims = list(place.contrast_claims)
    return {
        "contrast": {"id": contrast, "claims": claims, "n": len(claims)},
        "correction": correction_name(place.family),
        "family_size": len(family.p),
        "family_p": {name: finite(value) for name, value in family.p.items()},
        "family_bounds": [[*bound, value] for bound, value in family.bounds.items()],
    }


def unit_words(design: ClaimDesign, units: Sequence[Unit], family: CorrectedFamily) -> list[str]:
    """The word of each test of a claim."""
    return [_word(design, unit, family) for unit in units]


def _word(design: ClaimDesign, unit: Unit, family: CorrectedFamily) -> str:
    if unit.stopped is not None or unit.reading is None:
        return unit.stopped.verdict if unit.stopped else Verdict.INVALID
    adjusted_p, smaller = family.adjusted[unit.contrast], family.smaller_of(unit)
    return decide(unit.reading, adjusted_p, unit.criteria(design), smaller)


def _deciding(units: Sequence[Unit], words: list[str], family: CorrectedFamily) -> int:
    """The least favourable unit; among equals the one with the weakest evidence."""
    worst = words[least_favourable(words)]
    same = [i for i, word in enumerate(words) if word == worst]
    return max(same, key=lambda i: family.adjusted.get(units[i].contrast, 1.0) if units[i].p is not None else 2.0)


def _why(design: ClaimDesign, units: Sequence[Unit], words: list[str]) -> str | None:
    said = []
    if len(units) > 1 and len(set(words)) > 1:
        named = (f"{unit.blocks[0].block.benchmark}: {word}" for unit, word in zip(units, words, strict=True))
        said.append(f"the least favourable of {len(units)} benchmarks decides ({'; '.join(named)})")
    if design.absent:
        said.append(f"not at this scale: {', '.join(design.absent)}")
    return "; ".join(said) or None


def _rule_in_use(design: ClaimDesign, unit: Unit) -> dict[str, Any]:
    """By which rule evidence from bought seeds was read, and whether the registered cap still holds."""
    rule, n = design.rules.stopping, unit.reading.n if unit.reading is not None else 0
    if rule is None:
        return {}
    if rule.after(n).capped:
        return {"stopping_rule": f"capped at {rule.cap} seeds"}
    beyond = rule.capped and f"{n} pairs are beyond the registered cap of {rule.cap} seeds, whose guarantee has ended"
    return {"stopping_rule": f"1/α: {beyond or f'no table for a cap of {rule.cap} at g = {rule.g:g}'}"}


def _level(design: ClaimDesign, unit: Unit, family: CorrectedFamily) -> float:
    """The level at which the family's correction, as it stands, accepts this test."""
    if unit.contrast not in family.p:
        return design.rules.alpha
    return needed_p(design.multiplicity.family, family.p, unit.contrast, design.rules.alpha)


def _numbers(design: ClaimDesign, unit: Unit, family: CorrectedFamily) -> dict[str, Any]:
    """What is shown beside the verdict: counts over every comparison, and effects of the one that decides."""
    every = [each for examined in unit.blocks for each in examined.pairs]
    counts = {name: sum(getattr(each, name) for each in every) for name in COUNTS}
    unequal = [text for examined in unit.blocks for text in examined.block.unequal]
    single: dict[str, Any] = {}
    if len(unit.blocks) == 1 and every:
        examined = unit.blocks[0]
        at = min(range(len(every)), key=lambda place: _strength(every[place]))
        decides = {"decided_against": examined.block.comparisons[at][1]} if len(every) > 1 else {}
        single = _single(design, examined, every[at], _level(design, unit, family)) | decides
    return {"smallest": unit.smallest, **counts, "unequal": unequal, **single}


def _strength(pairs: Pairs) -> float:
    """Of several comparisons that must all hold the weakest decides; one with a lost pair is the weakest."""
    effect = stats.hedges_d(pairs.values)
    return -math.inf if math.isnan(effect) else effect


def _single(design: ClaimDesign, examined: ExaminedBlock, pairs: Pairs, level: float) -> dict[str, Any]:
    values, alpha = pairs.values, design.rules.alpha
    fixed = len(values) >= 5 and not design.rules.sequential
    boot = stats.studentised_bootstrap(values, alpha) if fixed else None
    effect = _effect_size(design, values)
    # the interval's end nearest to zero: the measured effect itself is too large wherever it was worth telling
    nearest = max(effect.low, -effect.high)
    sure = nearest > 0 and not design.rules.sequential
    return {
        "d_z": finite(effect.estimate),
        "d_z_low": finite(effect.low),
        "d_z_high": finite(effect.high),
        "level": level,
        "mde": finite(stats.minimum_detectable_effect(values, level)),
        "seeds_needed": stats.seeds_for_power(nearest, 1.0, level, maximum=100_000) if sure else None,
        "seeds_won": stats.seeds_won(values)[0],
        "sign_flip_p": stats.sign_flip_p(values),
        "correlation": _correlation(pairs),
        "relative_error_reduction": _reduction(design, examined, pairs),
        "bootstrap": None if boot is None else {"low": finite(boot.low), "high": finite(boot.high)},
    }


def _effect_size(design: ClaimDesign, values: list[float]) -> stats.Interval:
    """d_z with its exact interval; where seeds are bought at α over the number of looks, so that it holds at each."""
    rule, alpha = design.rules.stopping, design.rules.alpha
    if rule is None:
        return stats.effect_size_interval(values, alpha)
    if rule.cap is None or not rule.after(len(values)).capped:
        return stats.Interval(stats.hedges_d(values), -math.inf, math.inf, len(values))
    return stats.effect_size_interval(values, alpha / int(rule.looks(rule.cap).sum()))


def _reduction(design: ClaimDesign, examined: ExaminedBlock, pairs: Pairs) -> float | None:
    """Mean difference as a share of the baseline's distance from the perfect score; up = as claimed."""
    values, perfect = pairs.values, examined.block.perfect
    baseline = [pairs.baseline[seed] for seed in sorted(pairs.baseline)]
    if perfect is None or design.pairing.log_ratio or not baseline or not all(map(math.isfinite, values)):
        return None
    error = abs(perfect - sum(baseline) / len(baseline))
    return sum(values) / len(values) / error if error > 0 else None


def _entries(design: ClaimDesign, unit: Unit, word: str) -> list[dict[str, Any]]:
    """One entry a benchmark and comparison."""
    return [
        _entry(design, pairs)
        | {
            "benchmark": examined.block.benchmark,
            "shares": list(examined.block.shares),
            "arm": upper,
            "against": lower,
            "metric": examined.block.metric,
            "contrast": examined.block.contrast,
            "stand_in_name": examined.block.named,
            "verdict": word if len(unit.blocks) == 1 else None,
            "reason": examined.stopped.reason if examined.stopped else None,
            "unequal": list(examined.block.unequal),
            "active": examined.active if examined.gates else None,
            **{name: getattr(pairs, name) for name in COUNTS},
        }
        for examined in unit.blocks
        for (upper, lower), pairs in zip(examined.block.comparisons, examined.pairs, strict=True)
    ]


def _entry(design: ClaimDesign, pairs: Pairs) -> dict[str, Any]:
    values, rules = pairs.values, design.rules
    tested = inference(tuple(values), rules.stopping, rules.alpha)
    return {
        "n": tested.n,
        "difference": finite(tested.estimate),
        "low": finite(tested.low),
        "high": finite(tested.high),
        "p": tested.p,
        "differences": {str(seed): pairs.differences[seed] for seed in sorted(pairs.differences)},
        "method_mean": mean_of(pairs.method),
        "baseline_mean": mean_of(pairs.baseline),
        "correlation": _correlation(pairs),
    }


def _correlation(pairs: Pairs) -> float | None:
    """Of the two arms' scores over seeds: what pairing removes."""
    common = sorted(set(pairs.method) & set(pairs.baseline))
    method, baseline = [pairs.method[seed] for seed in common], [pairs.baseline[seed] for seed in common]
    return finite(stats.paired_correlation(method, baseline).estimate)


def _shown(design: ClaimDesign, examined: ExaminedBlock, evidence: Evidence) -> list[dict[str, Any]]:
    """Comparators that do not decide, unadjusted."""
    block = examined.block
    return [
        _entry(design, pairs) | {"against": arm, "benchmark": block.benchmark}
        for arm in design.question.others
        if block.cells.get(arm) and (pairs := pair(design.pairing, block, block.chain[0], arm, evidence)).planned
    ]


def _gate_entry(gate: GateReading) -> dict[str, Any]:
    rule = gate.rule
    return {
        "benchmark": gate.benchmark,
        "metric": rule.metric,
        "arm": rule.arm,
        "relative_to": rule.relative_to,
        "minus": rule.minus,
        "op": rule.op,
        "threshold": rule.value,
        "value": gate.value,
        "passed": gate.passed,
        "reason": gate.reason or None,
    }
