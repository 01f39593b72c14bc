"""Judge a suite from exactly the trials of its plan."""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from harness import stats
from harness.judge.absolute import ExaminedValue, examine_value
from harness.judge.bindings import claim_designs
from harness.judge.checks import checks_of
from harness.judge.correction import CORRECTED, CorrectedFamily, Families, corrected
from harness.judge.design import ClaimDesign, Stop
from harness.judge.detail import CheckResult
from harness.judge.evidence import Evidence, read_evidence, trials_in_words
from harness.judge.item_intervals import ItemSource, with_item_intervals
from harness.judge.pairs import Pairs
from harness.judge.registration import (
    as_looked_at,
    earlier_verdicts,
    interim_analyses_of,
    registration_of,
    with_interim_analyses,
)
from harness.judge.rows import (
    MechanismRow,
    VerdictRow,
    VerdictTrialRow,
    absolute_row,
    difference_row,
    empty_row,
    identity_row,
)
from harness.judge.units import Bound, ExaminedBlock, Unit, units_of
from harness.plan.planning import Plan
from harness.store.events import Event, VerdictsEvent
from harness.store.queries import Queries
from harness.store.rows import TABLES
from harness.suite import Suite
from harness.suite.models import PaperClaim
from harness.vocabulary import Verdict


@dataclass(frozen=True, slots=True)
class Judgement:
    """Rows of ``verdicts``, ``verdict_trials`` and ``gates``."""

    verdicts: tuple[VerdictRow, ...]
    trials: tuple[VerdictTrialRow, ...]
    gates: tuple[MechanismRow, ...]


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


def moment_after(reader: Queries, suite: str) -> datetime:
    """Now, or just after the suite's newest verdict."""
    now = datetime.now(UTC).replace(tzinfo=None)
    newest = reader.query("SELECT max(judged_at) FROM verdicts WHERE suite = ?", [suite]).rows[0][0]
    return now if newest is None or newest < now else newest + timedelta(microseconds=1)


def judge(
    suite: Suite,
    plan: Plan,
    reader: Queries,
    *,
    judged_at: datetime | None = None,
    sequential: bool = False,
    compute_checks: bool = True,
) -> Judgement:
    """Judge every claim of a suite from its plan's trials.

    Args:
        reader: an open store; nothing is written.
        judged_at: UTC without a zone; None: now.
        sequential: seeds were added by the policy; a sequential claim stays sequential.
        compute_checks: compute checks of identities that are not stored, in another process.
    """
    judged_at = judged_at or moment_after(reader, suite.name)
    designs = claim_designs(suite, plan, sequential=sequential)
    earlier = earlier_verdicts(reader, designs, plan.scale)
    evidence = read_evidence(reader, {trial for design in designs for trial in design.trial_ids()})
    before = [earlier.get(design.claim_id, []) for design in designs]
    looks = [interim_analyses_of(design, evidence, existing) for design, existing in zip(designs, before, strict=True)]
    designs = [as_looked_at(*each) for each in zip(designs, looks, before, strict=True)]
    checks = checks_of(designs, reader, compute=compute_checks)
    items = ItemSource(reader, evidence)
    judged = judge_designs(designs, evidence, checks, judged_at)
    rows = []
    for (claim, row), seen, existing in zip(judged, looks, before, strict=True):
        row = _with_items(claim, row, items)
        if any(evidence[trial].done for trial in _deciding(claim.design) if trial in evidence):
            detail = with_interim_analyses(row.detail, registration_of(claim.design, plan), existing, seen, judged_at)
            row = replace(row, detail=detail)
        rows.append(row)
    trials = [
        VerdictTrialRow(design.claim_id, design.scale, judged_at, trial, side, design.question.protocol)
        for design in designs
        if design.stopped is None
        for trial, side in design.trial_ids().items()
    ]
    return Judgement(tuple(rows), tuple(trials), tuple(gate for claim, _ in judged for gate in _mechanism_rows(claim)))


def _with_items(claim: ExaminedClaim, row: VerdictRow, items: ItemSource) -> VerdictRow:
    """Add intervals over seeds and items; files of items may hold anything."""
    try:
        return with_item_intervals(row, claim.units, claim.design.pairing, items)
    except (ValueError, TypeError, ArithmeticError, np.linalg.LinAlgError):
        return row


def judge_designs(
    designs: Sequence[ClaimDesign], evidence: Evidence, checks: Mapping[str, CheckResult], judged_at: datetime
) -> list[tuple[ExaminedClaim, VerdictRow]]:
    """Verdicts of designs from plain records."""
    claims = [examine_claim(design, evidence) for design in designs]
    families = corrected_families(claims)
    rows = []
    for claim in claims:
        rows.append((claim, verdict_row(claim, evidence, checks.get(claim.design.claim_id), families, judged_at)))
    return rows


def examine_claim(design: ClaimDesign, evidence: Evidence) -> ExaminedClaim:
    """The tests of a design; invalid if they raise an error."""
    try:
        return _examined(design, evidence)
    except Exception as error:  # one claim's numbers must not take the others along
        return ExaminedClaim(replace(design, stopped=undecidable(error)))


