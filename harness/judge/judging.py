"""Judge a suite from the trials of its plan, and judge a stored verdict again from what is stored with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from harness.judge import families
from harness.judge.absolute import AbsoluteFound, examine_absolute
from harness.judge.checks import checks_of
from harness.judge.contrasts import frames_of
from harness.judge.evidence import Evidence, read_evidence
from harness.judge.examining import Unit, examine
from harness.judge.frame import Frame, Stored
from harness.judge.items import Items, two_way
from harness.judge.settling import Row, empty_row, settle, settle_absolute, settle_check
from harness.plan.planning import Plan
from harness.store.events import Event, VerdictsEvent
from harness.store.queries import Queries
from harness.suite import Suite


@dataclass(frozen=True, slots=True)
class Judgement:
    """Rows of ``verdicts``, ``verdict_trials`` and ``gates``."""

    verdicts: list[Row] = field(default_factory=list)
    trials: list[Row] = field(default_factory=list)
    gates: list[Row] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Examined:
    """A frame with its tests, before the correction of its family."""

    frame: Frame
    units: tuple[Unit, ...] = ()
    absolutes: tuple[AbsoluteFound, ...] = ()

    @property
    def p(self) -> dict[str, float | None]:
        """p by test; None where there is none."""
        found = {unit.contrast: unit.p for unit in self.units}
        return found | {one.block.contrast: one.p for one in self.absolutes}


def judge(
    suite: Suite, plan: Plan, reader: Queries, *, judged_at: datetime, sequential: bool = False,
    compute_checks: bool = True,
) -> Judgement:  # fmt: skip
    """Judge every claim of a suite from exactly the trials of its plan.

    Args:
        reader: an open store; nothing is written.
        sequential: seeds were bought by the policy; a claim that was judged so before stays so.
        compute_checks: whether checks of identities that are not stored are computed (in another process).
    """
    frames = frames_of(suite, plan, sequential=sequential)
    earlier = earlier_verdicts(reader, [frame.claim_id for frame in frames], plan.scale)
    if not sequential and any(rows and rows[-1]["sequential"] for rows in earlier.values()):
        frames = [replace(frame, sequential=True) for frame in frames]
    evidence = read_evidence(reader, {trial for frame in frames for trial in frame.trial_ids()})
    checks = checks_of(frames, reader, compute=compute_checks)
    items = Items(reader, evidence)
    judgement = Judgement()
    for one, row in rows_of(frames, evidence, checks, judged_at):
        if items:
            row["design"] |= _two_way(one, evidence, items)
        row["design"] |= changes(row, earlier.get(one.frame.claim_id, []), judged_at)
        judgement.verdicts.append(row)
        judgement.trials.extend(_sides(one.frame, judged_at))
        judgement.gates.extend(_gates(one))
    return judgement


def _two_way(one: Examined, evidence: Evidence, items: Items) -> dict[str, Any]:
    """The interval over seeds and items, for a claim with one benchmark."""
    if len(one.units) != 1 or len(one.units[0].blocks) != 1 or one.units[0].stopped is not None:
        return {}
    found = two_way(one.frame, one.units[0].blocks[0], evidence, items)
    return {} if found is None else {"two_way": found}


def rows_of(
    frames: Sequence[Frame], evidence: Evidence, checks: Mapping[str, Stored], judged_at: datetime
) -> list[tuple[Examined, Row]]:
    """Verdict rows of frames from plain records: nothing is read or written."""
    examined = [examine_frame(frame, evidence) for frame in frames]
    corrected = {name: corrected_of(examined, name) for name in ("primary", "secondary")}
    rows = []
    for one in examined:
        p, adjusted = corrected.get(one.frame.family, ({}, {}))
        rows.append((one, verdict_row(one, evidence, checks.get(one.frame.claim_id), p, adjusted, judged_at)))
    return rows


def examine_frame(frame: Frame, evidence: Evidence) -> Examined:
    """The tests of a frame; none where it is stopped or a check decides."""
    if frame.stopped is not None or frame.mode in ("check", "none"):
        return Examined(frame)
    if frame.mode == "absolute":
        return Examined(frame, absolutes=tuple(examine_absolute(frame, evidence)))
    return Examined(frame, units=tuple(examine(frame, evidence)))


def corrected_of(examined: Sequence[Examined], family: str) -> tuple[dict[str, float | None], dict[str, float]]:
    """p and adjusted p of a family's tests; its size is fixed by the design, whatever has run."""
    p: dict[str, float | None] = {}
    for one in examined:
        if one.frame.family == family:
            p |= {name: None for name in one.frame.members if name not in p}
            p |= {name: value for name, value in one.p.items() if p.get(name) is None}
    sequential = any(one.frame.sequential for one in examined)
    return p, families.adjust(family, p, sequential=sequential)


