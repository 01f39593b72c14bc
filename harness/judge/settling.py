"""From tests and their family's correction to a verdict row, with the whole design stored in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from harness import stats
from harness.judge import absolute
from harness.judge.absolute import AbsoluteFound
from harness.judge.checks import holds
from harness.judge.evidence import Evidence, Pairs, pair
from harness.judge.examining import BlockFound, Unit
from harness.judge.families import correction_name
from harness.judge.frame import Frame, Stored
from harness.judge.gates import GateReading
from harness.judge.verdicts import decide, least_favourable
from harness.suite.models import REPORTED

Row = dict[str, Any]


def finite(value: float | None) -> float | None:
    """None for what JSON has no number for."""
    return value if value is not None and math.isfinite(value) else None


def empty_row(frame: Frame, judged_at: datetime, word: str, reason: str | None) -> Row:
    """A verdict without numbers."""
    return {
        "claim_id": frame.claim_id, "scale": frame.scale, "judged_at": judged_at, "n": 0, "difference": None,
        "ci_low": None, "ci_high": None, "p": None, "adjusted_p": None, "e_value": None, "verdict": word,
        "stand_in": list(frame.stand_in), "sequential": frame.sequential,
        "design": base_design(frame) | {"reason": reason},
    }  # fmt: skip


def base_design(frame: Frame) -> dict[str, Any]:
    """What was fixed before, under the names that reports and recomputation use."""
    return frame.as_dict() | {
        "registered": frame.registered,
        "contrast": frame.contrast,
        "contrast_id": frame.contrast,
        "smallest": None, "missing": 0, "failed": 0, "diverged": 0, "unequal": [], "reason": None,
    }  # fmt: skip


def settle_check(frame: Frame, check: Stored | None, judged_at: datetime) -> Row:
    """An identity: holds, fails or reported."""
    if frame.check == REPORTED:
        return empty_row(frame, judged_at, "reported", frame.note or "only the authors' files show it")
    if check is None:
        return empty_row(frame, judged_at, "not run", "the check is computed by 'harness run'")
    if check.error is not None:
        row = empty_row(frame, judged_at, "invalid", check.error)
    else:
        agree = holds(check.ours, check.theirs, check.tolerance, check.relation)
        row = empty_row(frame, judged_at, "holds" if agree else "fails", check.detail)
        row["difference"] = finite(check.ours - check.theirs)
    row["design"] |= {
        "check": {"name": frame.check, "ours": finite(check.ours), "theirs": finite(check.theirs),
                  "tolerance": check.tolerance, "unit": check.unit, "relation": check.relation},
        "check_result": asdict(check),
    }  # fmt: skip
    return row


def settle(
    frame: Frame,
    units: list[Unit],
    evidence: Evidence,
    adjusted: Mapping[str, float],
    p: Mapping[str, float | None],
    judged_at: datetime,
) -> Row:
    """The verdict of a claim that is judged from differences."""
    words = [_word(frame, unit, adjusted) for unit in units]
    at = _deciding(units, words, adjusted)
    unit, word = units[at], words[at]
    row = empty_row(frame, judged_at, word, unit.stopped[1] if unit.stopped else _why(frame, units, words))
    if unit.reading is not None and (unit.stopped is None or unit.stopped[0] == "inactive"):
        reading = unit.reading
        row |= {
            "n": reading.n,
            "difference": _or_none(reading.estimate),
            "ci_low": reading.low,
            "ci_high": reading.high,
        }
    if unit.reading is not None and unit.stopped is None:
        row |= {
            "p": unit.reading.p, "adjusted_p": adjusted[unit.contrast],
            "e_value": unit.reading.e if frame.sequential else None,
        }  # fmt: skip
    row["design"] |= _numbers(frame, unit) | {
        "contrast": {"id": unit.contrast, "claims": list(frame.contrast_claims), "n": len(frame.contrast_claims)},
        "correction": correction_name(frame.family, frame.sequential),
        "family_size": len(p),
        "family_p": {name: finite(value) for name, value in p.items()},
        "deciding": [one.block.benchmark for one in unit.blocks],
        "per_benchmark": [
            entry for one, said in zip(units, words, strict=True) for entry in _entries(frame, one, said)
        ],
        "shown": [entry for one in units for found in one.blocks for entry in _shown(frame, found, evidence)],
        "gate_readings": [_gate_dict(gate) for one in units for found in one.blocks for gate in found.gates],
        **unit.extra,
    }  # fmt: skip
    return row


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _word(frame: Frame, unit: Unit, adjusted: Mapping[str, float]) -> str:
    if unit.stopped is not None or unit.reading is None:
        return unit.stopped[0] if unit.stopped else "invalid"
    return decide(
        unit.reading, adjusted[unit.contrast], alpha=frame.alpha, kappa=frame.kappa, delta=frame.delta,
        smallest=unit.smallest, stand_in=frame.is_stand_in,
    )  # fmt: skip


def _deciding(units: list[Unit], words: list[str], adjusted: Mapping[str, float]) -> int:
    """The least favourable unit; among equals the one with the weakest evidence."""
    worst = words[least_favourable(words)]
    same = [i for i, word in enumerate(words) if word == worst]
    return max(same, key=lambda i: adjusted.get(units[i].contrast, 1.0) if units[i].p is not None else 2.0)


def _why(frame: Frame, units: list[Unit], words: list[str]) -> str | None:
    said = []
    if len(units) > 1 and len(set(words)) > 1:
        named = (f"{unit.blocks[0].block.benchmark}: {word}" for unit, word in zip(units, words, strict=True))
        said.append(f"the least favourable of {len(units)} benchmarks decides ({'; '.join(named)})")
    if frame.absent:
        said.append(f"not at this scale: {', '.join(frame.absent)}")
    return "; ".join(said) or None


def _numbers(frame: Frame, unit: Unit) -> dict[str, Any]:
    """What is shown beside the verdict: of the only comparison, or sums over several."""
    every = [one for found in unit.blocks for one in found.pairs]
    numbers: dict[str, Any] = {
        "smallest": unit.smallest,
        **{name: sum(getattr(one, name) for one in every) for name in ("missing", "failed", "diverged", "mismatched")},
        "unequal": [text for found in unit.blocks for text in found.block.unequal],
    }
    if len(every) == 1:
        numbers |= _single(frame, unit.blocks[0], every[0])
    return numbers


def _single(frame: Frame, found: BlockFound, one: Pairs) -> dict[str, Any]:
    values = one.values
    spread = stats.minimum_detectable_effect(values, frame.alpha)
    needed = None
    if len(values) > 1 and all(map(math.isfinite, values)):
        mean = sum(values) / len(values)
        sd = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
        needed = stats.seeds_for_power(mean, sd, frame.alpha, maximum=100_000) if sd > 0 else None
    baseline = [one.baseline[seed] for seed in sorted(one.baseline)]
    boot = stats.studentised_bootstrap(values, frame.alpha) if len(values) >= 5 and not frame.sequential else None
    return {
        "d_z": finite(stats.hedges_d(values)),
        "mde": finite(spread),
        "seeds_needed": needed,
        "seeds_won": stats.seeds_won(values)[0],
        "sign_flip_p": stats.sign_flip_p(values),
        "correlation": _correlation(one),
        "relative_error_reduction": _reduction(frame, found, values, baseline),
        "bootstrap": None if boot is None else {"low": finite(boot.low), "high": finite(boot.high)},
    }


def _reduction(frame: Frame, found: BlockFound, values: list[float], baseline: list[float]) -> float | None:
    """Mean difference as a share of the baseline's distance from the perfect score; up = as claimed."""
    perfect = found.block.perfect
    if perfect is None or frame.log_ratio or not values or not baseline or not all(map(math.isfinite, values)):
        return None
    error = abs(perfect - sum(baseline) / len(baseline))
    return sum(values) / len(values) / error if error > 0 else None


