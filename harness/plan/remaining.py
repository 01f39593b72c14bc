"""Time left of a run, and the order in which trials begin."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

Cell = tuple[str, str]
"""A configuration: (benchmark, arm)."""


class Durations:
    """Seconds of ended trials by configuration, medians of which estimate others."""

    def __init__(self) -> None:
        self._seconds: dict[Cell, list[float]] = defaultdict(list)

    def ended(self, benchmark: str, arm: str, seconds: float) -> None:
        """Add a trial that took so long."""
        self._seconds[benchmark, arm.partition("#")[0]].append(seconds)  # ``arm#3`` is an arm of a sweep

    def medians(self, cells: Iterable[Cell]) -> dict[Cell, float]:
        """Seconds of a trial of each configuration; empty before the first trial has ended."""
        ended = {cell: tuple(seconds) for cell, seconds in list(self._seconds.items())}  # other threads append
        if not ended:
            return {}
        overall = statistics.median(second for seconds in ended.values() for second in seconds)
        own = ((cell, ended.get((cell[0], cell[1].partition("#")[0]))) for cell in cells)
        return {cell: statistics.median(seconds) if seconds else overall for cell, seconds in own}

    def left(self, waiting: Mapping[Cell, int], running: Iterable[tuple[Cell, float]], elapsed: float) -> float | None:
        """Seconds until the last trial has ended; None before the first one has.

        ``running`` has the configuration of each running trial and the seconds since it began; ``elapsed`` are those
        since the first trial began.
        """
        running = list(running)
        each = self.medians({*waiting, *(cell for cell, _ in running)})
        worked = sum(map(sum, list(self._seconds.values()))) + sum(so_far for _, so_far in running)
        if (not each and (waiting or running)) or worked <= 0 or elapsed <= 0:
            return None
        rest = sum(each[cell] * count for cell, count in waiting.items())
        rest += sum(max(0.0, each[cell] - so_far) for cell, so_far in running)
        return rest * elapsed / worked


class Waiting(NamedTuple):
    """A trial to run, and the trials that must end before."""

    trial_id: str
    benchmark: str
    arm: str
    seed: int
    needs: tuple[str, ...] = ()


def in_order(trials: Sequence[Waiting], seconds: Mapping[Cell, float]) -> list[Waiting]:
    """Sort trials by seed, so that an interrupted run leaves whole pairs.

    Within a seed the longest come first, counted with their dependants, so that none runs alone at the end.
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
