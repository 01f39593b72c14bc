"""How long what is left of a run will take: measured means of each cell, earlier prices for cells not yet seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Cell = tuple[str, str]
"""(benchmark, arm); an arm under another name (``adamp#3``, ``adamp-tuned``) counts as the arm where that is known."""


def base_arm(arm: str, known: Collection[str]) -> str:
    """The arm that a changed one was made of: the longest known name that it begins with, or its own."""
    made = arm.partition("#")[0]
    if made in known:
        return made
    before = [name for name in known if made.startswith(f"{name}-")]
    return max(before, key=len, default=made)


class _Sums(NamedTuple):
    """Seconds and trials by cell, prices by benchmark; and by benchmark, or None for all, seconds and their prices."""

    seconds: dict[Cell, float]
    trials: dict[Cell, int]
    prices: dict[str, list[float]]
    by_benchmark: dict[str | None, tuple[float, float]]


@dataclass(slots=True)
class Durations:
    """What a trial of each cell takes, learned as trials end.

    Attributes:
        prices: seconds known before by cell, from earlier trials or from steps that preflight took; they serve for
            cells of which no trial has ended, scaled by what cells took that have both.
    """

    prices: Mapping[Cell, float] = field(default_factory=dict)
    _seconds: dict[Cell, float] = field(default_factory=lambda: defaultdict(float), init=False)
    _count: dict[Cell, int] = field(default_factory=lambda: defaultdict(int), init=False)
    _arms: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set), init=False)

    def __post_init__(self) -> None:
        self.expect(self.prices)

    def expect(self, prices: Mapping[Cell, float]) -> None:
        """Take prices that are known before; their arms are what changed ones are made of."""
        self.prices = prices
        for benchmark, arm in prices:
            self._arms[benchmark].add(arm)

    def named(self, benchmark: str, arms: Iterable[str]) -> None:
        """Arms of a benchmark under their own names; they are what changed ones are made of."""
        self._arms[benchmark].update(arms)

    def cell(self, benchmark: str, arm: str) -> Cell:
        """The cell that an arm counts as."""
        return benchmark, base_arm(arm, self._arms[benchmark])

    def ended(self, benchmark: str, arm: str, seconds: float) -> None:
        """A trial took so long."""
        cell = self.cell(benchmark, arm)
        self._seconds[cell] += seconds
        self._count[cell] += 1

    @property
    def worked(self) -> float:
        """Seconds of all trials that ended."""
        return sum(list(self._seconds.values()))

    def of(self, benchmark: str, arm: str) -> float | None:
        """Seconds that a trial will take; None where nothing is known at all.

        Its cell's mean, drawn by the weight of one trial to what its benchmark's trials say of it, which is drawn so
        to what all say: their seconds over their prices, times its own price.
        """
        return self._expected(self.cell(benchmark, arm), self._sums())

    def _sums(self) -> _Sums:
        """What has ended so far; copies, since trials may end in another thread meanwhile."""
        sums = _Sums(dict(self._seconds), dict(self._count), defaultdict(list), {})
        for (benchmark, _), price in self.prices.items():
            sums.prices[benchmark].append(price)
        for cell, seconds in sums.seconds.items():
            asked = self._price(cell, sums) * sums.trials.get(cell, 0)
            for at in (cell[0], None):
                before = sums.by_benchmark.get(at, (0.0, 0.0))
                sums.by_benchmark[at] = before[0] + seconds, before[1] + asked
        return sums

    def _price(self, cell: Cell, sums: _Sums) -> float:
        """What a trial cost before: the cell's, else the mean of its benchmark's, of all, or a unit."""
        if cell in self.prices:
            return self.prices[cell]
        known = sums.prices.get(cell[0]) or list(self.prices.values()) or [1.0]
        return sum(known) / len(known)

    def _expected(self, cell: Cell, sums: _Sums) -> float | None:
        price = self._price(cell, sums)
        taken, asked = sums.by_benchmark.get(None, (0.0, 0.0))
        if not asked:
            return self.prices.get(cell)
        near, asked_near = sums.by_benchmark.get(cell[0], (0.0, 0.0))
        scale = (near + taken / asked * price) / (asked_near + price)
        return (sums.seconds.get(cell, 0.0) + scale * price) / (sums.trials.get(cell, 0) + 1)

    def seconds(self, waiting: Mapping[Cell, int]) -> float | None:
        """Seconds of so many trials of each cell, one after another; None where a cell's are not known."""
        sums = self._sums()
        each = [(self._expected(self.cell(*cell), sums), count) for cell, count in waiting.items() if count]
        if any(one is None for one, _ in each):
            return None
        return sum((one or 0.0) * count for one, count in each)

    def left(self, waiting: Mapping[Cell, int], running: Iterable[tuple[Cell, float]], elapsed: float) -> float | None:
        """Seconds until the last trial has ended.

        Args:
            waiting: how many trials of each cell have not begun.
            running: each running trial's cell, and the seconds since it began.
            elapsed: seconds since the first trial began. So many seconds of trials as were done in it, side by side
                and with all pauses between them, will be done in as many again.
        """
        running = list(running)
        rest = self.seconds(waiting)
        worked = self.worked + sum(so_far for _, so_far in running)
        if rest is None or not self._count or worked <= 0 or elapsed <= 0:
            return None
        under_way = sum(max(0.0, (self.of(*cell) or so_far) - so_far) for cell, so_far in running)
        return (rest + under_way) * elapsed / worked