def undecidable(error: Exception) -> Stop:
    """The verdict of a claim whose numbers raise an error."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    return Stop(Verdict.INVALID, f"its numbers cannot be judged: {type(error).__name__}: {error} ({where})")


def _examined(design: ClaimDesign, evidence: Evidence) -> ExaminedClaim:
    if design.stopped is not None or design.question.mode in ("check", "none"):
        return ExaminedClaim(design)
    if design.question.mode == "absolute":
        return ExaminedClaim(design, values=tuple(examine_value(design, block, evidence) for block in design.blocks))
    return ExaminedClaim(design, units=units_of(design, evidence))


def corrected_families(claims: Sequence[ExaminedClaim]) -> dict[str, CorrectedFamily]:
    """The family of every test, after its correction."""
    families: dict[str, CorrectedFamily] = {}
    for name in CORRECTED:
        p: dict[str, float | None] = {}
        bounds: dict[Bound, float | None] = {}
        for claim in claims:
            design, place = claim.design, claim.design.multiplicity
            p |= {member: None for member in place.members if place.family == name and member not in p}
            here = {contrast: value for contrast, value in claim.p.items() if design.family_of(contrast) == name}
            p |= {contrast: value for contrast, value in here.items() if p.get(contrast) is None}
            for tested in (*(unit.p_smaller for unit in claim.units), *(value.p_smaller for value in claim.values)):
                bounds |= {bound: value for bound, value in tested.items() if bound[0] in here}
        families |= dict.fromkeys(p, corrected(name, p, bounds))
    return families


def verdict_row(
    claim: ExaminedClaim, evidence: Evidence, check: CheckResult | None, families: Families, judged_at: datetime
) -> VerdictRow:
    """The verdict of one claim after its families' corrections."""
    try:
        return _row(claim, evidence, check, families, judged_at)
    except Exception as error:
        return empty_row(claim.design, judged_at, *undecidable(error))


def _row(
    claim: ExaminedClaim, evidence: Evidence, check: CheckResult | None, families: Families, judged_at: datetime
) -> VerdictRow:
    design = claim.design
    if design.stopped is not None:
        return empty_row(design, judged_at, *design.stopped)
    if design.question.mode == "check":
        return identity_row(design, check, judged_at)
    if design.question.mode == "absolute":
        return absolute_row(design, claim.values, families, judged_at)
    row = difference_row(design, claim.units, evidence, families, judged_at)
    return replace(row, detail=replace(row.detail, warnings=_warnings(design, claim.units)))


def _deciding(design: ClaimDesign) -> list[str]:
    return [trial for block in design.blocks for trial in block.trials_of(block.chain)]


def _mechanism_rows(claim: ExaminedClaim) -> list[MechanismRow]:
    """One row for each measured mechanism check, where it has least slack."""
    readings = [gate for unit in claim.units for examined in unit.blocks for gate in examined.gates]
    question, scale, rows = claim.design.question, claim.design.scale, []
    for rule in claim.design.gates:
        measured = [gate for gate in readings if gate.rule == rule and gate.value is not None]
        worst = min(measured, key=lambda gate: gate.slack, default=None)
        if worst is not None and worst.value is not None:
            reading = (rule.metric, rule.arm, worst.value, rule.value, worst.passed)
            rows.append(MechanismRow(question.claim_id, scale, *reading, question.protocol))
    return rows


def claim_rows(suite: Suite) -> list[dict[str, Any]]:
    """Rows of ``claims``: every paper claim of the suite with its binding."""
    bindings = {binding.id: binding for binding in suite.model.claims}
    rows = []
    for fact in suite.facts.values():
        binding = bindings.get(fact.id)
        bound = binding if binding is not None and binding.unbound is None else None
        scope = bound.scope if bound is not None else None
        p = fact.published
        rows.append(
            {name: getattr(fact, name) for name in TABLES["claims"] if name in PaperClaim.model_fields}
            | {
                "claim_id": fact.id,
                "suite": suite.name,
                "published_method": p.method,
                "published_baseline": p.baseline,
                "published_difference": p.difference,
                "computed_difference": p.computed_difference,
                "gain_difference": p.gain_difference if p.gain_difference is not None else fact.gain_difference,
                "scope": scope if scope is None or isinstance(scope, str) else f"at_least: {scope.at_least}",
                "is_primary": bool(binding is not None and binding.primary),
                "unbound": None if binding is None else binding.unbound,
            }
        )
    return rows


def record_judgement(record: Callable[[Event], None], suite: str, scale: str, judgement: Judgement) -> None:
    """Record verdicts with the trials and mechanism checks they rest on."""
    verdicts = [row.columns() for row in judgement.verdicts]
    trials, gates = [asdict(row) for row in judgement.trials], [asdict(row) for row in judgement.gates]
    record(VerdictsEvent(verdicts, trials, gates, suite, scale))


def _warnings(design: ClaimDesign, units: Sequence[Unit]) -> tuple[str, ...]:
    """Sentences on failed trials, and judging as not worse."""
    blocks = [examined for unit in units for examined in unit.blocks]
    message = [text for examined in blocks for text in _of_block(examined)]
    sizes = [len(pairs.differences) for examined in blocks for pairs in examined.pairs]
    if design.pairing.ranked and min(sizes, default=0) < stats.FEWEST_RANKED:
        fewest = f"below {stats.FEWEST_RANKED} data sets no signed-rank p reaches .05"
        message.append(f"{min(sizes, default=0)} data sets: {fewest}")
    estimand = design.estimand
    delta, margin = estimand.delta, estimand.margin
    if design.question.scope == "no_worse" and delta is not None and margin is not None and delta < margin:
        size = f"the published difference is {delta:g} {estimand.unit}"
        message.append(f"judged as not worse by more than {margin:g}: {size}")
    return tuple(dict.fromkeys(message))


def _of_block(examined: ExaminedBlock) -> Iterator[str]:
    block = examined.block
    if block.stated:
        yield block.stated
    for pairs in examined.pairs:
        yield from _failed(pairs)


def _failed(pairs: Pairs) -> Iterator[str]:
    for each in pairs.arms:
        if each.failed:
            counted = f"{each.failed} of {trials_in_words(each.planned)} of {each.arm} failed"
            yield f"{counted}; p counts those of the favoured arm as lost"
        yield from each.unscored
