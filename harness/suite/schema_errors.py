"""Problems from pydantic's errors: one sentence each, what is wrong and which values are valid."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, RootModel

from harness.errors import Problem, choices
from harness.suite.yamlfile import Node


def schema_problem(model: type[BaseModel], node: Node, detail: Mapping[str, Any]) -> Problem:
    """One problem from one entry of ``ValidationError.errors()``."""
    path = tuple(detail["loc"])
    real = _real_path(node, path)
    shown = ".".join(map(str, real))
    key = str(path[-1]) if path else ""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        message = f"unknown key '{key}'; {choices(fields_at(model, path[:-1]), key)}"
    elif kind == "missing":
        message = f"the key '{key}' is missing" + (f" in '{shown}'" if shown else "")
    elif kind == "literal_error":
        message = f"'{shown}' is {_short(detail['input'])}; valid: {context.get('expected', '')}"
    elif kind == "value_error":
        message = f"'{shown}': {context.get('error', detail['msg'])}" if shown else str(context.get("error"))
    else:
        message = f"'{shown}' is {_short(detail['input'])}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
    return Problem(node.find(tuple(real)), message)


def _real_path(node: Node, path: tuple[Any, ...]) -> list[Any]:
    """The path without the names of union members that pydantic mixes in."""
    found: list[Any] = []
    for position, step in enumerate(path):
        if (isinstance(node.value, dict) and step in node.value) or (
            isinstance(node.value, list) and isinstance(step, int) and step < len(node.value)
        ):
            node = node.value[step]
        elif position < len(path) - 1 or (isinstance(step, str) and step[:1].isupper()) or "[" in str(step):
            continue
        found.append(step)
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def fields_at(model: Any, path: tuple[Any, ...]) -> list[str]:
    """The keys that a model takes at a path."""
    current = [model]
    for step in path:
        following: list[Any] = []
        for candidate in current:
            following.extend(_below(candidate, step))
        current = following or current
    names: list[str] = []
    for candidate in current:
        for member in _members(candidate):
            if isinstance(member, type) and issubclass(member, BaseModel) and not issubclass(member, RootModel):
                names.extend(member.model_fields)
    return names


def _members(annotation: Any) -> list[Any]:
    """A type and, for unions and annotated types, what they are made of."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [m for argument in typing.get_args(annotation) for m in _members(argument)]
    return [annotation]


def _below(annotation: Any, step: Any) -> list[Any]:
    found: list[Any] = []
    for member in _members(annotation):
        origin, arguments = typing.get_origin(member), typing.get_args(member)
        if origin is dict:
            found.append(arguments[1])
        elif origin is list:
            found.append(arguments[0])
        elif isinstance(member, type) and issubclass(member, BaseModel):
            if issubclass(member, RootModel):
                found.extend(_below(member.model_fields["root"].annotation, step))
            elif step in member.model_fields:
                field = member.model_fields[step]
                found.append(field.annotation)
    return found
