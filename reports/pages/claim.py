"""A claim on its suite's page: its line, and what it opens to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.judge.registration import RegisteredChange
from harness.vocabulary import Protocol
from reports import formatting
from reports.data import sql
from reports.data.ablations import Ablation
from reports.data.claims import Claim
from reports.data.comparisons import FinalNumbers, dose_and_gain, removals
from reports.data.sql import Row
from reports.data.suite_results import SuiteResults
from reports.figures.axis import Mark, axis_of
from reports.figures.plain import Scatter, scatter
from reports.pages import sentences


@dataclass(frozen=True, slots=True)
class GateView:
    """A gate as read on a benchmark, with its place on a short bar that reaches beyond value and threshold.

    Attributes:
        gate: as the judge stored it: metric, arm, passed, relative_to, minus, benchmark, reason.
        op: how the value is compared with the threshold.
        places: of value and threshold, in percent of the bar.
    """

    gate: Row
    value: float | None
    threshold: float | None
    op: str
    places: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class RateView:
    """The difference at one learning rate: the arms' rates, the mark on an axis that all rates share, its numbers."""

    label: str
    mark: Mark
    zero: float
    tone: str
    told: str


@dataclass(frozen=True, slots=True)
class ClaimDetail:
    """A claim's line and what it opens to.

    Attributes:
        facts: what was computed, as pairs of a word and a number.
        change: what would change the verdict.
        changed: what differs from what was registered with the first verdict, old and new.
        removed: what removing a part does, its mark on an axis that all share, and where that has zero.
        scatter: whether the dose predicts the gain.
        rates: the difference at several learning rates.
        check: both sides of an identity in words.
        sql: the statements of verdict, gates, trials, tuned verdict and rates, by these names; '' where it has none.
    """

    claim: Claim
    facts: Sequence[tuple[str, str]]
    gates: Sequence[GateView]
    change: str
    changed: Sequence[str]
    removed: Sequence[tuple[Ablation, Mark, float]]
    scatter: Scatter | None
    rates: Sequence[RateView]
    check: str
    sql: Mapping[str, str]


def claim_detail(
    results: SuiteResults, claim: Claim, rows: Sequence[Ablation] = (), numbers: FinalNumbers | None = None
) -> ClaimDetail:
    """A claim of a suite with what its page needs of the suite's ablations (``rows``) and final numbers."""
    doses = dose_and_gain(results, numbers, claim) if numbers is not None else None
    suite = results.name
    names = claim.claim_id, claim.scale, claim.protocol, suite
    return ClaimDetail(
        claim,
        _facts(claim),
        gate_views(claim),
        sentences.change(claim),
        registered_changes(claim),
        _removed(claim, rows),
        None if doses is None else scatter(claim, doses),
        rate_views(claim),
        _identity(claim) if claim.identity else "",
        {
            "verdict": sql.verdict(*names),
            "gates": sql.gates(*names) if claim.gates else "",
            "trials": sql.verdict_trials(*names, str(claim.value("judged_at"))) if claim.sides else "",
            "tuned": sql.verdict(*names[:2], Protocol.TUNED, suite) if claim.tuned else "",
            "rates": sql.rate_curve(*names) if claim.rate_curve else "",
        },
    )


def registered_changes(claim: Claim) -> list[str]:
    """What differs from what was registered with the claim's first verdict: name, old and new."""
    return [str(RegisteredChange(**change)) for change in claim.design.get("changed") or ()]


def _two_way(claim: Claim) -> list[tuple[str, str | None]]:
    """The interval over seeds and items, and what the one over seeds is conditional on; empty without items."""
    several = len(claim.per_benchmark) > 1
    told: list[tuple[str, str | None]] = []
    for entry in claim.per_benchmark:
        found = entry.get("two_way")
        if isinstance(found, Mapping):
            where = f", {entry.get('benchmark')}" if several else ""
            interval = formatting.interval(found.get("low"), found.get("high"))
            told.append((f"95 % over seeds × items{where}", f"{interval}: {found.get('conditional_on')}"))
    return told


def _looks(design: Mapping[str, Any]) -> str | None:
    """``2 (at 3, 6 pairs)``; None for a verdict without looks."""
    sizes = design.get("look_sizes") or ()
    return f"{len(sizes)} (at {', '.join(map(str, sizes))} pairs)" if sizes else None


def rate_views(claim: Claim) -> list[RateView]:
    """The rate curve as lines on one axis, from the least rate."""
    known = [
        tuple(formatting.finite(entry.get(key)) for key in ("difference", "low", "high")) for entry in claim.rate_curve
    ]
    axis = axis_of(known)
    views = []
    for entry, (middle, low, high) in zip(claim.rate_curve, known, strict=True):
        rates = [rate for arms in (entry.get("rates") or {}).values() for rate in arms.values()]
        factor = float(entry["factor"])
        own = "the recipe's own" if factor == 1 else f"{formatting.setting(round(factor, 3))} times the recipe's"
        label = f"{formatting.setting(rates[0])}, {own}" if len(set(rates)) == 1 else own
        told = f"{formatting.number(middle, sign=True)} {formatting.interval(low, high)} {claim.unit}, n {entry['n']}"
        told = told if entry["n"] else f"no difference: {formatting.count(entry['diverged'], 'trial')} diverged"
        tone = formatting.side(low, high)
        views.append(RateView(label, Mark.of(axis, middle, low, high), axis.zero, tone, told))
    return views


def _removed(claim: Claim, rows: Sequence[Ablation]) -> list[tuple[Ablation, Mark, float]]:
    known = removals(claim, rows)
    axis = axis_of([(one.difference, one.low, one.high) for one in known])
    return [(one, Mark.of(axis, one.difference, one.low, one.high), axis.zero) for one in known]


