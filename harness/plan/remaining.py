"""How long what is left of a run will take: measured means of each cell, earlier prices for cells not yet seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

Cell = tuple[str, str]
"""(benchmark, arm); an arm under another name (``adamp#3``, ``adamp-tuned``) counts as the arm where that is known."""


def base_arm(arm: str, known: Collection[str]) -> str:
    """The arm that a changed one was made of: the longest known name that it begins with, or its own."""
    made = arm.partition("#")[0]
    if made in known:
        return made
    before = [name for name in known if made.startswith(f"{name}-")]
    return max(before, key=len, default=made)


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

        Its cell's mean; else its price, scaled by its benchmark's other cells, or by all; else the mean of its
        benchmark, or of all.
        """
        cell = self.cell(benchmark, arm)
        if self._count.get(cell):
            return self._seconds[cell] / self._count[cell]
        seen = list(self._count)  # a copy: trials may end in another thread meanwhile
        near = [other for other in seen if other[0] == benchmark]
        price = self.prices.get(cell)
        for cells in (near, seen):
            if not cells:
                continue
            priced = [other for other in cells if self.prices.get(other)]
            if price is not None and priced:
                asked = sum(self.prices[other] * self._count[other] for other in priced)
                return price * sum(self._seconds[other] for other in priced) / asked
            if price is None or cells is near:
                return sum(self._seconds[other] for other in cells) / sum(self._count[other] for other in cells)
        return price

    def seconds(self, waiting: Mapping[Cell, int]) -> float | None:
        """Seconds of so many trials of each cell, one after another; None where a cell's are not known."""
        each = [(self.of(*cell), count) for cell, count in waiting.items() if count]
        if any(one is None for one, _ in each):
            return None
        return sum((one or 0.0) * count for one, count in each)

    def left(
        self, waiting: Mapping[Cell, int], running: Iterable[tuple[Cell, float]], elapsed: float
    ) -> float | None:  # fmt: skip
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
