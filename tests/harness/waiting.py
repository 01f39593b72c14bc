"""Waiting for a state, never for a time."""

import time
from collections.abc import Callable

PATIENCE = 240.0
"""Seconds that only a hang reaches, however loaded the machine is."""


def until(true: Callable[[], object], what: str = "", every: float = 0.02) -> None:
    """Wait until a condition holds; it is looked at every so many seconds.

    Raises:
        AssertionError: it never does.
    """
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, what or "it never came"
        time.sleep(every)
