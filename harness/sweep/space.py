"""Search spaces of arms: declared beside each method; widened, narrowed or dropped by the suite.

A range is named ``slot.hyper_parameter``; where a slot is filled per place (``norm: {encoder: power, decoder: layer}``)
``slot.METHOD.hyper_parameter``, which reaches every place that the method fills. Any other name is a recipe key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from harness import registry
from harness.errors import HarnessError
from harness.suite.models import Arm, SpaceRange
from harness.vocabulary import SLOTS

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Space = dict[str, SpaceRange]
Given = Mapping[str, Mapping[str, SpaceRange | None]]


def declared(arm: Arm, fill: Mapping[str, Any]) -> Space:
    """The ranges that an arm's methods declare; ``fill`` are the recipe's own methods, for slots that are left open.

    What an ablation fixes is what it is, and is not tuned.
    """
    found: Space = {}
    for slot in SLOTS:
        value = _filled(arm, slot, fill)
        fixed = set(value) if arm.role == "ablation" and isinstance(value, dict) else set()
        for prefix, method in _methods(slot, value):
            for key, one in registry.entry("method", method).card.search_space.items():
                if key not in fixed:
                    found[f"{prefix}.{key}"] = _range(one)
    return found


def _filled(arm: Arm, slot: str, fill: Mapping[str, Any]) -> Any:
    own = getattr(arm, slot)
    return own if own is not None else fill.get(slot)


def _methods(slot: str, value: Any) -> Iterator[tuple[str, str]]:
    """The methods in a slot, each with the beginning of its hyper-parameters' names."""
    if value is None:
        return
    if isinstance(value, str) or "name" in value:
        yield slot, _name(value)
        return
    for name in dict.fromkeys(_name(one) for one in value.values()):
        yield f"{slot}.{name}", name


def _name(value: Any) -> str:
    return value if isinstance(value, str) else str(value.get("name"))


def _range(one: Any) -> SpaceRange:
    """A range of ``methods.cards`` as a suite writes it."""
    kind = type(one).__name__
    if kind == "Choice":
        return SpaceRange(choices=list(one.values))
    return SpaceRange(low=one.low, high=one.high, log=one.log, integer=kind == "Integer")


def spaces_of(arms: Mapping[str, Arm], fill: Mapping[str, Any], given: Given) -> dict[str, Space]:
    """The space of each arm: what its methods declare, changed by the suite's for all (``"*"``), then for the arm.

    Raises:
        HarnessError: an arm without any range.
    """
    spaces = {}
    for name, arm in arms.items():
        space: dict[str, SpaceRange | None] = dict(declared(arm, fill))
        for group in ("*", name):
            space.update(given.get(group, {}))
        spaces[name] = {key: one for key, one in sorted(space.items()) if one is not None}
        if not spaces[name]:
            raise HarnessError(f"sweep: the arm '{name}' has nothing to tune; declare a range under 'sweep: spaces:'")
    return spaces


def distributions(space: Mapping[str, SpaceRange]) -> dict[str, BaseDistribution]:
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
    """The arm with a point's hyper-parameters in its slots, and recipe keys under ``set:``.

    Raises:
        HarnessError: a hyper-parameter of a method that the arm does not have in that slot.
    """
    slots = {slot: _filled(arm, slot, fill) for slot in SLOTS}
    changed: dict[str, Any] = {}
    overrides = dict(arm.set)
    for key, value in params.items():
        head, _, rest = key.partition(".")
        if head in slots and rest:
            changed[head] = slots[head] = _with(slots[head], key, rest, value)
        else:
            overrides[key.removeprefix("recipe.")] = value
    return arm.model_copy(update={**changed, "set": overrides, "protocol": "tuned"})


def _with(filled: Any, key: str, rest: str, value: Any) -> dict[str, Any]:
    """A filled slot with one hyper-parameter changed, in every place of the method that the key names."""
    method, dot, inner = rest.partition(".")
    if filled is None:
        raise HarnessError(f"sweep: '{key}' has a range, but the arm leaves that slot open")
    if isinstance(filled, str) or "name" in filled:
        if dot and method != _name(filled):
            raise HarnessError(f"sweep: '{key}' names '{method}', but the slot has '{_name(filled)}'")
        own = {"name": filled} if isinstance(filled, str) else dict(filled)
        return {**own, inner if dot else rest: value}
    names = {_name(one) for one in filled.values()}
    if not dot or method not in names:
        expected = ", ".join(f"'{key.split('.')[0]}.{name}.{inner if dot else rest}'" for name in sorted(names))
        raise HarnessError(f"sweep: '{key}': that slot is filled per place; valid: {expected}")
    return {
        place: {**({"name": one} if isinstance(one, str) else one), inner: value} if _name(one) == method else one
        for place, one in filled.items()
    }
