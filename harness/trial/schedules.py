"""Learning-rate schedules as factors of the base learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from harness.errors import HarnessError, choices


class Rates(Protocol):
    """The recipe keys of a schedule."""

    @property
    def schedule(self) -> str:
        """Its name."""

    @property
    def warmup(self) -> float:
        """Share or number of the steps with linear warm-up."""

    @property
    def milestones(self) -> tuple[float, ...]:
        """Shares or numbers of steps at which ``gamma`` is applied."""

    @property
    def gamma(self) -> float:
        """Factor at a milestone."""

    @property
    def min_lr_ratio(self) -> float:
        """Last learning rate as a share of the first."""


def _constant(recipe: Rates, step: int, warm: int, total: int) -> float:
    return 1.0


def _cosine(recipe: Rates, step: int, warm: int, total: int) -> float:
    return _towards_last(recipe, 0.5 * (1 + math.cos(math.pi * _progress(step, warm, total))))


def _step(recipe: Rates, step: int, warm: int, total: int) -> float:
    return recipe.gamma ** sum(step >= _at(milestone, total) for milestone in recipe.milestones)


def _linear(recipe: Rates, step: int, warm: int, total: int) -> float:
    return _towards_last(recipe, 1 - _progress(step, warm, total))


def _inverse_sqrt(recipe: Rates, step: int, warm: int, total: int) -> float:
    return math.sqrt(max(1, warm) / max(1, step + 1))


def _progress(step: int, warm: int, total: int) -> float:
    """The share of the steps after the warm-up that is done."""
    return (step - warm) / max(1, total - warm)


def _towards_last(recipe: Rates, shape: float) -> float:
    """A factor that falls from 1 to ``min_lr_ratio`` as ``shape`` falls from 1 to 0."""
    return recipe.min_lr_ratio + (1 - recipe.min_lr_ratio) * shape


SCHEDULES: Mapping[str, Callable[[Rates, int, int, int], float]] = MappingProxyType(
    {"constant": _constant, "cosine": _cosine, "step": _step, "linear": _linear, "inverse-sqrt": _inverse_sqrt}
)
"""Factor at a step after the warm-up, by name: of (recipe, step, steps of warm-up, all steps)."""


def factor(recipe: Rates, step: int, total: int) -> float:
    """The factor at a step that counts from 0, of ``total`` steps.

    ``warmup`` up to 1 is a share of the steps, above 1 a number of steps; it rises linearly to 1 and the schedule
    runs over what remains. ``inverse-sqrt`` falls as 1/√step after the warm-up (Vaswani et al. 2017).

    Raises:
        HarnessError: the recipe names a schedule that does not exist.
    """
    return factors(recipe, total)(step)


def factors(recipe: Rates, total: int) -> Callable[[int], float]:
    """:func:`factor` as a function of the step.

    Raises:
        HarnessError: the recipe names a schedule that does not exist.
    """
    if recipe.schedule not in SCHEDULES:
        raise HarnessError(f"unknown schedule '{recipe.schedule}'; {choices(dict(SCHEDULES), recipe.schedule)}")
    warm = round(recipe.warmup * total) if recipe.warmup <= 1 else int(recipe.warmup)
    after = SCHEDULES[recipe.schedule]
    return lambda step: (step + 1) / warm if step < warm else after(recipe, step, warm, total)


def _at(milestone: float, total: int) -> int:
    """A milestone up to 1 is a share of the steps, above 1 a step."""
    return round(milestone * total) if milestone <= 1 else int(milestone)


def evenly(total: int, count: int) -> set[int]:
    """``count`` steps, evenly spaced, the last step among them."""
    return {max(0, round(total * (k + 1) / count) - 1) for k in range(count)}


def log_spaced(total: int, count: int = 50) -> set[int]:
    """About ``count`` steps, dense at the start, the first and the last among them."""
    if total <= count:
        return set(range(total))
    return {min(total - 1, round(total ** (k / (count - 1))) - 1) for k in range(count)}
