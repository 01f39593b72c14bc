"""Verdicts on a paper's claims, from stored trials alone, by the rules that the design fixed before results."""

from harness.judge.judging import Judgement, claim_rows, judge
from harness.judge.recomputing import recompute, verdict_times

__all__ = ["Judgement", "claim_rows", "judge", "recompute", "verdict_times"]
