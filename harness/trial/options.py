"""Declared options: type, default, limits and meaning of one key of a recipe, a task, a model or a data source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Scalar = None | bool | int | float | str


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a recipe, a model or a data source: type, default, limits, meaning.

    ``type`` is ``int``, ``float``, ``bool``, ``str``, ``list``, ``dict`` or ``any``; a float accepts whole numbers.
    """

    type: Literal["int", "float", "bool", "str", "list", "dict", "any"]
    default: Any = None
    about: str = ""
    choices: tuple[Scalar, ...] = ()
    low: float | None = None
    high: float | None = None
    required: bool = False
    optional: bool = False  # null is a valid value
