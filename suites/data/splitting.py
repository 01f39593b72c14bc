"""A random split by shares, from the stream ``split``: stratified by class, or by whole groups."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from harness.errors import HarnessError, choices
from harness.trial.contracts import DataRequest
from suites.data.archive import SPLITS
from suites.data.types import Labels

HELD: tuple[str, ...] = ("test", "validation")
USUAL: Mapping[str, float] = MappingProxyType({"validation": 0.1, "test": 0.2})
"""Default shares of a random split."""
SPELLED: Mapping[str, str] = MappingProxyType({name: split for split, names in SPLITS.items() for name in names})
"""Every name of a split (``val``, ``valid``, ``training``, …) with ours."""


def shares_of(wanted: Mapping[str, object], source: str) -> dict[str, float]:
    """Parse ``split:`` by our names: below 1 a share, else a count.

    Raises:
        HarnessError: another name than validation or test, or an invalid number.
    """
    shares: dict[str, float] = {}
    for name, value in wanted.items():
        split = SPELLED.get(str(name).lower())
        if split not in HELD:
            raise HarnessError(f"{source}: split: unknown name '{name}'; {choices(['validation', 'test'], str(name))}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise HarnessError(f"{source}: split: '{name}' is {value!r}; expected a share (0.2) or a count (200)")
        shares[split] = float(value)
    return shares


def split_with(
    request: DataRequest[Any],
    own: dict[str, Labels],
    wanted: Mapping[str, object],
    strata: Labels,
    *,
    groups: Labels | None = None,
    things: str = "rows",
) -> dict[str, Labels]:
    """Keep the source's ``own`` splits and draw ``wanted`` ones from training; without own splits draw all.

    If validation is the only held-out part, it is the test.

    Raises:
        HarnessError: a requested split exists, or nothing remains to train or score on.
    """
    shares, place = shares_of(wanted, request.name), f"{request.name}: {request.options.path}"
    if not own:
        return drawn(request, shares or USUAL, strata, groups=groups, things=things)
    if "train" not in own:
        raise HarnessError(f"{place} has no {things} for training")
    if "test" not in own and not shares.get("test"):
        if "validation" not in own:
            raise HarnessError(
                f"{place} has nothing to score on: no {things} for test or validation; add them, or set 'split'"
            )
        own["test"] = own.pop("validation")
    for name in HELD:
        if name in own and shares.get(name):
            raise HarnessError(f"{request.name}: split: {request.options.path} has its own {name}; remove '{name}'")
    if not any(shares.values()):
        return own
    among = own["train"]
    inside = None if groups is None else groups[among]
    return own | drawn(request, shares, strata[among], among=among, groups=inside, things=things)


def drawn(
    request: DataRequest[Any],
    shares: Mapping[str, float],
    strata: Sequence[int] | Labels,
    *,
    among: Labels | None = None,
    groups: Labels | None = None,
    things: str = "rows",
) -> dict[str, Labels]:
    """Draw ascending indices by split, as a function of the seed.

    ``train`` is always present, the other splits on request.

    Args:
        request: its stream ``split`` draws, and messages have its name.
        shares: as in ``shares_of``.
        strata: (N,) of each item: every stratum is divided evenly, up to one item; a single item trains.
        among: indices (N,) of the items in the whole; None: they are the whole.
        groups: (N,) of each item: items of one group stay in one split, and strata do not count.
        things: name of the items, for messages.

    Raises:
        HarnessError: no item would remain for training, or a requested split would be empty.
    """
    total = len(strata)
    counts = {name: _count(shares.get(name, 0.0), total) for name in HELD}
    if sum(counts.values()) >= total:
        requested = " and ".join(f"{name} {shares[name]:g}" for name in HELD if counts[name])
        raise HarnessError(f"{request.name}: split: {requested} leave none of {total} {things} to train on")
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
    """Order items so that every prefix has its share of every stratum: systematic sampling, random start."""
    order = draws.permutation(len(strata))
    place = np.empty(len(strata))
    for stratum in np.unique(strata):
        members = order[strata[order] == stratum]
        start = draws.random() if len(members) > 1 else 1.0
        place[members] = (np.arange(len(members)) + start) / len(members)
    return order[np.argsort(place[order], kind="stable")]


def _by_group(groups: Labels, order: Labels, counts: Mapping[str, int]) -> dict[str, Labels]:
    """Assign whole groups in order, each split up to its count."""
    chosen: dict[str, list[Labels]] = {name: [] for name in (*HELD, "train")}
    names, first = np.unique(groups, return_index=True)
    for group in names[np.argsort(first)]:
        members = order[groups == group]
        open_ = (name for name in HELD if sum(map(len, chosen[name])) < counts[name])
        chosen[next(open_, "train")].append(members)
    return {name: np.concatenate(parts) if parts else np.array([], dtype=np.int64) for name, parts in chosen.items()}
