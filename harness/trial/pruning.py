"""When a trial of a sweep is ended within its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class PrunedError(Exception):
    """A trial of a sweep is ended within its training: others had a better score at that step."""

    def __init__(self, step: int, value: float, bound: float) -> None:
        self.step, self.value = step, value
        super().__init__(f"pruned at step {step}: {value:g} on validation, where half of the others had {bound:g}")


@dataclass(frozen=True, slots=True)
class Pruning:
    """What a trial's score on validation has to reach as it trains, or the trial is ended.

    Attributes:
        metric: which score.
        better: whether it is better ``higher`` or ``lower``.
        bounds: by the number of steps done.
    """

    metric: str
    better: str
    bounds: Mapping[int, float]

    def look(self, step: int, value: float) -> None:
        """Judge a score that was reached after ``step`` steps.

        Raises:
            PrunedError: it is worse than the bound of that step, or no number.
        """
        bound = self.bounds.get(step)
        if bound is not None and not (value >= bound if self.better == "higher" else value <= bound):
            raise PrunedError(step, value, bound)
