"""A random split by shares, drawn by the stream ``split``: stratified by class, or whole groups on one side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import HarnessError, choices
from suites.data.archive import SPLITS
from suites.data.types import Labels

if TYPE_CHECKING:
    from harness.trial.contracts import DataRequest

HELD: tuple[str, ...] = ("test", "validation")
USUAL: Mapping[str, float] = MappingProxyType({"validation": 0.1, "test": 0.2})
"""The shares where nothing is split and nothing is asked for."""
SPELLED: Mapping[str, str] = MappingProxyType({name: split for split, names in SPLITS.items() for name in names})
"""Every word for a split (``val``, ``valid``, ``training``, …) with ours."""


def shares_of(given: Mapping[str, Any], source: str) -> dict[str, float]:
    """What ``split:`` asks for, by our names: below 1 a share, else a count.

    Raises:
        HarnessError: another name than validation or test, or no number from 0 on.
    """
    shares: dict[str, float] = {}
    for name, value in given.items():
        split = SPELLED.get(str(name).lower())
        if split not in HELD:
            raise HarnessError(f"{source}: split: no '{name}'; {choices(['validation', 'test'], str(name))}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise HarnessError(f"{source}: split: '{name}' is {value!r}; a share (0.2) or a count (200) is expected")
        shares[split] = float(value)
    return shares


def drawn(
    request: DataRequest[Any],
    shares: Mapping[str, float],
    strata: Sequence[int] | Labels,
    *,
    among: Labels | None = None,
    groups: Labels | None = None,
    things: str = "rows",
) -> dict[str, Labels]:
    """Places by split (``train`` always, the others where asked for), each rising; a function of the seed.

    Args:
        request: its stream ``split`` draws, and its name is in the messages.
        shares: as of ``shares_of``.
        strata: (N,) of each item: every stratum is shared out alike, up to one item; one that has a single item
            trains.
        among: places (N,) of the items in the whole; none: they are the whole.
        groups: (N,) of each item: items of one group stay in one split, and strata do not count.
        things: what the items are, for the messages.

    Raises:
        HarnessError: nothing would be left to train on, or a split that is asked for would be empty.
    """
    total = len(strata)
    counts = {name: _count(shares.get(name, 0.0), total) for name in HELD}
    if sum(counts.values()) >= total:
        asked = " and ".join(f"{name} {shares[name]:g}" for name in HELD if counts[name])
        raise HarnessError(f"{request.name}: split: {asked} leave none of {total} {things} to train on")
    draws = request.streams.numpy("split", request.name)
    order = _by_strata(np.asarray(strata), draws)
    if groups is None:
        ends = np.cumsum([counts[name] for name in HELD])
        parts = dict(zip((*HELD, "train"), np.split(order, ends), strict=True))
    else:
        parts = _by_group(groups[order], order, counts)
        if not len(parts["train"]):
            raise HarnessError(f"{request.name}: split: {len(np.unique(groups))} groups are too few for three splits")
    whole = np.arange(total) if among is None else among
    return {name: np.sort(whole[part]) for name, part in parts.items() if len(part) or name == "train"}


def _count(share: float, total: int) -> int:
    return int(share) if share >= 1 else max(round(share * total), int(share > 0))


def _by_strata(strata: Labels, draws: np.random.Generator) -> Labels:
    """An order in which every beginning has its share of every stratum: systematic sampling with a random start."""
    order = draws.permutation(len(strata))
    place = np.empty(len(strata))
    for stratum in np.unique(strata):
        members = order[strata[order] == stratum]
        start = draws.random() if len(members) > 1 else 1.0
        place[members] = (np.arange(len(members)) + start) / len(members)
    return order[np.argsort(place[order], kind="stable")]


def _by_group(groups: Labels, order: Labels, counts: Mapping[str, int]) -> dict[str, Labels]:
    """Whole groups in the order in which they come, each split filled until it has its count."""
    chosen: dict[str, list[Labels]] = {name: [] for name in (*HELD, "train")}
    names, first = np.unique(groups, return_index=True)
    for group in names[np.argsort(first)]:
        members = order[groups == group]
        open_ = (name for name in HELD if sum(map(len, chosen[name])) < counts[name])
        chosen[next(open_, "train")].append(members)
    return {name: np.concatenate(parts) if parts else np.array([], dtype=np.int64) for name, parts in chosen.items()}
