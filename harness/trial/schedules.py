"""Learning-rate schedules as factors of the base learning rate."""

from __future__ import annotations

import math

from harness.trial.recipe import Recipe


def factor(recipe: Recipe, step: int, total: int) -> float:
    """The factor at a step that counts from 0, of ``total`` steps.

    ``warmup`` up to 1 is a share of the steps, above 1 a number of steps; it rises linearly to 1 and the schedule
    runs over what remains. ``inverse-sqrt`` falls as 1/√step after the warm-up (Vaswani et al. 2017).

    Raises:
        ValueError: there is no such schedule.
    """
    warm = round(recipe.warmup * total) if recipe.warmup <= 1 else int(recipe.warmup)
    if step < warm:
        return (step + 1) / warm
    if recipe.schedule == "constant":
        return 1.0
    if recipe.schedule == "inverse-sqrt":
        return math.sqrt(max(1, warm) / max(1, step + 1))
    if recipe.schedule == "step":
        return recipe.gamma ** sum(step >= _at(milestone, total) for milestone in recipe.milestones)
    progress = (step - warm) / max(1, total - warm)
    if recipe.schedule == "cosine":
        shape = 0.5 * (1 + math.cos(math.pi * progress))
    elif recipe.schedule == "linear":
        shape = 1 - progress
    else:
        raise ValueError(f"no schedule '{recipe.schedule}'")
    return recipe.min_lr_ratio + (1 - recipe.min_lr_ratio) * shape


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
