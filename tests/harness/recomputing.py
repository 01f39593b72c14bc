"""Recompute stored verdicts from stored trials."""

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from harness.judge.correction import CorrectedFamily, corrected
from harness.judge.design import PREFIX, ClaimDesign, DesignBlock
from harness.judge.detail import from_json
from harness.judge.evidence import read_evidence
from harness.judge.judging import examine_claim, verdict_row
from harness.store.queries import Queries

NUMBERS = ("n", "difference", "ci_low", "ci_high", "p", "adjusted_p", "e_value")


def differing(reader: Queries, claim_id: str, scale: str, judged_at: datetime) -> list[str]:
    """Columns of a stored verdict that differ from a recomputation.

    The p values of the other tests of its family are those stored with it.
    """
    place = [claim_id, scale, judged_at]
    where = "WHERE claim_id = ? AND scale = ? AND judged_at = ?"
    (stored,) = reader.query(f"SELECT * FROM verdicts {where}", place).dicts()
    trials = [trial for (trial,) in reader.query(f"SELECT DISTINCT trial_id FROM verdict_trials {where}", place).rows]
    detail, evidence = from_json(stored["design"]), read_evidence(reader, trials)
    claim = examine_claim(whole(detail, {trial[:PREFIX]: trial for trial in trials}), evidence)
    families: dict[str, CorrectedFamily] = {}
    for tested in (*detail.other_families, *filter(None, [detail.test])):
        p = {**tested.p, **{name: value for name, value in claim.p.items() if value is not None and name in tested.p}}
        bounds = {(name, m, up): value for name, m, up, value in tested.bounds}
        for each in (*claim.units, *claim.values):
            bounds |= {bound: value for bound, value in each.p_smaller.items() if bound[0] in tested.p}
        families |= dict.fromkeys(p, corrected(tested.family or claim.design.multiplicity.family, p, bounds))
    row = verdict_row(claim, evidence, detail.check, families, judged_at)
    again = row.columns()
    wrong = [name for name in NUMBERS if not _same(again[name], stored[name])]
    wrong += [name for name in ("verdict", "sequential") if again[name] != stored[name]]
    return wrong + (["registered"] if row.detail.registered != detail.registered else [])


def whole(design: ClaimDesign, trial_ids: Mapping[str, str]) -> ClaimDesign:
    """A stored design with whole trial_ids by their first digits."""
    return replace(design, blocks=tuple(_block(block, trial_ids) for block in design.blocks))


def _block(stored: DesignBlock, trial_ids: Mapping[str, str]) -> DesignBlock:
    cells = {arm: {seed: trial_ids[trial] for seed, trial in cell.items()} for arm, cell in stored.cells.items()}
    return replace(stored, cells=cells, teacher_trials=tuple(trial_ids[trial] for trial in stored.teacher_trials))


def _same(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return (math.isnan(first) and math.isnan(second)) or math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-9)
