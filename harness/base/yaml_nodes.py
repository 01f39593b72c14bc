"""Reading YAML 1.2 within limits, keeping the place of every value.

Nothing but mappings with text keys, lists, text, numbers, booleans and null ever comes out: no tags, no objects.
Limits: 2 MB, depth 50, 100,000 nodes after aliases.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.cyaml import CParser
from yaml.resolver import BaseResolver

from harness.errors import Place, Problem, SuiteError, first_line

MAX_BYTES = 2_000_000
MAX_DEPTH = 50
MAX_NODES = 100_000
MAX_DIGITS = 100

Path_ = tuple[str | int, ...]
Scalar = None | bool | int | float | str
_TAG = "tag:yaml.org,2002:"
_PLAIN = "plain"
_TAGS = {_PLAIN, *(f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq"))}
_READERS: tuple[tuple[str, re.Pattern[str], Callable[[str], Scalar]], ...] = (
    ("null", re.compile(r"|~|null|Null|NULL"), lambda text: None),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text.lower() == "true"),
    ("int", re.compile(r"[-+]?[0-9]+"), int),
    ("int", re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+"), lambda text: int(text, 0)),
    ("float", re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    ("float", re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"), lambda text: float(text.replace(".", ""))),
)
"""The core schema of YAML 1.2: ``1e-3`` is a number, ``no`` is text."""


@dataclass(slots=True)
class Node:
    """A value with its place. ``key_places`` has the place of each key of a mapping."""

    place: Place
    value: Any
    key_places: dict[str, Place] = field(default_factory=dict)
    size: int = 1
    height: int = 1

    @classmethod
    def of(cls, value: Any, place: Place) -> Node:
        """Plain data, all of it at one place."""
        if isinstance(value, dict):
            return cls(place, {key: cls.of(item, place) for key, item in value.items()}, dict.fromkeys(value, place))
        return cls(place, [cls.of(item, place) for item in value] if isinstance(value, list | tuple) else value)

    def copy(self) -> Node:
        """A mapping with the same values, to change its keys."""
        return Node(self.place, dict(self.value), dict(self.key_places))

    def plain(self) -> Any:
        """The value as dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def at(self, path: Path_) -> Node:
        """The node at a path that exists."""
        node = self
        for step in path:
            node = node.value[step]
        return node

    def find(self, path: Path_) -> Place:
        """The place of the value at a path; of its nearest parent where it is missing."""
        node, place = self, self.place
        for step in path:
            if isinstance(node.value, dict) and step in node.value:
                place, node = node.key_places[str(step)], node.value[step]
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                place = node.place
            else:
                break
        return place


def read(path: Path, top: type = dict) -> Node:
    """Read one YAML file whose top is a mapping (or, with ``top=list``, a list).

    Raises:
        SuiteError: the file cannot be read, is not such YAML, or is beyond the limits.
    """
    return parse(_text(path), path, top)


