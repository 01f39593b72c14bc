"""The one check of values against what is declared: for files, ``set:``, ``--set``, search ranges and ablations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness import registry
from harness.errors import HarnessError, choices
from harness.registry.metadata import TaskMetadata
from harness.trial.options import Option
from harness.trial.recipe import COMMON_KEYS
from harness.vocabulary import SLOTS

_TYPES: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "text"),
    "list": ((list, tuple), "a list"),
    "dict": ((dict,), "a mapping"),
    "any": ((object,), "a value"),
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with a value, and the path to it from the top of what was checked."""

    path: tuple[str | int, ...]
    message: str

    def below(self, *path: str | int) -> Mistake:
        """The same mistake seen from further up."""
        return Mistake((*path, *self.path), self.message)


class MistakesError(HarnessError):
    """Content that is not valid, with every mistake in it."""

    def __init__(self, *mistakes: Mistake) -> None:
        self.mistakes = mistakes
        super().__init__("; ".join(mistake.message for mistake in mistakes))


def wrong(name: str, value: Any, key: Option) -> str | None:
    """What is wrong with a value, or None."""
    types, expected = _TYPES[key.type]
    if value is None:
        return None if key.optional else f"'{name}' is empty; {expected} is expected"
    if not isinstance(value, types) or (isinstance(value, bool) and key.type not in ("bool", "any")):
        return f"'{name}' is {value!r}; {expected} is expected"
    if key.type == "list":
        items = (wrong(f"{name}[{number}]", item, Option(key.items)) for number, item in enumerate(value))
        return next(filter(None, items), None)
    if isinstance(value, float) and math.isnan(value):
        return f"'{name}' is not a number"
    if key.choices and value not in key.choices:
        return f"'{name}' is {value!r}; {choices([str(c) for c in key.choices], str(value))}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        # infinity is a legitimate limit (a threshold that always fires) where no limits are declared
        if math.isinf(value) and (key.low is not None or key.high is not None):
            return f"'{name}' is infinite; a finite number is expected"
        if key.low is not None and value < key.low:
            return f"'{name}' is {value}; at least {key.low:g} is expected"
        if key.high is not None and value > key.high:
            return f"'{name}' is {value}; at most {key.high:g} is expected"
    return None


def mistakes(given: Mapping[str, Any], declared: Mapping[str, Option], what: str, of: str = "") -> Iterator[Mistake]:
    """Names that nothing declares, wrong types, values outside choices or limits.

    Args:
        given: values by name.
        declared: the options that there are.
        what: how the message calls an option (``recipe key``).
        of: what has these options, where the message shall say it (``the model 'resnet18'``).
    """
    for name, value in given.items():
        if name not in declared:
            owner = f" of {of}" if of else ""
            yield Mistake((name,), f"unknown {what} '{name}'{owner}; {choices(declared, name)}")
        elif message := wrong(name, value, declared[name]):
            yield Mistake((name,), message)


def part_mistakes(
    kind: Literal["data", "model"], given: Mapping[str, Any], task: registry.Entry[TaskMetadata]
) -> Iterator[Mistake]:
    """Of a data source or a model: its name, the kind of data that the task reads, its options."""
    name, existing = given.get("name"), registry.entries(kind)
    if not isinstance(name, str) or name not in existing:
        named = registry.unknown(kind, str(name)) if name else f"'{kind}' needs a name; {choices(existing)}"
        yield Mistake(("name",), named)
        return
    metadata, keys = existing[name].metadata, existing[name].options
    if kind == "data" and metadata.content not in task.metadata.reads:
        fitting = [other for other, entry in existing.items() if entry.metadata.content in task.metadata.reads]
        problem = f"the task '{task.name}' cannot read the data '{name}' ({metadata.content})"
        yield Mistake(("name",), f"{problem}; {choices(fitting, name)}")
    for key, declared in keys.items():
        if declared.required and key not in given:
            yield Mistake((), f"the {kind} '{name}' needs '{key}': {declared.about}")
    yield from mistakes({k: v for k, v in given.items() if k != "name"}, keys, "key", f"the {kind} '{name}'")


