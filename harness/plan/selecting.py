"""From the options of a command, or of ``harness.run``, to a selection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.trial.options import Values

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
    overrides: Values | None = None,
) -> Chosen:
    """Select parts of a suite; an arm ``NAME=FILE.py:CLASS`` adds one.

    Raises:
        HarnessError: seeds or an arm that are not valid.
    """
    from harness.plan.planning import Selection
    from harness.plan.user_arms import user_arm

    added = [user_arm(text) for text in arms or () if "=" in text]
    numbers, maximum = parse_seeds(seeds)
    selection = Selection(
        scale=scale,
        benchmarks=None if benchmarks is None else tuple(benchmarks),
        arms=tuple(text for text in arms or () if "=" not in text) or None,
        seeds=numbers,
        cap=maximum,
        overrides=overrides or Values(),
        added_arms={name: arm for name, arm, _ in added},
    )
    return Chosen(selection, tuple(method for _, _, method in added))


def parse_seeds(seeds: Seeds) -> tuple[tuple[int, ...] | None, int | None]:
    """The seeds and the maximum number of seeds: ``N``, ``MIN..MAX`` (0…MIN−1 and MAX), a sequence, or None.

    Raises:
        HarnessError: another text, no seed, or a negative one.
    """
    if seeds is None:
        return None, None
    if not isinstance(seeds, str | int):
        numbers = tuple(seeds)
        if not numbers or not all(isinstance(seed, int) and seed >= 0 for seed in numbers):
            expected = "a number of seeds, or a sequence of whole numbers from 0 on, is expected"
            raise HarnessError(f"seeds {numbers!r}: {expected}")
        return numbers, None
    first, dots, last = str(seeds).partition("..")
    limits = [first, last] if dots else [first]
    valid = all(limit.isascii() and limit.isdigit() and 1 <= int(limit) <= 1000 for limit in limits)
    if not valid or (dots and int(first) > int(last)):
        raise HarnessError(f"--seeds '{seeds}': a number of seeds from 1 to 1000, or MIN..MAX, is expected")
    return tuple(range(int(first))), int(last) if dots else None
