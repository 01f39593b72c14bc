"""Declared options: the fields of a frozen dataclass, each with type, default, limits and meaning::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class DigitsOptions:
        train: int = option(400, "training images", low=10)
        augment: str = option("none", "of training images", choices=AUGMENTATIONS)
        path: str = option(REQUIRED, "folder, absolute or below HARNESS_DATA")

Recipes, tasks, data sources and models declare theirs so. Validation, help and the index read the declarations
(``options_of``); computing code reads a typed record (``build``).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from harness.errors import HarnessError, choices

Scalar = None | bool | int | float | str
OptionType = Literal["int", "float", "bool", "str", "list", "dict", "any"]
Record = TypeVar("Record")

REQUIRED: Final = dataclasses.MISSING
_NAMES: Mapping[Any, OptionType] = {
    int: "int",
    float: "float",
    bool: "bool",
    str: "str",
    list: "list",
    tuple: "list",
    Mapping: "dict",
    Any: "any",
}


@dataclass(frozen=True, slots=True)
class Option:
    """One option as validation and help see it; a float accepts whole numbers, a list is a tuple in the typed record.

    ``any`` is not checked; limits are inclusive; null is valid where ``optional`` (``X | None``); ``items`` is the type
    of a list's elements.
    """

    type: OptionType
    default: Any = None
    about: str = ""
    choices: tuple[Scalar, ...] = ()
    low: float | None = None
    high: float | None = None
    required: bool = False
    optional: bool = False
    items: OptionType = "any"


class Values(dict[str, Any]):
    """Plain data by name: values of declared options, and the JSON form of a spec."""


@dataclass(frozen=True, slots=True)
class NoOptions:
    """An empty record of options."""


def option(
    default: Any,
    about: str | None = None,
    *,
    choices: tuple[Scalar, ...] = (),
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """A field of a dataclass of options; ``REQUIRED`` as default: a value is necessary.

    Without ``about`` it is the option of that name of the base class, with another default.
    """
    metadata = {"about": about, "choices": choices, "low": low, "high": high}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def options_of(declared: type[Any]) -> dict[str, Option]:
    """The options that a dataclass declares, by name.

    Raises:
        TypeError: a field without ``option(…)`` or with an annotation that no option has.
    """
    hints = _hints(declared)
    return {field.name: _option(declared, field, hints[field.name]) for field in dataclasses.fields(declared)}


def build(declared: type[Record], values: Values) -> Record:
    """Make the typed record of resolved values; missing ones take their defaults.

    Raises:
        HarnessError: a value for an option that is not declared, or none for a required one.
    """
    hints = _hints(declared)
    fields = {field.name: field for field in dataclasses.fields(declared)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            raise HarnessError(f"no option '{name}'; {choices(fields, name)}")
    provided = {name: _typed(value, hints[name]) for name, value in values.items()}
    try:
        return declared(**provided)
    except TypeError as error:
        raise HarnessError(f"options: {error}") from error


_READ: dict[type[Any], dict[str, type[Any]]] = {}


def _hints(declared: type[Any]) -> dict[str, type[Any]]:
    """Annotations of a dataclass as types, kept since reading them is slow."""
    if declared not in _READ:
        _READ[declared] = get_type_hints(declared)
    return _READ[declared]


def _option(declared: type[Any], field: dataclasses.Field[Any], hint: Any) -> Option:
    bare, optional = _without_none(hint)
    name = _NAMES.get(get_origin(bare) or bare)
    metadata = _metadata(declared, field.name)
    if name is None or metadata is None:
        kinds = "int, float, bool, str, tuple, Mapping or Any"
        raise TypeError(f"{declared.__name__}.{field.name}: annotate it as {kinds} and give it option(default, about)")
    default = field.default if field.default_factory is REQUIRED else field.default_factory()
    required = default is REQUIRED
    default = None if required else list(default) if isinstance(default, tuple) else default
    items = _NAMES.get(get_args(bare)[0], "any") if get_origin(bare) is tuple else "any"
    return Option(name, default, required=required, optional=optional, items=items, **metadata)


def _metadata(declared: type[Any], name: str) -> Values | None:
    """Meaning and limits of an option, from the nearest declaring class."""
    for base in declared.__mro__:
        field = base.__dict__.get("__dataclass_fields__", {}).get(name)
        if field is not None and field.metadata.get("about") is not None:
            return Values(field.metadata)
    return None


def _without_none(hint: Any) -> tuple[Any, bool]:
    """The annotation without ``None``, and True if it had one."""
    if get_origin(hint) not in (Union, UnionType):
        return hint, False
    kept = [part for part in get_args(hint) if part is not NoneType]
    return (kept[0] if len(kept) == 1 else Union[tuple(kept)]), len(kept) < len(get_args(hint))  # noqa: UP007


def _typed(value: Any, hint: Any) -> Any:
    """A plain value as its annotation requires: whole numbers of floats as floats, lists as tuples."""
    bare, _ = _without_none(hint)
    if value is not None and bare in (int, float):
        return bare(value)
    if value is not None and get_origin(bare) is tuple:
        return tuple(_typed(item, get_args(bare)[0]) for item in value)
    return value