def recipe_mistakes(given: Mapping[str, Any], task: registry.Entry[TaskMetadata]) -> Iterator[Mistake]:
    """Of a recipe: the keys that every recipe has, those of the task, and the hyper-parameters under its slots."""
    declared = {**COMMON_KEYS, **task.options}
    for mistake in mistakes(given, declared, "recipe key"):
        hint = "" if mistake.path[0] in declared else _as_hyper_parameter(str(mistake.path[0]))
        yield Mistake(mistake.path, mistake.message + hint)
    fill = given.get("slots")
    for slot, value in fill.items() if isinstance(fill, dict) else ():
        if slot not in SLOTS:
            yield Mistake(("slots", slot), f"no slot '{slot}'; {choices(SLOTS, slot)}")
        else:
            yield from (mistake.below("slots", slot) for mistake in slot_mistakes(slot, value))
    for slot in SLOTS:
        if isinstance(given.get(slot), dict):
            yield from (mistake.below(slot) for mistake in _shared_mistakes(slot, given[slot]))


def _as_hyper_parameter(name: str) -> str:
    """How a hyper-parameter is named that was taken for a recipe key; nothing where no method has it."""
    dotted = [f"{slot}.{group}.{name}" for slot in SLOTS for group, taken in _groups(slot).items() if name in taken]
    return f"; methods take it as {' or '.join(dotted[:3])}" if dotted else ""


def _shared_mistakes(slot: str, shared: Mapping[str, Any]) -> Iterator[Mistake]:
    """``optimizer: {adam: {lr: …}}``: families and methods that exist, hyper-parameters that they take."""
    existing = _groups(slot)
    if not set(shared) <= set(existing):  # a family that only a plug-in may have
        registry.import_plug_ins("method")
        existing = _groups(slot)
    for group, value in shared.items():
        if group not in existing:
            yield Mistake((group,), f"no family or method '{group}'; {choices(existing, group)}")
        elif not isinstance(value, dict):
            yield Mistake((group,), f"'{group}': a mapping of hyper-parameters is expected")
        else:
            checked = mistakes(value, existing[group], "hyper-parameter", f"'{group}'")
            yield from (mistake.below(group) for mistake in checked)


def _groups(slot: str) -> dict[str, dict[str, Option]]:
    """Hyper-parameters by family and by method of a slot."""
    existing: dict[str, dict[str, Option]] = {}
    for entry in registry.entries("method").values():
        if entry.metadata.slot == slot:
            for group in (entry.metadata.family, entry.name):
                existing.setdefault(group, {}).update(entry.options)
    return existing


def slot_mistakes(slot: str, value: Any) -> Iterator[Mistake]:
    """Of what fills a slot: a method's name, or a mapping with its hyper-parameters, or one of these for each place."""
    if value is not None:
        for path, method in fillings(value):
            yield from (mistake.below(*path) for mistake in _method_mistakes(slot, method))


def fillings(value: Any) -> list[tuple[tuple[str, ...], Any]]:
    """The methods in a slot, each with its path below the slot: none, or the place that it fills."""
    if isinstance(value, dict) and value and "name" not in value:
        return [((place,), method) for place, method in value.items()]
    return [((), value)]


def _method_mistakes(slot: str, method: Any) -> Iterator[Mistake]:
    methods = registry.entries("method")
    name = method.get("name") if isinstance(method, dict) else method
    entry = methods.get(name) if isinstance(name, str) else None
    if entry is None:
        fitting = [other for other, existing in methods.items() if existing.metadata.slot == slot]
        yield Mistake((), registry.unknown("method", str(name), slot, fitting))
    elif entry.metadata.slot != slot:
        yield Mistake((), f"the method '{name}' fills the slot '{entry.metadata.slot}', not '{slot}'")
    elif isinstance(method, dict):
        values = {key: value for key, value in method.items() if key != "name"}
        yield from mistakes(values, entry.options, "hyper-parameter", f"the method '{name}'")


def defaults(keys: Mapping[str, Option]) -> dict[str, Any]:
    """The default of every key that has one."""
    return {name: key.default for name, key in keys.items() if not key.required}
