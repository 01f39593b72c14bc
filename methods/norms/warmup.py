"""The warm-up of a norm whose statistics need steps to settle."""

from __future__ import annotations


def resolve_warmup(norm: str, steps: int, fraction: float | None, total: int | None) -> int:
    """Steps of the warm-up.

    Args:
        norm: the norm, for messages.
        steps: number of steps, used where no fraction is given.
        fraction: share of the run's steps in [0, 1], or None.
        total: steps of the run.

    Returns:
        A whole number, at least 0.

    Raises:
        ValueError: negative steps, a fraction outside [0, 1], or a fraction without the number of steps.
    """
    if fraction is None:
        if steps < 0:
            raise ValueError(f"{norm}: warmup_steps must be at least 0, got {steps}")
        return steps
    if not 0 <= fraction <= 1:
        raise ValueError(f"{norm}: warmup_fraction must lie in [0, 1], got {fraction}")
    if total is None:
        raise ValueError(f"{norm}: warmup_fraction needs total_steps, the number of steps of the run")
    return round(fraction * total)
