"""A run's own check of determinism: quick trials of it run once more, and every number is compared.

A trial has one outcome: the second is no event of its own but the content of an event ``determinism``, from which the
judge makes claims invalid whose trials came out otherwise, and which the reports show.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.execute.worker import Job
from harness.store.outcome import Outcome
from harness.vocabulary import Status

SHARE = 0.02
"""Of a run's computing that may be spent on repeating."""
LONGEST = 60.0
"""Seconds; no trial that takes longer is repeated."""


@dataclass(frozen=True, slots=True)
class FinishedTrial:
    """A trial that this run finished: what it was, how long it took, its final numbers."""

    job: Job
    seconds: float
    environment_id: str
    results: Mapping[tuple[str, str], float | None]

    @classmethod
    def of(cls, job: Job, outcome: Outcome) -> FinishedTrial:
        """Of a trial's outcome."""
        results = {(split, metric): value for split, metric, value in outcome.results}
        return cls(job, outcome.wall_seconds or 0.0, outcome.environment_id or "", results)


def chosen(finished: Sequence[FinishedTrial]) -> list[FinishedTrial]:
    """The quickest trial of each task, the quickest first, within ``SHARE`` of the computing; one at least.

    Empty where even the quickest takes longer than ``LONGEST``.
    """
    quickest: dict[str, FinishedTrial] = {}
    for one in sorted(finished, key=lambda one: (one.seconds, one.job.trial_id)):
        quickest.setdefault(one.job.spec.task, one)
    allowance = SHARE * sum(one.seconds for one in finished)
    taken: list[FinishedTrial] = []
    for one in quickest.values():
        allowance -= one.seconds
        if one.seconds > LONGEST or (taken and allowance < 0):
            break
        taken.append(one)
    return taken


def again(one: FinishedTrial) -> Job:
    """The job of the second run: in a folder of its own, leaving no product."""
    return replace(one.job, folder=one.job.folder / "again", keep_product=False, attempt=1, needs=())


def compared(first: FinishedTrial, outcome: Outcome) -> dict[str, Any]:
    """The journal's detail: how many numbers were compared, and which differ in any bit."""
    second = FinishedTrial.of(first.job, outcome)
    common = sorted(first.results.keys() & second.results.keys())
    differing = [key for key in common if not same(first.results[key], second.results[key])]
    lost = sorted(first.results.keys() ^ second.results.keys())
    return {
        "trial_id": first.job.trial_id,
        "label": first.job.label,
        "status": outcome.status,
        "numbers": len(common),
        "differing": [f"{split}.{metric}" for split, metric in [*differing, *lost]],
        "equal": outcome.status == Status.DONE and not differing and not lost,
        "environment_id": second.environment_id,
        "results": [score._asdict() for score in outcome.results],
    }


def same(one: float | None, other: float | None) -> bool:
    """Whether two numbers are equal, NaN to NaN."""
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))
