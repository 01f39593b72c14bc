"""Nested values by key: recipes, options of data sources and models, and overrides of them."""

from __future__ import annotations

from typing import Any, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from harness.trial.options import Values


class Settings(Values):
    """Values of a recipe, data source, model or method in a suite.

    Valid keys and types are declared by options (``harness.trial.options``) and checked by ``harness.suite.values``.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.dict_schema(core_schema.str_schema()))

    @property
    def name(self) -> str | None:
        """Name of the data source, model or method."""
        name = self.get("name")
        return name if isinstance(name, str) else None

    @property
    def options(self) -> Self:
        """Everything but the name."""
        return type(self)({key: value for key, value in self.items() if key != "name"})

    def merged(self, over: Settings) -> Self:
        """Put ``over`` on top, mapping by mapping."""
        result = type(self)(self)
        for key, value in over.items():
            below = result.get(key)
            both = isinstance(below, dict) and isinstance(value, dict)
            result[key] = dict(Settings(below or {}).merged(Settings(value))) if both else value
        return result

    def replaced(self, over: Settings) -> Self:
        """Merge with ``over``, or take ``over`` alone if it has another name."""
        if "name" in over and over["name"] != self.get("name"):
            return type(self)(over)
        return self.merged(over)

    def leaves(self) -> list[str]:
        """Dotted keys of all values that are not mappings."""
        keys = []
        for key, value in self.items():
            nested = isinstance(value, dict) and value
            keys += [f"{key}.{leaf}" for leaf in Settings(value).leaves()] if nested else [key]
        return keys

    def at(self, key: str) -> Any:
        """The value at a dotted key; None where there is none."""
        value: Any = self
        for step in key.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        return value
