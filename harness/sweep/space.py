"""Search spaces of arms: declared beside each method, narrowed or widened by the suite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness import registry
from harness.errors import HarnessError, choices
from harness.suite.models import SLOTS, Arm, SpaceRange

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Space = dict[str, SpaceRange]


def declared(arm: Arm, fill: Mapping[str, Any]) -> Space:
    """The ranges that an arm's methods declare, as ``slot.hyper_parameter``; ``fill`` are the recipe's own methods."""
    found: Space = {}
    for slot in SLOTS:
        value = getattr(arm, slot) if getattr(arm, slot) is not None else fill.get(slot)
        name = value if isinstance(value, str) else value.get("name") if isinstance(value, dict) else None
        if name is None:
            continue
        for key, one in registry.entry("method", str(name)).info["search_space"].items():
            if one["kind"] == "choice":
                found[f"{slot}.{key}"] = SpaceRange(choices=list(one["values"]))
            else:
                whole = one["kind"] == "integer"
                found[f"{slot}.{key}"] = SpaceRange(low=one["low"], high=one["high"], log=one["log"], integer=whole)
    return found


def spaces_of(
    arms: Mapping[str, Arm], fill: Mapping[str, Any], given: Mapping[str, Mapping[str, SpaceRange]]
) -> dict[str, Space]:
    """The space of each arm: what all arms declare in common, then the suite's for all (``"*"``), then for the arm.

    Raises:
        HarnessError: an arm without any range, or a range for an arm that is not tuned.
    """
    strangers = set(given) - set(arms) - {"*"}
    if strangers:
        name = sorted(strangers)[0]
        raise HarnessError(f"sweep: a space for '{name}', which is not tuned; {choices(arms, name)}")
    own = {name: declared(arm, fill) for name, arm in arms.items()}
    common = set.intersection(*(set(space) for space in own.values())) if own else set()
    spaces = {}
    for name, space in own.items():
        spaces[name] = {key: space[key] for key in sorted(common)}
        for group in ("*", name):
            spaces[name].update(given.get(group, {}))
        if not spaces[name]:
            raise HarnessError(f"sweep: the arm '{name}' has nothing to tune; declare a range under 'sweep: spaces:'")
        spaces[name] = dict(sorted(spaces[name].items()))
    return spaces


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """A space as Optuna's distributions."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for key, one in space.items():
        if one.choices is not None:
            found[key] = CategoricalDistribution(one.choices)
        elif one.integer:
            found[key] = IntDistribution(round(one.low or 0), round(one.high or 0), log=one.log)
        else:
            found[key] = FloatDistribution(float(one.low or 0), float(one.high or 0), log=one.log)
    return found


def with_point(arm: Arm, fill: Mapping[str, Any], params: Mapping[str, Any]) -> Arm:
    """The arm with a point's hyper-parameters in its slots, and recipe keys under ``set:``."""
    changed: dict[str, Any] = {}
    overrides = dict(arm.set)
    for key, value in params.items():
        head, _, rest = key.partition(".")
        if head in SLOTS and rest:
            filled = changed.get(head, getattr(arm, head) if getattr(arm, head) is not None else fill.get(head))
            whole = {"name": filled} if isinstance(filled, str) else dict(filled or {})
            changed[head] = {**whole, rest: value}
        else:
            overrides[key.removeprefix("recipe.")] = value
    return arm.model_copy(update={**changed, "set": overrides, "protocol": "tuned"})
