"""Check of values against declared options: of files, ``set:``, ``--set``, search ranges and ablations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness import registry
from harness.errors import HarnessError, choices
from harness.registry.metadata import TaskMetadata
from harness.suite.strict import Settings
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
    """A problem of a value, and the path to it."""

    path: tuple[str | int, ...]
    message: str

    def below(self, *path: str | int) -> Mistake:
        return Mistake((*path, *self.path), self.message)


class MistakesError(HarnessError):
    """Content that is not valid, with every mistake in it."""

    def __init__(self, *mistakes: Mistake) -> None:
        self.mistakes = mistakes
        super().__init__("; ".join(mistake.message for mistake in mistakes))


def wrong(name: str, value: Any, key: Option) -> str | None:
    """The problem of a value, or None."""
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


def mistakes(values: Settings, declared: Mapping[str, Option], what: str, of: str = "") -> Iterator[Mistake]:
    """Unknown names, wrong types, values outside choices or limits.

    Args:
        what: the message's name of an option (``recipe key``).
        of: the message's name of the whole (``the model 'resnet18'``).
    """
    for name, value in values.items():
        if name not in declared:
            suffix = f" of {of}" if of else ""
            yield Mistake((name,), f"unknown {what} '{name}'{suffix}; {choices(declared, name)}")
        elif message := wrong(name, value, declared[name]):
            yield Mistake((name,), message)


def part_mistakes(
    kind: Literal["data", "model"], part: Settings, task: registry.Entry[TaskMetadata]
) -> Iterator[Mistake]:
    """Mistakes of a data source or a model: its name, its kind of data, its options."""
    name, entries = part.name, registry.entries(kind)
    if name is None or name not in entries:
        named = registry.unknown(kind, str(part["name"])) if part.get("name") else None
        yield Mistake(("name",), named or f"'{kind}' needs a name; {choices(entries)}")
        return
    metadata, keys = entries[name].metadata, entries[name].options
    if kind == "data" and metadata.content not in task.metadata.reads:
        fitting = [other for other, entry in entries.items() if entry.metadata.content in task.metadata.reads]
        problem = f"the task '{task.name}' cannot read the data '{name}' ({metadata.content})"
        yield Mistake(("name",), f"{problem}; {choices(fitting, name)}")
    for key, declared in keys.items():
        if declared.required and key not in part:
            yield Mistake((), f"the {kind} '{name}' needs '{key}': {declared.about}")
    yield from mistakes(part.options, keys, "key", f"the {kind} '{name}'")


def recipe_mistakes(recipe: Settings, task: registry.Entry[TaskMetadata]) -> Iterator[Mistake]:
    """Mistakes of a recipe: common keys, keys of the task, hyper-parameters under its slots."""
    declared = {**COMMON_KEYS, **task.options}
    for mistake in mistakes(recipe, declared, "recipe key"):
        hint = "" if mistake.path[0] in declared else _as_hyper_parameter(str(mistake.path[0]))
        yield Mistake(mistake.path, mistake.message + hint)
    fill = recipe.get("slots")
    for slot, value in fill.items() if isinstance(fill, dict) else ():
        if slot not in SLOTS:
            yield Mistake(("slots", slot), f"no slot '{slot}'; {choices(SLOTS, slot)}")
        else:
            yield from (mistake.below("slots", slot) for mistake in slot_mistakes(slot, value))
    for slot in SLOTS:
        if isinstance(recipe.get(slot), dict):
            yield from (mistake.below(slot) for mistake in _shared_mistakes(slot, Settings(recipe[slot])))


def _as_hyper_parameter(name: str) -> str:
    dotted = [f"{slot}.{group}.{name}" for slot in SLOTS for group, taken in _groups(slot).items() if name in taken]
    return f"; methods take it as {' or '.join(dotted[:3])}" if dotted else ""


def _shared_mistakes(slot: str, shared: Settings) -> Iterator[Mistake]:
    """Mistakes of ``optimizer: {adam: {lr: …}}``: families, methods and their hyper-parameters."""
    groups = _groups(slot)
    if not set(shared) <= set(groups):  # a family that only a plug-in may have
        registry.import_plug_ins("method")
        groups = _groups(slot)
    for group, values in shared.items():
        if group not in groups:
            yield Mistake((group,), f"no family or method '{group}'; {choices(groups, group)}")
        elif not isinstance(values, dict):
            yield Mistake((group,), f"'{group}': a mapping of hyper-parameters is expected")
        else:
            checked = mistakes(Settings(values), groups[group], "hyper-parameter", f"'{group}'")
            yield from (mistake.below(group) for mistake in checked)


def _groups(slot: str) -> dict[str, dict[str, Option]]:
    groups: dict[str, dict[str, Option]] = {}
    for entry in registry.entries("method").values():
        if entry.metadata.slot == slot:
            for group in (entry.metadata.family, entry.name):
                groups.setdefault(group, {}).update(entry.options)
    return groups


def slot_mistakes(slot: str, value: Any) -> Iterator[Mistake]:
    """Mistakes of a slot: a method's name, or its hyper-parameters, or one of these a place."""
    if value is not None:
        for path, method in fillings(value):
            yield from (mistake.below(*path) for mistake in _method_mistakes(slot, method))


def fillings(value: Any) -> list[tuple[tuple[str, ...], Any]]:
    """The methods in a slot, each with its path below the slot: none, or its place."""
    if isinstance(value, dict) and value and "name" not in value:
        return [((place,), method) for place, method in value.items()]
    return [((), value)]


def _method_mistakes(slot: str, method: Any) -> Iterator[Mistake]:
    methods = registry.entries("method")
    name = method.get("name") if isinstance(method, dict) else method
    entry = methods.get(name) if isinstance(name, str) else None
    if entry is None:
        fitting = [other for other, candidate in methods.items() if candidate.metadata.slot == slot]
        yield Mistake((), registry.unknown("method", str(name), slot, fitting))
    elif entry.metadata.slot != slot:
        yield Mistake((), f"the method '{name}' fills the slot '{entry.metadata.slot}', not '{slot}'")
    elif isinstance(method, dict):
        yield from mistakes(Settings(method).options, entry.options, "hyper-parameter", f"the method '{name}'")


def defaults(keys: Mapping[str, Option]) -> Settings:
    """The default of every key that has one."""
    return Settings({name: key.default for name, key in keys.items() if not key.required})
