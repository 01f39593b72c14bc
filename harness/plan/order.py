"""In which order trials begin: seed after seed, so that pairs end together; in a seed those that take longest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from harness.plan.remaining import Durations


class Waiting(NamedTuple):
    """A trial that is to run, and the ones that must have ended before."""

    trial_id: str
    benchmark: str
    arm: str
    seed: int
    needs: tuple[str, ...] = ()


def in_order(trials: Sequence[Waiting], durations: Durations) -> list[Waiting]:
    """Seed after seed: a budget of time that ends early leaves whole pairs.

    In a seed those come first that take longest, with what waits for them, so that none of them is the last one to
    run alone. In the first seed the benchmarks take turns: what is left can be told after a tenth only once a trial of
    each has been seen. Trials of which nothing is known keep their order.
    """
    chain = _chains(trials, durations)
    first = min((trial.seed for trial in trials), default=0)
    places = {trial.trial_id: place for place, trial in enumerate(trials)}
    turn: dict[str, int] = {}
    by_benchmark: dict[str, list[Waiting]] = defaultdict(list)
    for trial in trials:
        if trial.seed == first:
            by_benchmark[trial.benchmark].append(trial)
    for own in by_benchmark.values():
        own.sort(key=lambda trial: (-chain[trial.trial_id], places[trial.trial_id]))
        turn.update((trial.trial_id, place) for place, trial in enumerate(own))

    def key(trial: Waiting) -> tuple[int, int, float, int]:
        name = trial.trial_id
        return trial.seed, turn.get(name, 0), -chain[name], places[name]

    return sorted(trials, key=key)


def _chains(trials: Iterable[Waiting], durations: Durations) -> dict[str, float]:
    """Seconds from each trial's start to the end of the longest of what waits for it."""
    given = list(trials)
    after: dict[str, list[str]] = defaultdict(list)
    for trial in given:
        for need in trial.needs:
            after[need].append(trial.trial_id)
    chain: dict[str, float] = {}
    for trial in reversed(given):  # a plan has what is needed before what needs it
        own = durations.of(trial.benchmark, trial.arm) or 0.0
        chain[trial.trial_id] = own + max((chain.get(one, 0.0) for one in after[trial.trial_id]), default=0.0)
    return chain
