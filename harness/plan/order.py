"""Order in which trials begin: seed after seed, and the longest first within a seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.plan.remaining import Cell


class Waiting(NamedTuple):
    """A trial that is to run, and the trials that must have ended before."""

    trial_id: str
    benchmark: str
    arm: str
    seed: int
    needs: tuple[str, ...] = ()


def in_order(trials: Sequence[Waiting], seconds: Mapping[Cell, float]) -> list[Waiting]:
    """Sort trials by seed, so that a run that stops early leaves whole pairs.

    Within a seed those come first that take longest together with the trials that wait for them, so that none of them
    runs alone at the end. Trials of unknown length keep their order.
    """
    after: dict[str, list[str]] = defaultdict(list)
    for trial in trials:
        for need in trial.needs:
            after[need].append(trial.trial_id)
    chain: dict[str, float] = {}  # seconds from a trial's start to the end of the longest of those that wait for it
    for trial in reversed(trials):  # a plan has dependencies before the trials that need them
        own = seconds.get((trial.benchmark, trial.arm), 0.0)
        later = (chain.get(name, 0.0) for name in after[trial.trial_id])
        chain[trial.trial_id] = own + max(later, default=0.0)
    return sorted(trials, key=lambda trial: (trial.seed, -chain[trial.trial_id]))
