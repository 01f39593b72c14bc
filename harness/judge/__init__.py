"""Verdicts on a paper's claims, from stored trials alone, by the rules that the design fixed before results.

The stages, in order: ``bindings`` (a claim's ``design``), ``evidence``, ``pairs``, ``tests``, ``gates``, ``units``,
``correction``, ``verdicts``, ``rows``; ``seeds`` says which trials would resolve what is open.
"""

from harness.judge.ablation import ablations
from harness.judge.judging import Judgement, claim_rows, judge, record_judgement
from harness.judge.rows import VerdictRow
from harness.judge.seeds import Pending, Purchase, next_seeds, pending_claims, with_bought

__all__ = [
    "Judgement",
    "Pending",
    "Purchase",
    "VerdictRow",
    "ablations",
    "claim_rows",
    "judge",
    "next_seeds",
    "pending_claims",
    "record_judgement",
    "with_bought",
]