def _entries(frame: Frame, unit: Unit, word: str) -> list[dict[str, Any]]:
    """One entry a benchmark and comparison."""
    entries = []
    for found in unit.blocks:
        for (upper, lower), one in zip(found.block.pairs, found.pairs, strict=True):
            entries.append(
                _entry(frame, one) | {
                    "benchmark": found.block.benchmark, "shares": list(found.block.shares), "arm": upper,
                    "against": lower, "metric": found.block.metric, "contrast": found.block.contrast,
                    "verdict": word if len(unit.blocks) == 1 else None,
                    "reason": found.stopped[1] if found.stopped else None,
                    "unequal": list(found.block.unequal), "active": found.active if found.gates else None,
                    "missing": one.missing, "failed": one.failed, "diverged": one.diverged,
                    "mismatched": one.mismatched,
                }
            )  # fmt: skip
    return entries


def _entry(frame: Frame, one: Pairs) -> dict[str, Any]:
    values = one.values
    found = (
        stats.anytime_interval(values, frame.g, frame.alpha, running=True)
        if frame.sequential
        else stats.paired_t(values, frame.alpha)
    )
    return {
        "n": found.n,
        "difference": finite(found.estimate),
        "low": finite(found.low),
        "high": finite(found.high),
        "p": found.p,
        "differences": {str(seed): one.differences[seed] for seed in sorted(one.differences)},
        "method_mean": _mean(one.method),
        "baseline_mean": _mean(one.baseline),
        "correlation": _correlation(one),
    }


