"""Judge a suite from exactly the trials of its plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from harness.judge.absolute import ExaminedValue, examine_value
from harness.judge.bindings import claim_designs
from harness.judge.checks import CheckResult, checks_of
from harness.judge.correction import CorrectedFamily, adjust
from harness.judge.design import ClaimDesign
from harness.judge.evidence import Evidence, read_evidence
from harness.judge.item_intervals import item_outputs, two_way
from harness.judge.rows import (
    GateRow,
    VerdictRow,
    VerdictTrialRow,
    absolute_row,
    difference_row,
    empty_row,
    identity_row,
)
from harness.judge.units import Unit, units_of
from harness.plan.planning import Plan
from harness.store.events import Event, VerdictsEvent
from harness.store.queries import Queries
from harness.suite import Suite

FACT_COLUMNS = (
    "benchmark", "model", "metric", "unit", "better", "method", "baseline", "setting", "kind", "statement", "source",
    "trust",
)  # fmt: skip
"""Columns of ``claims`` that are a fact's own."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Rows of ``verdicts``, ``verdict_trials`` and ``gates``."""

    verdicts: tuple[VerdictRow, ...]
    trials: tuple[VerdictTrialRow, ...]
    gates: tuple[GateRow, ...]


@dataclass(frozen=True, slots=True)
class ExaminedClaim:
    """A design with its tests, before the correction of its family."""

    design: ClaimDesign
    units: tuple[Unit, ...] = ()
    values: tuple[ExaminedValue, ...] = ()

    @property
    def p(self) -> dict[str, float | None]:
        """p by test; None where there is none."""
        return {unit.contrast: unit.p for unit in self.units} | {each.block.contrast: each.p for each in self.values}


@dataclass(frozen=True, slots=True)
class EarlierVerdict:
    """What a stored verdict says of how often, and by which design, its claim has been judged."""

    n: int
    sequential: bool
    registered: str | None
    changed_since: str | None


def judge(
    suite: Suite, plan: Plan, reader: Queries, *, judged_at: datetime | None = None, sequential: bool = False,
    compute_checks: bool = True,
) -> Judgement:  # fmt: skip
    """Judge every claim of a suite from exactly the trials of its plan.

    Args:
        reader: an open store; nothing is written.
        judged_at: UTC without a zone; None: now.
        sequential: seeds were bought by the policy; a claim that was judged so before stays so.
        compute_checks: whether checks of identities that are not stored are computed (in another process).
    """
    judged_at = judged_at or datetime.now(UTC).replace(tzinfo=None)
    designs = claim_designs(suite, plan, sequential=sequential)
    earlier = earlier_verdicts(reader, designs, plan.scale)
    if not sequential and any(verdicts and verdicts[-1].sequential for verdicts in earlier.values()):
        designs = [replace(design, rules=replace(design.rules, sequential=True)) for design in designs]
    evidence = read_evidence(reader, {trial for design in designs for trial in design.trial_ids()})
    checks = checks_of(designs, reader, compute=compute_checks)
    items = item_outputs(reader, evidence)
    judged = judge_designs(designs, evidence, checks, judged_at)
    rows = []
    for claim, row in judged:
        interval = two_way(claim.design, claim.units, evidence, items)
        more = {} if interval is None else {"two_way": interval}
        rows.append(row.with_design(**more, **changes(row, earlier.get(claim.design.claim_id, []), judged_at)))
    trials = [
        VerdictTrialRow(design.claim_id, design.scale, judged_at, trial, side, design.question.protocol)
        for design in designs
        if design.stopped is None
        for trial, side in design.trial_ids().items()
    ]
    return Judgement(tuple(rows), tuple(trials), tuple(gate for claim, _ in judged for gate in _gate_rows(claim)))


def judge_designs(
    designs: Sequence[ClaimDesign], evidence: Evidence, checks: Mapping[str, CheckResult], judged_at: datetime
) -> list[tuple[ExaminedClaim, VerdictRow]]:
    """Verdicts of designs from plain records: nothing is read or written."""
    claims = [examine_claim(design, evidence) for design in designs]
    families = corrected_families(claims)
    rows = []
    for claim in claims:
        family = families.get(claim.design.multiplicity.family, CorrectedFamily())
        rows.append((claim, verdict_row(claim, evidence, checks.get(claim.design.claim_id), family, judged_at)))
    return rows


def examine_claim(design: ClaimDesign, evidence: Evidence) -> ExaminedClaim:
    """The tests of a design; none where it is stopped or a check decides."""
    if design.stopped is not None or design.question.mode in ("check", "none"):
        return ExaminedClaim(design)
    if design.question.mode == "absolute":
        return ExaminedClaim(design, values=tuple(examine_value(design, block, evidence) for block in design.blocks))
    return ExaminedClaim(design, units=units_of(design, evidence))


