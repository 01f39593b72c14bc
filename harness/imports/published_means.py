"""Verdicts from published means with their sds: unpaired, by Welch's t test."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from harness import stats
from harness.errors import HarnessError
from harness.judge.comparing import ArmScore
from harness.judge.correction import adjust
from harness.judge.design import ClaimDesign
from harness.judge.rows import VerdictRow, empty_row
from harness.judge.tests import FEWEST
from harness.vocabulary import Verdict

UNPAIRED = "unpaired: published means ± sd, Welch's t; what both arms share does not cancel out"


def published_rows(
    designs: Sequence[ClaimDesign],
    scores: Sequence[ArmScore],
    spreads: Mapping[tuple[str, str], tuple[float, int]],
    judged_at: datetime,
) -> list[VerdictRow]:
    """The verdict of each comparison on each benchmark.

    Raises:
        HarnessError: both sds of a comparison are 0.
    """
    means = {(score.benchmark, score.arm): score.value for score in scores}
    # sizes are differences: a logarithm of means is not a mean of logarithms
    designs = [replace(design, pairing=replace(design.pairing, log_ratio=False)) for design in designs]
    tested = {design.claim_id: _tested(design, means, spreads) for design in designs}
    adjusted: dict[str, float] = {}
    for family in {design.multiplicity.family for design in designs}:
        members = [design.claim_id for design in designs if design.multiplicity.family == family]
        adjusted |= adjust(family, {name: tested[name].p for name in members})
    return [_row(design, tested[design.claim_id], adjusted[design.claim_id], judged_at) for design in designs]


def _tested(
    design: ClaimDesign, means: Mapping[tuple[str, str], float], spreads: Mapping[tuple[str, str], tuple[float, int]]
) -> stats.Inference:
    (block,) = design.blocks
    method, other = ((block.benchmark, arm) for arm in block.chain)
    (sd, n), (other_sd, other_n) = spreads[method], spreads[other]
    if max(sd, other_sd) == 0:
        raise HarnessError(f"{design.claim_id}: both sds are 0; a deterministic arm needs no test")
    signed = (block.direction * means[method], block.direction * means[other])
    return stats.welch_t(signed, (sd, other_sd), (n, other_n), design.rules.alpha)


def _row(design: ClaimDesign, tested: stats.Inference, adjusted_p: float, judged_at: datetime) -> VerdictRow:
    word = Verdict.INCONCLUSIVE
    if adjusted_p <= design.rules.alpha and tested.n >= FEWEST:
        word = Verdict.CONFIRMED if tested.estimate > 0 else Verdict.REVERSED
    row = empty_row(design, judged_at, word, None)
    detail = replace(row.detail, warnings=(UNPAIRED,))
    row = replace(row, n=tested.n, difference=tested.estimate, ci_low=tested.low, ci_high=tested.high)
    return replace(row, p=tested.p, adjusted_p=adjusted_p, detail=detail)
