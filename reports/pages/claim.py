"""A claim on its suite's page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.judge.detail import EffectSize, VerdictDetail
from harness.judge.mechanism import MechanismReading
from harness.results.verdict_text import seeds_needed
from harness.vocabulary import Protocol
from reports import formatting
from reports.data import sql
from reports.data.ablations import Ablation
from reports.data.claims import JudgedClaim
from reports.data.comparisons import FinalNumbers, dose_and_gain, removals
from reports.data.suite_results import SuiteResults
from reports.figures.axis import Mark, axis_of
from reports.figures.plain import Scatter, scatter


@dataclass(frozen=True, slots=True)
class MechanismView:
    """A mechanism check; ``places`` of value and threshold are in percent of the width."""

    reading: MechanismReading
    places: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class RateView:
    """A difference at one learning rate, with its mark."""

    label: str
    mark: Mark
    zero: float
    tone: str
    text: str


@dataclass(frozen=True, slots=True)
class ClaimDetail:
    """A claim's line and its details.

    Attributes:
        changed: differences from the design of the first verdict.
        removed: ablations with their marks on a common axis, and its zero.
        check: both sides of an identity in words.
        sql: statements of verdict, mechanism checks, trials, tuned verdict and rates, by these names.
    """

    claim: JudgedClaim
    facts: Sequence[tuple[str, str]]
    gates: Sequence[MechanismView]
    change: str
    changed: Sequence[str]
    removed: Sequence[tuple[Ablation, Mark, float]]
    scatter: Scatter | None
    rates: Sequence[RateView]
    check: str
    sql: Mapping[str, str]


def claim_detail(
    results: SuiteResults, claim: JudgedClaim, rows: Sequence[Ablation] = (), numbers: FinalNumbers | None = None
) -> ClaimDetail:
    """A claim with its ablations (``rows``) and final numbers."""
    doses = dose_and_gain(results, numbers, claim) if numbers is not None else None
    suite = results.name
    names = claim.claim_id, claim.scale, claim.protocol, suite
    return ClaimDetail(
        claim,
        _facts(claim),
        mechanism_views(claim),
        claim.change,
        list(map(str, claim.detail.changed)),
        _removed(claim, rows),
        None if doses is None else scatter(claim, doses),
        rate_views(claim),
        _identity(claim) if claim.identity else "",
        {
            "verdict": sql.verdict(*names),
            "gates": sql.gates(*names) if claim.gates else "",
            "trials": sql.verdict_trials(*names, str(claim.verdict.judged_at)) if claim.sides else "",
            "tuned": sql.verdict(*names[:2], Protocol.TUNED, suite) if claim.tuned else "",
            "rates": sql.rate_curve(*names) if claim.detail.measured_rates else "",
        },
    )


def _two_way(claim: JudgedClaim) -> list[tuple[str, str | None]]:
    """The interval over seeds and items, with its condition; empty without items."""
    entries = claim.detail.per_benchmark
    facts: list[tuple[str, str | None]] = []
    for entry in entries:
        if entry.two_way is not None:
            where = f", {entry.benchmark}" if len(entries) > 1 else ""
            interval = formatting.interval(entry.two_way.low, entry.two_way.high)
            facts.append((f"95 % over seeds × items{where}", f"{interval}: {entry.two_way.conditional_on}"))
    return facts


def _looks(sizes: Sequence[int]) -> str | None:
    """``2 (at 3, 6 pairs)``; None for a verdict without interim analyses."""
    return f"{len(sizes)} (at {', '.join(map(str, sizes))} pairs)" if sizes else None


def rate_views(claim: JudgedClaim) -> list[RateView]:
    """Learning-rate sensitivity as lines on one axis, least rate first."""
    existing = [(entry.difference, entry.low, entry.high) for entry in claim.detail.measured_rates]
    axis = axis_of(existing)
    views = []
    for entry, (middle, low, high) in zip(claim.detail.measured_rates, existing, strict=True):
        rates = [rate for arms in entry.rates.values() for rate in arms.values()]
        factor = entry.factor
        own = "the recipe's own" if factor == 1 else f"{formatting.setting(round(factor, 3))} times the recipe's"
        label = f"{formatting.setting(rates[0])}, {own}" if len(set(rates)) == 1 else own
        message = f"{formatting.number(middle, sign=True)} {formatting.interval(low, high)} {claim.unit}, n {entry.n}"
        message = message if entry.n else f"no difference: {formatting.count(entry.diverged, 'trial')} diverged"
        tone = formatting.side(low, high)
        views.append(RateView(label, Mark.of(axis, middle, low, high), axis.zero, tone, message))
    return views


def _removed(claim: JudgedClaim, rows: Sequence[Ablation]) -> list[tuple[Ablation, Mark, float]]:
    existing = removals(claim, rows)
    axis = axis_of([(item.difference, item.low, item.high) for item in existing])
    return [(item, Mark.of(axis, item.difference, item.low, item.high), axis.zero) for item in existing]


def _identity(claim: JudgedClaim) -> str:
    check = claim.detail.check
    if check is None or not math.isfinite(check.ours + check.theirs):
        return ""
    sign = {"equal": "=", "below": "<", "above": ">"}.get(check.relation, check.relation)
    sides = f"{formatting.score(check.ours)} {sign} {formatting.score(check.theirs)} {check.unit}".strip()
    return f"{sides}, tolerance {formatting.setting(check.tolerance)}"


def mechanism_views(claim: JudgedClaim) -> list[MechanismView]:
    """Mechanism checks as read on each benchmark."""
    views = []
    for reading in claim.detail.gate_readings:
        value, threshold = reading.value, reading.rule.value
        reach = max(abs(value or 0.0), abs(threshold), 1e-12) * 1.25
        places = [None if at is None else round(100 * max(0.0, at / reach), 1) for at in (value, threshold)]
        views.append(MechanismView(reading, places))
    return views


def _facts(claim: JudgedClaim) -> list[tuple[str, str]]:
    """Computed numbers as (name, text); absent ones are left out."""
    verdict, detail = claim.verdict, claim.detail
    effect, rules, numbers = detail.effect or EffectSize(), detail.rules, detail.numbers
    present, setting, probability = formatting.present, formatting.setting, formatting.probability
    troubles = formatting.counts(numbers.missing, numbers.failed, numbers.diverged, numbers.mismatched)
    reduction, sharing = effect.relative_error_reduction, len(detail.multiplicity.contrast_claims)
    difference = f"{formatting.number(verdict.difference, sign=True)} {claim.unit}"
    pairs: list[tuple[str, object]] = [
        ("difference", None if verdict.difference is None else difference),
        ("95 % interval", None if verdict.ci_low is None else formatting.interval(verdict.ci_low, verdict.ci_high)),
        *_two_way(claim),
        (detail.replicates[1], verdict.n),
        ("p", None if verdict.p is None else probability(verdict.p)),
        ("adjusted p", None if verdict.adjusted_p is None else probability(verdict.adjusted_p)),
        ("e-value", present(verdict.e_value)),
        ("d_z, exact 95 % interval", formatting.effect_size(effect)),
        ("relative error reduction", present(None if reduction is None else 100 * reduction, unit="%")),
        ("seeds won", None if detail.effect is None else f"{effect.seeds_won} of {verdict.n}"),
        ("sign-flip p", present(effect.sign_flip_p, probability)),
        ("P(method better), 95 % interval", formatting.share(effect)),
        ("this direction again, same design", None if effect.again is None else f"{100 * effect.again:.0f} %"),
        ("seen with 80 % power", present(effect.mde, unit=claim.unit)),
        ("seeds needed, at the corrected level", seeds_needed(verdict)),
        ("correlation of the pairs", present(effect.correlation)),
        ("design", "sequential, valid at any time" if verdict.sequential else "fixed number of seeds"),
        ("interim analyses", _looks(detail.look_sizes)),
        ("family", _family(detail)),
        ("claims that share this test", sharing if sharing > 1 else None),
        ("scope", detail.question.scope),
        ("protocol", detail.question.protocol),
        ("α, κ, g", ", ".join(map(setting, (rules.alpha, rules.kappa, rules.g)))),
        ("smallest effect of interest", present(numbers.smallest, unit=claim.unit)),
        ("missing pairs, failed, diverged, mixed environments", troubles),
    ]
    return [(name, str(value)) for name, value in pairs if value is not None]


def _family(detail: VerdictDetail) -> str:
    """``primary, Holm over 4 tests``."""
    family, test = detail.multiplicity.family, detail.test
    return family if test is None else f"{family}, {test.correction} over {formatting.count(test.size, 'test')}"