def corrected_families(claims: Sequence[ExaminedClaim]) -> dict[str, CorrectedFamily]:
    """The primary and the secondary tests after their corrections."""
    sequential = any(claim.design.rules.sequential for claim in claims)
    families = {}
    for name in ("primary", "secondary"):
        p: dict[str, float | None] = {}
        for claim in claims:
            if claim.design.multiplicity.family == name:
                p |= {member: None for member in claim.design.multiplicity.members if member not in p}
                p |= {contrast: value for contrast, value in claim.p.items() if p.get(contrast) is None}
        families[name] = CorrectedFamily(p, adjust(name, p, sequential=sequential))
    return families


def verdict_row(
    claim: ExaminedClaim, evidence: Evidence, check: CheckResult | None, family: CorrectedFamily, judged_at: datetime
) -> VerdictRow:
    """The verdict of one claim, once its family's correction is known."""
    design = claim.design
    if design.stopped is not None:
        return empty_row(design, judged_at, *design.stopped)
    if design.question.mode == "check":
        return identity_row(design, check, judged_at)
    if design.question.mode == "absolute":
        return absolute_row(design, claim.values, family, judged_at)
    return difference_row(design, claim.units, evidence, family, judged_at)


def earlier_verdicts(reader: Queries, designs: Sequence[ClaimDesign], scale: str) -> dict[str, list[EarlierVerdict]]:
    """Earlier verdicts of claims at a scale, each under the protocol of its design, oldest first."""
    protocols = {design.claim_id: design.question.protocol for design in designs}
    rows = reader.query(
        """
        SELECT claim_id, protocol, n, sequential, design->>'registered', design->>'changed_since'
        FROM verdicts WHERE claim_id = ANY(?) AND scale = ? ORDER BY judged_at
        """,
        [list(protocols), scale],
    ).rows
    earlier: dict[str, list[EarlierVerdict]] = {}
    for claim, protocol, *columns in rows:
        if protocol == protocols[claim]:
            earlier.setdefault(claim, []).append(EarlierVerdict(*columns))
    return earlier


def changes(row: VerdictRow, earlier: Sequence[EarlierVerdict], judged_at: datetime) -> dict[str, Any]:
    """Whether the pre-registered design changed after results existed, and at how many sizes it was looked at."""
    with_results = [verdict for verdict in earlier if verdict.n and verdict.registered]
    looks = {"looks": len({row.n, *(verdict.n for verdict in with_results)} - {0})}
    if with_results and with_results[-1].registered != row.design["registered"]:
        return looks | {"changed_since": judged_at.isoformat(timespec="seconds")}
    changed = with_results[-1].changed_since if with_results else None
    return looks | ({"changed_since": changed} if changed else {})


def _gate_rows(claim: ExaminedClaim) -> list[GateRow]:
    """One row a gate that was measured: of the benchmark where it has least slack."""
    readings = [gate for unit in claim.units for examined in unit.blocks for gate in examined.gates]
    question, scale, rows = claim.design.question, claim.design.scale, []
    for rule in claim.design.gates:
        measured = [gate for gate in readings if gate.rule == rule and gate.value is not None]
        worst = min(measured, key=lambda gate: gate.slack, default=None)
        if worst is not None and worst.value is not None:
            reading = (rule.metric, rule.arm, worst.value, rule.value, worst.passed)
            rows.append(GateRow(question.claim_id, scale, *reading, question.protocol))
    return rows


def claim_rows(suite: Suite) -> list[dict[str, Any]]:
    """Rows of ``claims``: every fact of the suite, with how it is bound."""
    bindings = {binding.id: binding for binding in suite.model.claims}
    rows = []
    for fact in suite.facts.values():
        binding = bindings.get(fact.id)
        bound = binding if binding is not None and binding.unbound is None else None
        scope = bound.scope if bound is not None else None
        p = fact.published
        rows.append(
            {name: getattr(fact, name) for name in FACT_COLUMNS} | {
                "claim_id": fact.id, "suite": suite.name,
                "published_method": p.method, "published_baseline": p.baseline, "published_difference": p.difference,
                "computed_difference": p.computed_difference,
                "gain_difference": p.gain_difference if p.gain_difference is not None else fact.gain_difference,
                "scope": scope if scope is None or isinstance(scope, str) else f"at_least: {scope.at_least}",
                "is_primary": bool(binding is not None and binding.primary),
                "unbound": None if binding is None else binding.unbound,
            }
        )  # fmt: skip
    return rows


def record_judgement(record: Callable[[Event], None], suite: str, scale: str, judgement: Judgement) -> None:
    """Journal verdicts with the trials and gates they rest on."""
    verdicts = [row.columns() for row in judgement.verdicts]
    trials, gates = [asdict(row) for row in judgement.trials], [asdict(row) for row in judgement.gates]
    record(VerdictsEvent(verdicts, trials, gates, suite, scale))
