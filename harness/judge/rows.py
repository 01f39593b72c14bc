"""Rows of verdicts, from tests and their family's correction."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from harness import stats
from harness.judge.absolute import ExaminedValue
from harness.judge.correction import CorrectedFamily, Families, correction_name, needed_p
from harness.judge.design import ClaimDesign, DesignBlock
from harness.judge.detail import (
    CheckResult,
    EffectSize,
    Ends,
    FamilyTest,
    MeasuredComparison,
    Numbers,
    VerdictDetail,
    detail_of,
    finite,
    from_json,
)
from harness.judge.evidence import Evidence
from harness.judge.mechanism import mechanism_in_words
from harness.judge.pairs import Pairs, mean_of, pair
from harness.judge.tests import inference
from harness.judge.units import ExaminedBlock, Unit
from harness.judge.verdicts import decide, least_favourable
from harness.suite.models import REPORTED
from harness.vocabulary import Protocol, Verdict

UNCORRECTED = CorrectedFamily()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """A row of ``verdicts``; the column ``design`` holds the detail as JSON."""

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
    detail: VerdictDetail = field(repr=False)

    def columns(self) -> dict[str, Any]:
        """Values by column, as plain JSON data but for ``judged_at``."""
        plain = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "detail"}
        return plain | {"stand_in": list(self.stand_in), "design": self.detail.to_json()}


@dataclass(frozen=True, slots=True)
class VerdictTrialRow:
    """A row of ``verdict_trials``: a trial of a claim and its side."""

    claim_id: str
    scale: str
    judged_at: datetime
    trial_id: str
    side: str
    protocol: str = Protocol.PUBLISHED


@dataclass(frozen=True, slots=True)
class MechanismRow:
    """A row of ``gates``: a mechanism check where it has least slack."""

    claim_id: str
    scale: str
    metric: str
    arm: str
    value: float
    threshold: float
    passed: bool
    protocol: str = Protocol.PUBLISHED


def stored_row(stored: Mapping[str, Any]) -> VerdictRow:
    """A row of the database."""
    plain = {each.name: stored[each.name] for each in fields(VerdictRow) if each.name != "detail"}
    return VerdictRow(**plain | {"stand_in": tuple(stored["stand_in"] or ())}, detail=from_json(stored["design"] or {}))


def empty_row(design: ClaimDesign, judged_at: datetime, verdict: str, reason: str | None) -> VerdictRow:
    """A verdict without numbers."""
    return VerdictRow(
        claim_id=design.claim_id,
        scale=design.scale,
        protocol=design.question.protocol,
        judged_at=judged_at,
        verdict=verdict,
        stand_in=design.stand_in,
        sequential=design.rules.sequential,
        detail=detail_of(design, reason),
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
    return replace(row, detail=replace(row.detail, check=check))


def difference_row(
    design: ClaimDesign, units: Sequence[Unit], evidence: Evidence, families: Families, judged_at: datetime
) -> VerdictRow:
    """The verdict of a claim about differences."""
    words = [verdict_of(design, unit, families.get(unit.contrast, UNCORRECTED)) for unit in units]
    at = _deciding(units, words, families)
    unit, word, reading = units[at], words[at], units[at].reading
    family = families.get(unit.contrast, UNCORRECTED)
    row = empty_row(design, judged_at, word, unit.stopped.reason if unit.stopped else _why(design, units, words))
    if reading is not None and (unit.stopped is None or unit.stopped.verdict == Verdict.INACTIVE):
        estimate = None if math.isnan(reading.estimate) else reading.estimate
        row = replace(row, n=reading.n, difference=estimate, ci_low=reading.low, ci_high=reading.high)
    if reading is not None and unit.stopped is None:
        e_value = reading.e if design.rules.sequential else None
        row = replace(row, p=reading.p, adjusted_p=family.adjusted[unit.contrast], e_value=e_value)
    blocks = [examined for each in units for examined in each.blocks]
    gates = tuple(gate for examined in blocks for gate in examined.gates)
    entries = [entry for each, label in zip(units, words, strict=True) for entry in _entries(design, each, label)]
    detail = replace(
        row.detail,
        numbers=_numbers(design, unit),
        test=_family_test(unit.contrast, family),
        other_families=_other_families(unit.contrast, [each.contrast for each in units], families),
        effect=_effect(design, unit, family),
        per_benchmark=tuple(entries),
        shown=tuple(entry for examined in blocks for entry in _shown(design, examined, evidence)),
        mechanism=mechanism_in_words(gates),
        gate_readings=gates,
    )
    return replace(row, detail=detail)


def absolute_row(
    design: ClaimDesign, values: Sequence[ExaminedValue], families: Families, judged_at: datetime
) -> VerdictRow:
    """The verdict of a claim about a value: the least favourable benchmark decides."""
    words = [each.verdict(families.get(each.block.contrast, UNCORRECTED), design.rules.alpha) for each in values]
    at = least_favourable(words)
    value, word = values[at], words[at]
    family = families.get(value.block.contrast, UNCORRECTED)
    row = empty_row(design, judged_at, word, value.stopped.reason if value.stopped else None)
    if value.scores:
        row = replace(row, n=len(value.scores))
        if word != Verdict.NOT_COMPARABLE:
            row = replace(row, difference=value.difference, ci_low=value.low, ci_high=value.high)
    if value.p is not None:
        row = replace(row, p=value.p, adjusted_p=family.adjusted[value.block.contrast])
    entries = [
        MeasuredComparison(
            benchmark=each.block.benchmark,
            stand_in_name=each.block.named,
            contrast=each.block.contrast,
            n=len(each.scores),
            difference=finite(each.difference),
            low=finite(each.low),
            high=finite(each.high),
            p=each.p,
            verdict=label,
            method_mean=mean_of(each.scores),
            scores=each.scores,
        )
        for each, label in zip(values, words, strict=True)
    ]
    numbers = Numbers(
        missing=value.missing,
        failed=value.failed,
        diverged=value.diverged,
        equivalence_margin=value.margin,
        margin_from=value.margin_from,
    )
    test = _family_test(value.block.contrast, family)
    return replace(row, detail=replace(row.detail, numbers=numbers, test=test, per_benchmark=tuple(entries)))


def _family_test(contrast: str, family: CorrectedFamily) -> FamilyTest:
    p = {name: finite(value) for name, value in family.p.items()}
    bounds = tuple((*bound, value) for bound, value in family.bounds.items())
    return FamilyTest(
        contrast=contrast, family=family.name, correction=correction_name(family.name), p=p, bounds=bounds
    )


def _other_families(contrast: str, tests: Sequence[str], families: Families) -> tuple[FamilyTest, ...]:
    """The first test of each family that does not decide."""
    others = {families[name].name: name for name in reversed(tests) if name in families}
    deciding = families.get(contrast, UNCORRECTED).name
    return tuple(_family_test(name, families[name]) for family, name in others.items() if family != deciding)


def verdict_of(design: ClaimDesign, unit: Unit, family: CorrectedFamily) -> str:
    """The verdict of one test of a claim."""
    if unit.stopped is not None or unit.reading is None:
        return unit.stopped.verdict if unit.stopped else Verdict.INVALID
    adjusted_p, smaller = family.adjusted[unit.contrast], family.smaller_of(unit.p_smaller)
    return decide(unit.reading, adjusted_p, unit.criteria(design), smaller)


def _deciding(units: Sequence[Unit], words: list[str], families: Families) -> int:
    """The least favourable unit; among equals that with the weakest evidence."""
    worst = words[least_favourable(words)]
    same = [i for i, word in enumerate(words) if word == worst]
    tested = [(families.get(unit.contrast, UNCORRECTED), unit) for unit in units]
    weak = [2.0 if unit.p is None else family.adjusted.get(unit.contrast, 1.0) for family, unit in tested]
    return max(same, key=lambda i: weak[i])


def _why(design: ClaimDesign, units: Sequence[Unit], words: list[str]) -> str | None:
    text = []
    if len(units) > 1 and len(set(words)) > 1:
        named = (f"{unit.blocks[0].block.benchmark}: {word}" for unit, word in zip(units, words, strict=True))
        text.append(f"the least favourable of {len(units)} benchmarks decides ({'; '.join(named)})")
    if design.absent:
        text.append(f"not at this scale: {', '.join(design.absent)}")
    return "; ".join(text) or None


def _stopping_rule(design: ClaimDesign, unit: Unit) -> str | None:
    rule, n = design.rules.stopping, unit.reading.n if unit.reading is not None else 0
    if rule is None:
        return None
    if rule.after(n).capped:
        return f"capped at {rule.cap} seeds"
    beyond = rule.capped and f"{n} pairs are beyond the registered maximum of {rule.cap} seeds: its guarantee has ended"
    return f"1/α: {beyond or f'no table for a maximum of {rule.cap} at g = {rule.g:g}'}"


def _level(design: ClaimDesign, unit: Unit, family: CorrectedFamily) -> float:
    if unit.contrast not in family.p:
        return design.rules.alpha
    return needed_p(family.name, family.p, unit.contrast, design.rules.alpha)


def _numbers(design: ClaimDesign, unit: Unit) -> Numbers:
    every = [each for examined in unit.blocks for each in examined.pairs]
    return Numbers(
        smallest=unit.smallest,
        missing=sum(each.missing for each in every),
        failed=sum(each.failed for each in every),
        diverged=sum(each.diverged for each in every),
        mismatched=sum(each.mismatched for each in every),
        unequal=tuple(text for examined in unit.blocks for text in examined.block.unequal),
        deciding=tuple(examined.block.benchmark for examined in unit.blocks),
        stopping_rule=_stopping_rule(design, unit),
        standardised_by=unit.standardised_by,
        replicated_over=unit.replicated_over,
    )


def _effect(design: ClaimDesign, unit: Unit, family: CorrectedFamily) -> EffectSize | None:
    """Sizes of the comparison that decides; None over several benchmarks."""
    every = [each for examined in unit.blocks for each in examined.pairs]
    if len(unit.blocks) != 1 or not every:
        return None
    examined = unit.blocks[0]
    at = min(range(len(every)), key=lambda place: _strength(every[place]))
    effect = _single(design, examined, every[at], _level(design, unit, family))
    return replace(effect, decided_against=examined.block.comparisons[at][1]) if len(every) > 1 else effect


def _strength(pairs: Pairs) -> float:
    """The weakest comparison decides; one with a lost pair is the weakest."""
    effect = stats.hedges_d(pairs.values, noise=pairs.noise)
    return -math.inf if math.isnan(effect) else effect


def _single(design: ClaimDesign, examined: ExaminedBlock, pairs: Pairs, level: float) -> EffectSize:
    values, alpha, noise = pairs.values, design.rules.alpha, pairs.noise
    better = stats.share_better(values, _level_of_looks(design) or alpha)
    shared = EffectSize(
        level=level,
        seeds_won=stats.seeds_won(values)[0],
        correlation=_correlation(pairs),
        share_better=finite(better.estimate),
        share_ends=None if noise.resampled or not values else Ends(better.low, better.high),
    )
    if design.pairing.ranked:
        return shared
    fixed = not design.rules.sequential and not noise.resampled  # resampled pairs have no independent signs and draws
    boot = stats.studentised_bootstrap(values, alpha, noise=noise) if fixed and len(values) >= 5 else None
    effect = _effect_size(design, values, noise)
    # the interval's end nearest to zero: the measured effect itself is too large wherever it was worth telling
    nearest = max(effect.low, -effect.high)
    sure = nearest > 0 and fixed
    return replace(
        shared,
        d_z=finite(effect.estimate),
        d_z_low=finite(effect.low),
        d_z_high=finite(effect.high),
        mde=finite(stats.minimum_detectable_effect(values, level, noise=noise, rule=design.rules.stopping)),
        seeds_needed=stats.seeds_for_power(nearest, 1.0, level, maximum=100_000) if sure else None,
        again=finite(stats.same_verdict_again(values, level, design.rules.g, noise=noise)) if sure else None,
        sign_flip_p=None if noise.resampled else stats.sign_flip_p(values),
        relative_error_reduction=_reduction(design, examined, pairs),
        bootstrap=None if boot is None else Ends(finite(boot.low), finite(boot.high)),
    )


def _effect_size(design: ClaimDesign, values: list[float], noise: stats.Noise) -> stats.Interval:
    """d_z with its exact interval; with added seeds at α over the number of interim analyses."""
    rule, level = design.rules.stopping, _level_of_looks(design)
    if level is None or (rule is not None and not rule.after(len(values)).capped):
        return stats.Interval(stats.hedges_d(values, noise=noise), -math.inf, math.inf, len(values))
    return stats.effect_size_interval(values, level, noise=noise)


def _level_of_looks(design: ClaimDesign) -> float | None:
    """α over the number of interim analyses; None where that is unlimited."""
    rule, alpha = design.rules.stopping, design.rules.alpha
    if rule is None:
        return alpha
    return None if rule.cap is None or not rule.capped else alpha / int(rule.looks(rule.cap).sum())


def _reduction(design: ClaimDesign, examined: ExaminedBlock, pairs: Pairs) -> float | None:
    """Mean difference as a share of the baseline's distance from perfect."""
    values, perfect = pairs.values, examined.block.perfect
    baseline = [pairs.baseline[seed] for seed in sorted(pairs.baseline)]
    if perfect is None or design.pairing.log_ratio or not baseline or not all(map(math.isfinite, values)):
        return None
    error = abs(perfect - sum(baseline) / len(baseline))
    return sum(values) / len(values) / error if error > 0 else None


