"""Edits of suite files node by node: every value deleted, doubled, of another type, or under another name."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base import yaml_nodes
from harness.base.yaml_nodes import Node

KINDS = ("delete", "duplicate", "retype", "rename")


@dataclass(frozen=True)
class Edit:
    """One edit at one place of one file."""

    file: Path
    place: tuple[str | int, ...]
    kind: str

    def text(self, node: Node) -> str:
        """The edited file, as flow YAML."""
        return emit(edited(tree(node), self.place, self.kind))


def edits(file: Path, node: Node) -> Iterator[Edit]:
    """Every edit of a file; the top itself can only be retyped."""
    for place in places(node):
        for kind in KINDS:
            if place or kind == "retype":
                yield Edit(file, place, kind)


def places(node: Node, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The place of every value."""
    yield place
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from places(child, (*place, key))
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            yield from places(child, (*place, index))


@dataclass
class Mapping:
    """A mapping in which a key may stand twice."""

    items: list[tuple[str, Any]]


def tree(node: Node) -> Any:
    """Plain data, mappings as lists of pairs."""
    if isinstance(node.value, dict):
        return Mapping([(key, tree(child)) for key, child in node.value.items()])
    if isinstance(node.value, list):
        return [tree(child) for child in node.value]
    return node.value


def edited(value: Any, place: tuple[str | int, ...], kind: str) -> Any:
    """A copy with one edit."""
    if not place:
        return retyped(value)
    head, *rest = place
    if isinstance(value, Mapping):
        out: list[tuple[str, Any]] = []
        for key, child in value.items:
            out += (
                at_key(key, child, kind)
                if key == head and not rest
                else [(key, edited(child, tuple(rest), kind) if key == head else child)]
            )
        return Mapping(out)
    items: list[Any] = []
    for index, child in enumerate(value):
        if index != head:
            items.append(child)
        elif rest:
            items.append(edited(child, tuple(rest), kind))
        else:
            items += at_index(child, kind)
    return items


def at_key(key: str, child: Any, kind: str) -> list[tuple[str, Any]]:
    """What becomes of a pair."""
    if kind == "delete":
        return []
    if kind == "duplicate":
        return [(key, child), (key, child)]
    return [(key, retyped(child))] if kind == "retype" else [(f"{key}x", child)]


def at_index(child: Any, kind: str) -> list[Any]:
    """What becomes of an element."""
    if kind == "delete":
        return []
    if kind == "duplicate":
        return [child, child]
    return [retyped(child) if kind == "retype" else f"{child}x"]


def retyped(value: Any) -> Any:
    """Something of another type."""
    if isinstance(value, Mapping):
        return [child for _, child in value.items] or "text"
    if isinstance(value, list):
        return Mapping([(str(index), child) for index, child in enumerate(value)])
    if isinstance(value, bool | None):
        return 7
    if isinstance(value, str):
        return Mapping([("name", 3)])
    return f"{value} of them"


def emit(value: Any) -> str:
    """JSON, which is YAML, but for doubled keys and infinity."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)}: {emit(child)}" for key, child in value.items) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(emit, value)) + "]"
    if isinstance(value, float) and math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    return json.dumps(value)


def parsed(file: Path) -> Node:
    """A suite, benchmark or claims file."""
    return yaml_nodes.read(file, top=list if file.parent.name == "claims" else dict)
