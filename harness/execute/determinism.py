"""A run's own check of determinism: quick trials of it run once more, and every number is compared.

A trial has one outcome: the second is no event of its own but the content of an event ``determinism``, from which the
judge makes claims invalid whose trials came out otherwise, and which the reports show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.execute.outcome import Outcome
from harness.execute.worker import Job
from harness.vocabulary import Status

SHARE = 0.02
"""Of a run's computing that may be spent on repeating."""
LONGEST = 60.0
"""Seconds; no trial that takes longer is repeated."""


FinishedTrial = tuple[Job, Outcome]
"""A trial that this run finished."""


def chosen(finished: Sequence[FinishedTrial]) -> list[FinishedTrial]:
    """The quickest trial of each task, the quickest first, within ``SHARE`` of the computing; one at least.

    Empty where even the quickest takes longer than ``LONGEST``.
    """
    quickest: dict[str, FinishedTrial] = {}
    for job, outcome in sorted(finished, key=lambda one: (one[1].wall_seconds or 0.0, one[0].trial_id)):
        quickest.setdefault(job.spec.task, (job, outcome))
    allowance = SHARE * sum(outcome.wall_seconds or 0.0 for _, outcome in finished)
    taken: list[FinishedTrial] = []
    for job, outcome in quickest.values():
        seconds = outcome.wall_seconds or 0.0
        allowance -= seconds
        if seconds > LONGEST or (taken and allowance < 0):
            break
        taken.append((job, outcome))
    return taken


def again(job: Job) -> Job:
    """The job of the second run: in a folder of its own, leaving no product."""
    return replace(job, folder=job.folder / "again", keep_product=False, attempt=1, needs=())


def compared(job: Job, first: Outcome, second: Outcome) -> dict[str, Any]:
    """The journal's detail: how many numbers were compared, and which differ in any bit."""
    one, other = ({score[:2]: score.value for score in outcome.results} for outcome in (first, second))
    common = sorted(one.keys() & other.keys())
    differing = [key for key in common if not same(one[key], other[key])] + sorted(one.keys() ^ other.keys())
    return {
        "trial_id": job.trial_id,
        "label": job.label,
        "status": second.status,
        "numbers": len(common),
        "differing": [f"{split}.{metric}" for split, metric in differing],
        "equal": second.status == Status.DONE and not differing,
        "environment_id": second.environment_id or "",
        "results": [score._asdict() for score in second.results],
    }


def same(one: float | None, other: float | None) -> bool:
    """Whether two numbers are equal, NaN to NaN."""
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))
