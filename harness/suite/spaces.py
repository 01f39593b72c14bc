"""Search spaces of arms: declared beside each method; widened, narrowed or dropped by the suite.

A range is named ``slot.hyper_parameter``; where a slot is filled per place (``norm: {encoder: power, decoder: layer}``)
``slot.METHOD.hyper_parameter``, which reaches every place that the method fills. Any other name is a recipe key.
Factors are relative to what an arm has itself.
"""

from collections.abc import Mapping
from typing import Any

from harness import registry
from harness.errors import HarnessError
from harness.suite.cells import Content
from harness.suite.models import Arm
from harness.suite.search_models import SpaceRange, TunedProtocol
from harness.suite.strict import Settings
from harness.suite.values import fillings
from harness.trial.options import Scalar, Values
from harness.vocabulary import SLOTS

Space = dict[str, SpaceRange]
SpaceChanges = Mapping[str, Mapping[str, SpaceRange | None]]


def declared(arm: Arm, fill: Values) -> Space:
    """The ranges that an arm's methods declare; values that an ablation fixes are not tuned."""
    space: Space = {}
    for slot in SLOTS:
        value = _filled(arm, slot, fill)
        fixed = set(value) if arm.role == "ablation" and isinstance(value, dict) else set()
        for place, method in fillings(value) if value is not None else ():
            prefix = f"{slot}.{_name(method)}" if place else slot
            ranges = registry.entry("method", _name(method)).metadata.search_space
            space |= {f"{prefix}.{key}": _range(declared) for key, declared in ranges.items() if key not in fixed}
    return space


def _filled(arm: Arm, slot: str, fill: Values) -> Any:
    return own if (own := getattr(arm, slot)) is not None else fill.get(slot)


def _name(value: Any) -> str:
    return value if isinstance(value, str) else str(value.get("name"))


def _range(space: Any) -> SpaceRange:
    if type(space).__name__ == "Choice":
        return SpaceRange(choices=list(space.values))
    return SpaceRange(low=space.low, high=space.high, log=space.log, integer=type(space).__name__ == "Integer")


def spaces_of(arms: Mapping[str, Arm], fill: Values, changes: SpaceChanges) -> dict[str, Space]:
    """The space of each arm: its methods' ranges, then the suite's for ``"*"``, then its own.

    Raises:
        HarnessError: an arm without any range.
    """
    spaces = {}
    for name, arm in arms.items():
        space: dict[str, SpaceRange | None] = dict(declared(arm, fill))
        for group in ("*", name):
            space.update(changes.get(group, {}))
        spaces[name] = {key: item for key, item in sorted(space.items()) if item is not None}
        if not spaces[name]:
            raise HarnessError(f"sweep: the arm '{name}' has nothing to tune; declare a range under 'sweep: spaces:'")
    return spaces


def resolved(space: Space, cell: Content) -> Space:
    """A space with factors as choices, multiples of the arm's own values; keys without a value are dropped."""
    plain: Space = {}
    for key, value in space.items():
        if value.factors is None:
            plain[key] = value
        elif (own := own_value(cell, key)) is not None:
            choices = dict.fromkeys(times(own, factor) for factor in value.factors)
            plain[key] = SpaceRange(choices=list(choices))
    return plain


def times(own: float, factor: float) -> float:
    """An arm's own number times a factor, to two digits; unchanged by a factor of 1."""
    return own if factor == 1 else float(f"{own * factor:.2g}")


def ends(space: Space, params: Mapping[str, Scalar]) -> dict[str, str]:
    """Hyper-parameters at an end of their space: ``least`` or ``largest``; of two choices none is reported."""
    result = {}
    for key, value in space.items():
        numbers = [value.low, value.high] if value.choices is None else value.choices
        tried = sorted(float(n) for n in numbers if isinstance(n, int | float) and not isinstance(n, bool))
        ordered = len(tried) == len(numbers) and (value.choices is None or len(tried) > 2)
        if ordered and params.get(key) in (tried[0], tried[-1]):
            result[key] = "least" if params[key] == tried[0] else "largest"
    return result


def tuned_space(tuned: TunedProtocol, name: str, cell: Content) -> Space:
    """Choices and ranges of an arm under ``tuned:``; empty where none applies to it."""
    space = {**tuned.spaces.get("*", {}), **tuned.spaces.get(name, {})}
    return resolved({key: values for key, values in space.items() if values is not None}, cell)


def own_value(cell: Content, key: str) -> float | None:
    """An arm's number for a key of a space, or None."""
    head, _, rest = key.partition(".")
    if head in SLOTS:
        method, dot, inner = rest.partition(".")
        parts = [part for part in cell.slots.of(head) if not dot or part.name == method]
        hyper = inner if dot else rest
        value: Any = next((part.values[hyper] for part in parts if hyper in part.values), None)
    else:
        value = cell.recipe.at(key.removeprefix("recipe."))
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def with_point(arm: Arm, fill: Values, params: Mapping[str, Scalar]) -> Arm:
    """Put a point's values into an arm's slots and overrides.

    Raises:
        HarnessError: a hyper-parameter of a method that the arm does not have in that slot.
    """
    slots = Values({slot: _filled(arm, slot, fill) for slot in SLOTS})
    changed: dict[str, Settings] = {}
    overrides = Settings(arm.set)
    for key, value in params.items():
        head, _, rest = key.partition(".")
        if head in slots and rest:
            changed[head] = slots[head] = _with(slots[head], key, rest, value)
        else:
            overrides[key.removeprefix("recipe.")] = value
    return arm.model_copy(update={**changed, "set": overrides, "protocol": "tuned"})


def _with(filled: Any, key: str, rest: str, value: Any) -> Settings:
    """A slot with one hyper-parameter changed in all its places."""
    method, dot, inner = rest.partition(".")
    if filled is None:
        raise HarnessError(f"sweep: '{key}' has a range, but the arm leaves that slot open")
    if isinstance(filled, str) or "name" in filled:
        if dot and method != _name(filled):
            raise HarnessError(f"sweep: '{key}' names '{method}', but the slot has '{_name(filled)}'")
        own = {"name": filled} if isinstance(filled, str) else filled
        return Settings({**own, inner if dot else rest: value})
    names = {_name(item) for item in filled.values()}
    if not dot or method not in names:
        expected = ", ".join(f"'{key.split('.')[0]}.{name}.{inner if dot else rest}'" for name in sorted(names))
        raise HarnessError(f"sweep: '{key}': that slot is filled per place; valid: {expected}")
    places = Settings(filled)
    for place, item in filled.items():
        if _name(item) == method:
            places[place] = {**({"name": item} if isinstance(item, str) else item), inner: value}
    return places
