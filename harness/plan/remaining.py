"""Time left of a run: the median time of ended trials of a configuration, else of all."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping

Cell = tuple[str, str]
"""A configuration: (benchmark, arm)."""


def _own_arm(arm: str) -> str:
    """The arm of a sweep's configuration ``arm#3``."""
    return arm.partition("#")[0]


class Durations:
    """Seconds of ended trials by configuration."""

    def __init__(self) -> None:
        self._seconds: dict[Cell, list[float]] = defaultdict(list)

    def ended(self, benchmark: str, arm: str, seconds: float) -> None:
        """Add a trial that took so long."""
        self._seconds[benchmark, _own_arm(arm)].append(seconds)

    def medians(self, cells: Iterable[Cell]) -> dict[Cell, float]:
        """Seconds of a trial of each configuration; empty before the first trial has ended."""
        ended = {
            cell: tuple(seconds) for cell, seconds in list(self._seconds.items())
        }  # the terminal reads in a thread
        if not ended:
            return {}
        overall = statistics.median(item for seconds in ended.values() for item in seconds)
        own = ((cell, ended.get((cell[0], _own_arm(cell[1])))) for cell in cells)
        return {cell: statistics.median(seconds) if seconds else overall for cell, seconds in own}

    def left(self, waiting: Mapping[Cell, int], running: Iterable[tuple[Cell, float]], elapsed: float) -> float | None:
        """Seconds until the last trial has ended; None before the first one has.

        Args:
            waiting: numbers of trials that have not begun, by configuration.
            running: the configuration of each running trial, and the seconds since it began.
            elapsed: seconds since the first trial began; trials run side by side as they did until now.
        """
        running = list(running)
        each = self.medians({*waiting, *(cell for cell, _ in running)})
        worked = sum(map(sum, list(self._seconds.values()))) + sum(so_far for _, so_far in running)
        if (not each and (waiting or running)) or worked <= 0 or elapsed <= 0:
            return None
        rest = sum(each[cell] * count for cell, count in waiting.items())
        rest += sum(max(0.0, each[cell] - so_far) for cell, so_far in running)
        return rest * elapsed / worked
