"""A stored verdict computed again from ``verdict_trials``, ``results`` and its stored design alone.

What the database promises: neither the suite nor any plan is needed to get from the stored trials to the verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from harness.judge.checks import CheckResult, stored_check
from harness.judge.correction import corrected
from harness.judge.design import (
    PREFIX,
    ClaimDesign,
    DesignBlock,
    Estimand,
    Multiplicity,
    Pairing,
    Question,
    StatisticalRules,
    Stop,
)
from harness.judge.evidence import read_evidence
from harness.judge.judging import examine_claim, verdict_row
from harness.store.queries import Queries
from harness.suite.models import Gate
from harness.vocabulary import Verdict

NUMBERS = ("n", "difference", "ci_low", "ci_high", "p", "adjusted_p", "e_value")


def differing(reader: Queries, claim_id: str, scale: str, judged_at: datetime) -> list[str]:
    """The columns of a stored verdict that do not follow from what is stored with it.

    The p values of the other tests of its family are those stored with the design.
    """
    place = [claim_id, scale, judged_at]
    where = "WHERE claim_id = ? AND scale = ? AND judged_at = ?"
    (stored,) = reader.query(f"SELECT * FROM verdicts {where}", place).dicts()
    trials = [trial for (trial,) in reader.query(f"SELECT DISTINCT trial_id FROM verdict_trials {where}", place).rows]
    kept = stored["design"]
    claim = examine_claim(design_from(kept, {trial[:PREFIX]: trial for trial in trials}), read_evidence(reader, trials))
    p = dict(kept.get("family_p") or {})
    p |= {name: value for name, value in claim.p.items() if value is not None}
    bounds = {(name, m, up): value for name, m, up, value in kept.get("family_bounds") or ()}
    bounds |= {bound: value for unit in claim.units for bound, value in unit.p_smaller.items()}
    family = corrected(claim.design.multiplicity.family, p, bounds)
    check: CheckResult | None = stored_check(kept)
    row = verdict_row(claim, read_evidence(reader, trials), check, family, judged_at)
    again = row.columns()
    wrong = [name for name in NUMBERS if not _same(again[name], stored[name])]
    wrong += [name for name in ("verdict", "sequential") if again[name] != stored[name]]
    return wrong + (["registered"] if row.design["registered"] != kept["registered"] else [])


def design_from(stored: Mapping[str, Any], trial_ids: Mapping[str, str]) -> ClaimDesign:
    """A design as it was stored, with whole trial_ids by their first digits."""
    check = stored.get("check")
    flat = {"domains": None, **{name: _tuples(value) for name, value in stored.items()}}
    flat |= {"contrast": stored["contrast_id"], "check": check["name"] if isinstance(check, Mapping) else check}

    def part(kind: Any) -> Any:
        return kind(**{each.name: flat[each.name] for each in fields(kind)})

    stopped = flat["stopped"]
    return ClaimDesign(
        flat["scale"],
        part(Question),
        part(Pairing),
        part(Estimand),
        part(StatisticalRules),
        part(Multiplicity),
        gates=tuple(Gate(**gate) for gate in stored["gates"]),
        blocks=tuple(_block(block, trial_ids) for block in stored["blocks"]),
        absent=flat["absent"],
        stand_in=flat["stand_in"],
        stopped=None if stopped is None else Stop(Verdict.of(stopped[0]), stopped[1]),
    )


def _block(stored: Mapping[str, Any], trial_ids: Mapping[str, str]) -> DesignBlock:
    plain = {name: _tuples(value) for name, value in stored.items()}
    plain["cells"] = {
        arm: {int(seed): trial_ids[trial] for seed, trial in cell.items()} for arm, cell in stored["cells"].items()
    }
    return DesignBlock(**plain | {"teacher_trials": tuple(trial_ids[trial] for trial in stored["teacher_trials"])})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
