"""Base of all records of a suite file: names, identifiers, strict models, nested values, and errors as problems."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError, core_schema

from harness.base.yaml_nodes import Node
from harness.errors import Problem, choices
from harness.trial.options import Values

UNKNOWN_KEY = "unknown_key"
# No control characters and none that reverses the direction of text: names appear in terminals and on pages.
_NAME = r"^[^\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\\]+$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=_NAME)]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=120)]


class Strict(BaseModel):
    """Frozen record without unknown keys, conversion of types, NaN and infinities."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _named(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            raise with_valid_keys(error, list(cls.model_fields)) from error


def with_valid_keys(error: ValidationError, valid: list[str]) -> ValidationError:
    """Add a record's valid keys to its errors of unknown keys; nested records have theirs."""
    lines = []
    for line in error.errors():
        kind: str | PydanticCustomError = line["type"]
        if kind == "extra_forbidden" and len(line["loc"]) == 1:
            kind = PydanticCustomError(UNKNOWN_KEY, "unknown key", {"valid": valid})
        elif kind == UNKNOWN_KEY:
            kind = PydanticCustomError(UNKNOWN_KEY, "unknown key", line["ctx"])
        lines.append(InitErrorDetails(type=kind, loc=line["loc"], input=line["input"], ctx=line.get("ctx", {})))
    return ValidationError.from_exception_data(error.title, lines)


def schema_problem(node: Node, detail: ErrorDetails) -> Problem:
    """One problem from one entry of ``ValidationError.errors()``."""
    path = tuple(detail["loc"])
    real = _real_path(node, path)
    shown = ".".join(map(str, real))
    key = str(path[-1]) if path else ""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == UNKNOWN_KEY:
        message = f"unknown key '{key}'; {choices(context['valid'], key)}"
    elif kind == "missing":
        message = f"the key '{key}' is missing" + (f" in '{shown}'" if shown else "")
    elif kind in ("literal_error", "enum"):
        message = f"'{shown}' is {_short(detail['input'])}; valid: {context.get('expected', '')}"
    elif kind == "value_error":
        message = f"'{shown}': {context.get('error', detail['msg'])}" if shown else str(context.get("error"))
    else:
        message = f"'{shown}' is {_short(detail['input'])}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
    return Problem(node.find(tuple(real)), message)


def _real_path(node: Node, path: tuple[Any, ...]) -> list[Any]:
    """The path without the names of union members that pydantic mixes in."""
    real: list[Any] = []
    for position, step in enumerate(path):
        if (isinstance(node.value, dict) and step in node.value) or (
            isinstance(node.value, list) and isinstance(step, int) and step < len(node.value)
        ):
            node = node.value[step]
        elif position < len(path) - 1 or (isinstance(step, str) and step[:1].isupper()) or "[" in str(step):
            continue
        real.append(step)
    return real


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


class Settings(Values):
    """Values of a recipe, data source, model or method in a suite.

    Valid keys and types are declared by options (``harness.trial.options``) and checked by ``harness.suite.values``.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.dict_schema(core_schema.str_schema()))

    @property
    def name(self) -> str | None:
        name = self.get("name")
        return name if isinstance(name, str) else None

    @property
    def options(self) -> Self:
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
