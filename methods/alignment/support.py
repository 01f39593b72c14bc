"""Split of target items into labelled shots and scored rest, by recording."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class TargetSplit:
    """Places of a target domain's items.

    Attributes:
        support: the shots, class by class, (C·k,).
        rest: items of recordings without a shot: pseudo-labelled, aligned and scored.
        dropped: the other items of the recordings with a shot; one second of a recording resembles the next too
            much to be scored.
    """

    support: NDArray[np.int64]
    rest: NDArray[np.int64]
    dropped: NDArray[np.int64]


def choose_support(
    labels: NDArray[np.integer], recordings: Sequence[Hashable], shots: int, generator: np.random.Generator
) -> TargetSplit:
    """Draw ``shots`` items of every class, each from a different recording.

    Only the drawn items' labels may be used afterwards.

    Args:
        labels: the target's classes, (N,); needed because shots are drawn per class.
        recordings: recording of each item, N of them.
        shots: k ≥ 1.
        generator: source of the draws, of the stream ``split``.

    Raises:
        ValueError: lengths that do not fit, or a class with fewer than k recordings (one with none left to score).
    """
    if len(recordings) != len(labels) or shots < 1:
        raise ValueError(
            f"support set: {len(labels)} labels, {len(recordings)} recordings, {shots} shots: one recording a label "
            "and at least one shot are needed"
        )
    names = {name: number for number, name in enumerate(dict.fromkeys(recordings))}
    recording = np.array([names[name] for name in recordings])
    support: list[int] = []
    used: set[int] = set()
    for label in np.unique(labels):
        places = generator.permutation(np.flatnonzero(labels == label))
        chosen: list[int] = []
        for place in places:
            if len(chosen) < shots and int(recording[place]) not in used:
                chosen.append(int(place))
                used.add(int(recording[place]))
        if len(chosen) < shots:
            raise ValueError(f"support set: class {label} has {len(chosen)} separate recordings, needs {shots}")
        support += chosen
    taken = np.isin(recording, list(used))
    is_support = np.zeros(len(labels), dtype=bool)
    is_support[support] = True
    return TargetSplit(np.array(support, dtype=np.int64), np.flatnonzero(~taken), np.flatnonzero(taken & ~is_support))
