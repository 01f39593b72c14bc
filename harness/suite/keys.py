"""Checks values against declared keys: unknown names, types, limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.errors import choices
from harness.trial.options import Key

_TYPES: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "list": (list, tuple),
    "dict": (dict,),
}
_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "list": "a list",
          "dict": "a mapping"}  # fmt: skip


def unknown(what: str, name: str, valid: Mapping[str, Key]) -> str:
    """The message for a name that nothing declares."""
    return f"unknown {what} '{name}'; {choices(valid, name)}"


def wrong(name: str, value: Any, key: Key) -> str | None:
    """What is wrong with a value, or None."""
    if value is None:
        return None if key.optional else f"'{name}' is empty; {_WORDS.get(key.type, 'a value')} is expected"
    if key.type != "any":
        fits = isinstance(value, _TYPES[key.type]) and (key.type == "bool" or not isinstance(value, bool))
        if not fits:
            return f"'{name}' is {value!r}; {_WORDS[key.type]} is expected"
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


def defaults(keys: Mapping[str, Key]) -> dict[str, Any]:
    """The default of every key that has one."""
    return {name: key.default for name, key in keys.items() if not key.required}