def verdict_row(
    one: Examined, evidence: Evidence, check: Stored | None, p: Mapping[str, float | None],
    adjusted: Mapping[str, float], judged_at: datetime,
) -> Row:  # fmt: skip
    """The verdict of one claim, once its family's correction is known."""
    frame = one.frame
    if frame.stopped is not None:
        return empty_row(frame, judged_at, *frame.stopped)
    if frame.mode == "check":
        return settle_check(frame, check, judged_at)
    if frame.mode == "absolute":
        return settle_absolute(frame, list(one.absolutes), adjusted, p, judged_at)
    return settle(frame, list(one.units), evidence, adjusted, p, judged_at)


def earlier_verdicts(reader: Queries, claim_ids: list[str], scale: str) -> dict[str, list[dict[str, Any]]]:
    """Earlier verdicts of claims at a scale, oldest first: ``judged_at, n, sequential, registered, changed_since``."""
    rows = reader.query(
        """
        SELECT claim_id, judged_at, n, sequential, design->>'registered' AS registered,
          design->>'changed_since' AS changed_since
        FROM verdicts WHERE claim_id = ANY(?) AND scale = ? ORDER BY judged_at
        """,
        [claim_ids, scale],
    ).dicts()
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["claim_id"], []).append(row)
    return found


def changes(row: Row, earlier: list[dict[str, Any]], judged_at: datetime) -> dict[str, Any]:
    """Whether the pre-registered design changed after results existed, and at how many sizes it was looked at."""
    with_results = [one for one in earlier if one["n"] and one["registered"]]
    sizes = {one["n"] for one in with_results} | ({row["n"]} if row["n"] else set())
    found: dict[str, Any] = {"looks": len(sizes)}
    if with_results:
        last = with_results[-1]
        if last["registered"] != row["design"]["registered"]:
            found["changed_since"] = judged_at.isoformat(timespec="seconds")
        elif last["changed_since"]:
            found["changed_since"] = last["changed_since"]
    return found


def _sides(frame: Frame, judged_at: datetime) -> list[Row]:
    if frame.stopped is not None:
        return []
    return [
        {"claim_id": frame.claim_id, "scale": frame.scale, "judged_at": judged_at, "trial_id": trial, "side": side}
        for trial, side in frame.trial_ids().items()
    ]


def _gates(one: Examined) -> list[Row]:
    """One row a gate that was measured: of the benchmark where it has least slack."""
    found = []
    for rule in one.frame.gates:
        readings = [gate for unit in one.units for block in unit.blocks for gate in block.gates if gate.rule == rule]
        readings = [gate for gate in readings if gate.value is not None]
        if readings:
            worst = min(readings, key=lambda gate: gate.slack)
            found.append(
                {"claim_id": one.frame.claim_id, "scale": one.frame.scale, "metric": rule.metric, "arm": rule.arm,
                 "value": worst.value, "threshold": rule.value, "passed": worst.passed}
            )  # fmt: skip
    return found


def claim_rows(suite: Suite) -> list[Row]:
    """Rows of ``claims``: every fact of the suite, with how it is bound."""
    bindings = {binding.id: binding for binding in suite.model.claims}
    rows = []
    for fact in suite.facts.values():
        binding = bindings.get(fact.id)
        p = fact.published
        scope = None if binding is None or binding.unbound is not None else binding.scope
        rows.append(
            {
                "claim_id": fact.id, "suite": suite.name, "benchmark": fact.benchmark, "model": fact.model,
                "metric": fact.metric, "unit": fact.unit, "better": fact.better, "method": fact.method,
                "baseline": fact.baseline, "published_method": p.method, "published_baseline": p.baseline,
                "published_difference": p.difference, "computed_difference": p.computed_difference,
                "gain_difference": p.gain_difference if p.gain_difference is not None else fact.gain_difference,
                "setting": fact.setting, "kind": fact.kind,
                "scope": scope if scope is None or isinstance(scope, str) else f"at_least: {scope.at_least}",
                "is_primary": bool(binding is not None and binding.primary), "statement": fact.statement,
                "source": fact.source, "trust": fact.trust, "unbound": None if binding is None else binding.unbound,
            }
        )  # fmt: skip
    return rows


def record_judgement(record: Callable[[Event], None], suite: str, scale: str, judgement: Judgement) -> None:
    """Journal verdicts with the trials and gates they rest on."""
    record(VerdictsEvent(judgement.verdicts, judgement.trials, judgement.gates, suite, scale))
