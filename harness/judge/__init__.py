"""Verdicts on a paper's claims, from stored trials alone, by the rules that the design fixed before results."""

from harness.judge.ablation import ablations
from harness.judge.judging import Judgement, claim_rows, judge
from harness.judge.policy import Pending, Purchase, next_seeds, pending_claims
from harness.judge.recomputing import recompute, verdict_times

__all__ = [
    "Judgement",
    "Pending",
    "Purchase",
    "ablations",
    "claim_rows",
    "judge",
    "next_seeds",
    "pending_claims",
    "recompute",
    "verdict_times",
]