def _correlation(one: Pairs) -> float | None:
    """Of the two arms' scores over seeds: what pairing removes."""
    common = sorted(set(one.method) & set(one.baseline))
    method, baseline = [one.method[seed] for seed in common], [one.baseline[seed] for seed in common]
    return finite(stats.paired_correlation(method, baseline).estimate)


def _mean(values: Mapping[int, float]) -> float | None:
    return sum(values.values()) / len(values) if values else None


def _shown(frame: Frame, found: BlockFound, evidence: Evidence) -> list[dict[str, Any]]:
    """Comparators that do not decide, unadjusted."""
    entries = []
    for arm in frame.others:
        one = pair(frame, found.block, found.block.chain[0], arm, evidence)
        if one.planned and found.block.cells.get(arm):
            entries.append(_entry(frame, one) | {"against": arm, "benchmark": found.block.benchmark})
    return entries


def _gate_dict(gate: GateReading) -> dict[str, Any]:
    return {"benchmark": gate.benchmark, "metric": gate.rule.metric, "arm": gate.rule.arm,
            "relative_to": gate.rule.relative_to, "minus": gate.rule.minus,
            "op": gate.rule.op, "threshold": gate.rule.value, "value": gate.value,
            "passed": gate.passed, "reason": gate.reason or None}  # fmt: skip


def settle_absolute(
    frame: Frame, found: list[AbsoluteFound], adjusted: Mapping[str, float], p: Mapping[str, float | None],
    judged_at: datetime,
) -> Row:  # fmt: skip
    """The verdict of a claim about a value: the least favourable benchmark decides."""
    words = [absolute.verdict_of(one, adjusted.get(one.block.contrast, 1.0), frame.alpha) for one in found]
    at = least_favourable(words)
    one = found[at]
    row = empty_row(frame, judged_at, words[at], one.stopped[1] if one.stopped else None)
    if one.scores:
        comparable = words[at] != "not comparable"
        row |= {"n": len(one.scores)}
        row |= {"difference": one.difference, "ci_low": one.low, "ci_high": one.high} if comparable else {}
    if one.p is not None:
        row |= {"p": one.p, "adjusted_p": adjusted[one.block.contrast]}
    row["design"] |= {
        "contrast": {"id": one.block.contrast, "claims": list(frame.contrast_claims), "n": len(frame.contrast_claims)},
        "correction": correction_name(frame.family, frame.sequential),
        "family_size": len(p),
        "family_p": {name: finite(value) for name, value in p.items()},
        "equivalence_margin": one.margin, "margin_from": one.margin_from,
        "missing": one.missing, "failed": one.failed, "diverged": one.diverged,
        "per_benchmark": [
            {"benchmark": each.block.benchmark, "n": len(each.scores), "difference": finite(each.difference),
             "low": finite(each.low), "high": finite(each.high), "p": each.p, "verdict": word,
             "method_mean": _mean(each.scores), "baseline_mean": None,
             "scores": {str(seed): value for seed, value in each.scores.items()}}
            for each, word in zip(found, words, strict=True)
        ],
    }  # fmt: skip
    return row
