"""Checks of hyper-parameters; messages name the method and the valid values."""

from collections.abc import Sequence


def check_choice(method: str, name: str, value: object, allowed: Sequence[object]) -> None:
    """Reject a value outside an option's choices (ValueError)."""
    if value not in allowed:
        raise ValueError(f"{method}: {name} must be one of {', '.join(map(str, allowed))}, got {value!r}")


def check_positive(method: str, **values: float) -> None:
    """Reject numbers that are not above zero (ValueError)."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{method}: {name} must be above 0, got {value}")