def parse(text: str, path: Path, top: type = dict) -> Node:
    """Parse YAML text; ``path`` is only for messages. Raises SuiteError."""
    try:
        composed = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(text for text in (error.context, error.problem) if text)
        raise _error(_place(path, mark), f"not valid YAML: {problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise _error(Place(path, 1, 1), f"not valid YAML: {first_line(error)}") from error
    if composed is None:
        raise _error(Place(path, 1, 1), "the file is empty")
    node = _Converter(path).node(composed, 0)
    if not isinstance(node.value, top):
        wanted = "a mapping (key: value)" if top is dict else "a list (- item)"
        raise _error(node.place, f"the top of the file must be {wanted}")
    return node


def write(data: object, width: int = 120, flow: bool | None = None) -> str:
    """The text of plain data, which :func:`parse` reads as the same data; keys keep their order.

    Args:
        width: of a line.
        flow: whether collections stand in brackets; None: those without collections inside.
    """
    return yaml.dump(data, Dumper=_Dumper, width=width, allow_unicode=True, sort_keys=False, default_flow_style=flow)


def merge(base: Node, over: Node) -> Node:
    """``over`` on top of ``base``: mappings key by key, anything else replaced; every value keeps its place."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = base.copy()
    merged.place = over.place
    for key, node in over.value.items():
        merged.value[key] = merge(base.value[key], node) if key in base.value else node
        merged.key_places[key] = over.key_places[key]
    return merged


class _Loader(CParser, BaseResolver):
    """The C composer, which marks the scalars that are to be resolved: plain ones without a tag."""

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        BaseResolver.__init__(self)

    def resolve(self, kind: type, value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else f"{_TAG}str"
        return f"{_TAG}map" if kind is yaml.MappingNode else f"{_TAG}seq"


class _Dumper(yaml.CSafeDumper):
    """Quotes text that YAML 1.1 or 1.2 would read as something else."""

    def resolve(self, kind: type, value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode and implicit[0]:
            for name, pattern, _ in _READERS:
                if pattern.fullmatch(value):
                    return f"{_TAG}{name}"
        return super().resolve(kind, value, implicit)


class _Converter:
    """Converts PyYAML's nodes; an alias is the node of its anchor."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.nodes: dict[int, Node | None] = {}  # None: a collection that is still open
        self.count = 0

    def node(self, composed: yaml.Node, depth: int) -> Node:
        """The value of a composed node inside ``depth`` collections."""
        place = _place(self.path, composed.start_mark)
        if id(composed) in self.nodes:
            node = self.nodes[id(composed)]
            if node is None:
                raise _error(place, "the value contains an alias that refers to itself")
            self._check(place, depth + node.height - 1, node.size)
            return node
        collection = not isinstance(composed, yaml.ScalarNode)
        self._check(place, depth if collection else 0, 1)
        if composed.tag not in _TAGS:
            raise _error(place, f"the tag '{composed.tag}' is not allowed; only plain values are")
        self.nodes[id(composed)] = None
        node = self._collection(composed, place, depth) if collection else Node(place, _scalar(composed, place))
        self.nodes[id(composed)] = node
        return node

    def _collection(self, composed: yaml.Node, place: Place, depth: int) -> Node:
        node = Node(place, {} if isinstance(composed, yaml.MappingNode) else [])
        for item in composed.value:
            child = self.node(item[1] if isinstance(item, tuple) else item, depth + 1)
            if isinstance(item, tuple):
                node.value[self._key(item[0], node)] = child
            else:
                node.value.append(child)
            node.size += child.size
            node.height = max(node.height, child.height + 1)
        return node

    def _key(self, composed: yaml.Node, parent: Node) -> str:
        place = _place(self.path, composed.start_mark)
        if not isinstance(composed, yaml.ScalarNode):
            raise _error(place, "a key must be text, not a mapping or a list")
        key = str(composed.value)
        if key in parent.value:
            raise _error(place, f"duplicate key '{key}' (first defined at {parent.key_places[key]})")
        parent.key_places[key] = place
        return key

    def _check(self, place: Place, depth: int, new: int) -> None:
        if depth >= MAX_DEPTH:
            raise _error(place, f"nested deeper than {MAX_DEPTH} levels")
        self.count += new
        if self.count > MAX_NODES:
            raise _error(place, f"more than {MAX_NODES:,} values (aliases counted where they are used)")


def _scalar(composed: yaml.Node, place: Place) -> Scalar:
    text = str(composed.value)
    if composed.tag == f"{_TAG}str" or (composed.tag != _PLAIN and composed.style):
        return text
    for name, pattern, value_of in _READERS:
        if pattern.fullmatch(text):
            if name == "int" and len(text) > MAX_DIGITS:
                raise _error(place, f"a whole number of more than {MAX_DIGITS} digits")
            return value_of(text)
    return text


def _text(path: Path) -> str:
    start = Place(path, 1, 1)
    try:
        if path.is_dir():
            raise _error(start, "is a folder; a YAML file is expected")
        if path.exists() and not path.is_file():
            raise _error(start, "is a pipe or a device; a YAML file is expected")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise _error(start, "the file does not exist") from error
    except OSError as error:
        raise _error(start, f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a name that no file can have
        raise _error(start, f"cannot be read: {error}") from error
    if len(data) > MAX_BYTES:
        raise _error(start, f"larger than {MAX_BYTES:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _error(Place(path, line, 1), "is not UTF-8 text; save it as UTF-8") from error


def _place(path: Path, mark: Any) -> Place:
    return Place(path, 1, 1) if mark is None else Place(path, mark.line + 1, mark.column + 1)


def _error(place: Place, message: str) -> SuiteError:
    return SuiteError([Problem(place, message)])