def _entries(design: ClaimDesign, unit: Unit, label: str) -> list[MeasuredComparison]:
    return [
        replace(
            _entry(design, examined.block, (upper, lower), pairs),
            shares=examined.block.shares,
            contrast=examined.block.contrast,
            stand_in_name=examined.block.named,
            verdict=label if len(unit.blocks) == 1 else None,
            reason=examined.stopped.reason if examined.stopped else None,
            unequal=examined.block.unequal,
            active=examined.active if examined.gates else None,
        )
        for examined in unit.blocks
        for (upper, lower), pairs in zip(examined.block.comparisons, examined.pairs, strict=True)
    ]


def _entry(design: ClaimDesign, block: DesignBlock, arms: tuple[str, str], pairs: Pairs) -> MeasuredComparison:
    rules = design.rules
    values, ranked = tuple(pairs.values), design.pairing.ranked
    tested = (
        stats.signed_rank(values, rules.alpha)
        if ranked
        else inference(values, rules.stopping, rules.alpha, pairs.noise)
    )
    return MeasuredComparison(
        benchmark=block.benchmark,
        arm=arms[0],
        against=arms[1],
        metric=block.metric,
        n=tested.n,
        difference=finite(tested.estimate),
        low=finite(tested.low),
        high=finite(tested.high),
        p=tested.p,
        differences={seed: pairs.differences[seed] for seed in sorted(pairs.differences)},
        method_mean=mean_of(pairs.method),
        baseline_mean=mean_of(pairs.baseline),
        correlation=_correlation(pairs),
        missing=pairs.missing,
        failed=pairs.failed,
        diverged=pairs.diverged,
        mismatched=pairs.mismatched,
    )


def _correlation(pairs: Pairs) -> float | None:
    common = sorted(set(pairs.method) & set(pairs.baseline))
    method, baseline = [pairs.method[seed] for seed in common], [pairs.baseline[seed] for seed in common]
    return finite(stats.paired_correlation(method, baseline))


def _shown(design: ClaimDesign, examined: ExaminedBlock, evidence: Evidence) -> list[MeasuredComparison]:
    block = examined.block
    return [
        _entry(design, block, (block.chain[0], arm), pairs)
        for arm in design.question.others
        if block.cells.get(arm) and (pairs := pair(design.pairing, block, block.chain[0], arm, evidence)).planned
    ]