def _identity(claim: Claim) -> str:
    """The two numbers of a check of what the released code or the formulas do."""
    check = claim.design.get("check")
    check = check if isinstance(check, Mapping) else {}
    ours, theirs, tolerance = (formatting.finite(check.get(key)) for key in ("ours", "theirs", "tolerance"))
    if ours is None or theirs is None:
        return ""
    sign = {"equal": "=", "below": "<", "above": ">"}.get(str(check.get("relation")), str(check.get("relation") or "="))
    within = f", tolerance {formatting.setting(tolerance)}" if tolerance is not None else ""
    return f"{formatting.score(ours)} {sign} {formatting.score(theirs)} {check.get('unit') or ''}".strip() + within


def gate_views(claim: Claim) -> list[GateView]:
    """Gates as read on each benchmark."""
    readings = claim.design.get("gate_readings")
    views = []
    for gate in readings if isinstance(readings, list) and readings else claim.gates:
        value, threshold = formatting.finite(gate.get("value")), formatting.finite(gate.get("threshold"))
        reach = max(abs(value or 0.0), abs(threshold or 0.0), 1e-12) * 1.25
        places = [None if at is None else round(100 * max(0.0, at / reach), 1) for at in (value, threshold)]
        views.append(GateView(gate, value, threshold, gate.get("op") or _op(claim, gate), places))
    return views


def _op(claim: Claim, gate: Row) -> str:
    """A gate's comparison from the suite, for verdicts that were stored without it."""
    given = claim.binding.mechanism if claim.binding else None
    rules = given if isinstance(given, list) else [given] if given else []
    return next((rule.op for rule in rules if (rule.metric, rule.arm) == (gate.get("metric"), gate.get("arm"))), "")


def _facts(claim: Claim) -> list[tuple[str, str]]:
    """What was computed, as pairs of a word and a number; absent ones are left out."""
    design, value = claim.design, claim.value
    number, setting, probability = formatting.number, formatting.setting, formatting.probability
    won, n, sharing = design.get("seeds_won"), value("n"), _many(design.get("contrast_claims"))
    reduction = formatting.finite(design.get("relative_error_reduction"))
    difference = f"{number(value('difference'), sign=True)} {claim.unit}"
    levels = ", ".join(_told(design.get(key), setting) or "–" for key in ("alpha", "kappa", "g"))
    pairs: list[tuple[str, Any]] = [
        ("difference", _known(value("difference"), difference)),
        ("95 % interval", _known(value("ci_low"), formatting.interval(value("ci_low"), value("ci_high")))),
        *_two_way(claim),
        ("paired seeds", n),
        ("p", _known(value("p"), probability(value("p")))),
        ("adjusted p", _known(value("adjusted_p"), probability(value("adjusted_p")))),
        ("e-value", _told(value("e_value"), number)),
        ("d_z, exact 95 % interval", _effect_size(claim)),
        ("relative error reduction", _told(None if reduction is None else 100 * reduction, number, "%")),
        ("seeds won", f"{won} of {n}" if isinstance(won, int) else _known(won, formatting.plain(won))),
        ("sign-flip p", _told(design.get("sign_flip_p"), probability)),
        ("seen with 80 % power", _told(design.get("mde"), number, claim.unit)),
        ("seeds needed, at the corrected level", _known(claim.seeds_needed, str(claim.seeds_needed))),
        ("correlation of the pairs", _told(design.get("correlation"), number)),
        ("design", "sequential, valid at any time" if value("sequential") else "fixed number of seeds"),
        ("looks", _looks(design)),
        ("family", _family(design)),
        ("claims that share this test", sharing if sharing > 1 else None),
        ("scope", design.get("scope")),
        ("protocol", design.get("protocol")),
        ("α, κ, g", _known(design.get("alpha"), levels)),
        ("smallest effect of interest", _told(design.get("smallest"), number, claim.unit)),
        ("missing pairs, failed, diverged, mixed environments", _troubles(design)),
    ]
    return [(name, str(told)) for name, told in pairs if told is not None]


def _effect_size(claim: Claim) -> str | None:
    """d_z with its exact interval, an end that is not known being infinite; None where several tests decide."""
    if claim.standardised is None:
        return None
    effect, low, high = claim.standardised
    ends = formatting.interval(-math.inf if low is None else low, math.inf if high is None else high)
    return f"{formatting.number(effect)} {ends}"


def _known(value: Any, told: str) -> str | None:
    """What is told of a value, None without one."""
    return None if value is None else told


def _family(design: Mapping[str, Any]) -> str | None:
    """``primary, Holm over 4 tests``."""
    told = [str(design["family"])] if design.get("family") else []
    if design.get("correction") and design.get("family_size"):
        told.append(f"{design['correction']} over {formatting.count(int(design['family_size']), 'test')}")
    return ", ".join(told) or None


def _troubles(design: Mapping[str, Any]) -> str | None:
    """Pairs without a side, trials that failed or diverged, pairs of two environments; None where there are none."""
    counts = [_many(design.get(key)) for key in ("missing", "failed", "diverged", "mismatched")]
    return ", ".join(map(str, counts)) if any(counts) else None


def _many(value: Any) -> int:
    return len(value) if isinstance(value, (list, tuple, dict)) else int(value or 0)


def _told(value: Any, show: Callable[[Any], str], unit: str = "") -> str | None:
    """A number with its unit; None where there is no number."""
    known = formatting.finite(value)
    return None if known is None else f"{show(known)} {unit}".strip()
