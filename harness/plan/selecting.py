"""One way from the options of a command, or of ``harness.run``, to a selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.plan.planning import Selection
    from harness.registry.user_methods import UserMethod

Seeds = int | str | Sequence[int] | None


@dataclass(frozen=True, slots=True)
class Chosen:
    """A selection, and the methods that its arms ``NAME=FILE.py:CLASS`` add."""

    selection: Selection
    methods: tuple[UserMethod, ...]


def choose(
    scale: str,
    benchmarks: Sequence[str] | None = None,
    arms: Sequence[str] | None = None,
    seeds: Seeds = None,
    overrides: Mapping[str, object] | None = None,
) -> Chosen:
    """Select parts of a suite.

    Args:
        arms: names of the suite's arms, or ``NAME=FILE.py:CLASS``, which adds one.
        seeds: a number of seeds (0…N−1), the seeds, or ``"MIN..MAX"`` for a sequential design; None: the suite's own.

    Raises:
        HarnessError: seeds or an arm that are not valid.
    """
    from harness.plan.planning import Selection
    from harness.plan.user_arms import user_arm

    added = [user_arm(text) for text in arms or () if "=" in text]
    numbers, maximum = _seeds(seeds)
    selection = Selection(
        scale=scale,
        benchmarks=None if benchmarks is None else tuple(benchmarks),
        arms=tuple(text for text in arms or () if "=" not in text) or None,
        seeds=numbers,
        cap=maximum,
        overrides=dict(overrides or {}),
        added_arms={name: arm for name, arm, _ in added},
    )
    return Chosen(selection, tuple(method for _, _, method in added))


def _seeds(seeds: Seeds) -> tuple[tuple[int, ...] | None, int | None]:
    """The seeds and the maximum number of seeds of a selection."""
    from harness.plan.planning import parse_seeds

    if seeds is None or isinstance(seeds, str | int):
        return parse_seeds(None if seeds is None else str(seeds))
    numbers = tuple(seeds)
    if not numbers or not all(isinstance(seed, int) and seed >= 0 for seed in numbers):
        raise HarnessError(
            f"seeds {numbers!r}: a number of seeds, or a sequence of whole numbers from 0 on, is expected"
        )
    return numbers, None
