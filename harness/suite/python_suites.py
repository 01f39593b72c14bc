"""Suites that are built in Python, and suites written out as one file: the same model both ways."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.base.yaml_nodes import MAX_DEPTH, Node, write
from harness.errors import Place, Problem, SuiteError

if TYPE_CHECKING:
    from harness.suite.load import Suite

PLACE = "suite (Python)"
"""What stands in messages where a file's name would."""
OWN_KINDS = ("intervention", "comparison")
"""Kinds of facts that a suite says itself, in sections of their own."""


def node_of(data: Any) -> Node:
    """Plain data as nodes whose places are their keys.

    Raises:
        SuiteError: something that a suite file could not hold.
    """
    if not isinstance(data, Mapping):
        raise SuiteError([Problem(_place(()), f"a mapping of a suite's keys is expected, not {_kind(data)}")])
    return _node(data, ())


def _node(value: Any, path: tuple[str, ...]) -> Node:
    place = _place(path)
    if len(path) > MAX_DEPTH:
        raise SuiteError([Problem(place, f"nested deeper than {MAX_DEPTH} levels")])
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise SuiteError([Problem(place, f"the key {key!r} is {_kind(key)}; keys are text")])
        keys = {str(key): (*path, str(key)) for key in value}
        children = {key: _node(value[key], below) for key, below in keys.items()}
        return Node(place, children, {key: _place(below) for key, below in keys.items()})
    if isinstance(value, list | tuple):
        return Node(place, [_node(item, (*path, str(number))) for number, item in enumerate(value)])
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, Path):
        value = str(value)
    if not (value is None or isinstance(value, bool | int | float | str)) and callable(getattr(value, "item", None)):
        value = value.item() if getattr(value, "size", 1) == 1 else value  # a number of NumPy or torch
    if value is None or isinstance(value, bool | int | float | str):
        return Node(place, value)
    raise SuiteError(
        [
            Problem(
                place, f"{_kind(value)} is no value of a suite: text, numbers, booleans, None, lists and mappings are"
            )
        ]
    )


def _place(path: tuple[str, ...]) -> Place:
    return Place(Path(", ".join((PLACE, ".".join(path))) if path else PLACE), 0, 0)


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"


def yaml_of(suite: Suite) -> str:
    """The text of a file that holds a whole suite."""
    return write(plain_suite(suite))


def plain_suite(suite: Suite) -> dict[str, Any]:
    """The suite as plain data that stand alone: no file is inherited from or named."""
    whole: dict[str, Any] = suite.node.plain()
    whole.pop("inherits", None)
    benchmarks = {}
    for name, loaded in suite.benchmarks.items():
        used = whole["benchmarks"].get(name) or {}
        define = {key: value for key, value in loaded.node.plain().items() if key not in ("inherits", "abstract")}
        benchmarks[name] = {"define": define} | {key: used[key] for key in ("arms", "set") if key in used}
    whole["benchmarks"] = benchmarks
    facts = [fact for fact in suite.facts.values() if fact.kind not in OWN_KINDS]
    whole.pop("facts", None)
    if facts:
        whole["facts"] = [fact.model_dump(mode="json", exclude_defaults=True) for fact in facts]
    return {key: whole[key] for key in ("suite", "title") if key in whole} | whole
