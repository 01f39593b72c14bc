"""Reading YAML 1.2 within limits, keeping the place of every value.

The text is read event by event, and nothing but mappings with text keys, lists, text, numbers, booleans and null ever
comes out: no tags, no objects. Limits: 2 MB, depth 50, 100,000 nodes after aliases.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data.cache import DiskCache
from harness.errors import Place, Problem, SuiteError, first_line

MAX_BYTES = 2_000_000
MAX_DEPTH = 50
MAX_NODES = 100_000

Path_ = tuple[str | int, ...]
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INF = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_CORE_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")} | {"!"}


@dataclass(slots=True)
class Node:
    """A value with its place. ``key_places`` has where each key of a mapping stands."""

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
        SuiteError: the file cannot be read, is no such YAML, or is beyond the limits.
    """
    return parse(_text(path), path, top)


def parse(text: str, path: Path, top: type = dict) -> Node:
    """Parse YAML text; ``path`` is only for messages. Raises SuiteError."""
    key = _KNOWN.key(text.encode("utf-8", "surrogatepass"))
    known = _KNOWN.get(key)
    if known is not None:
        return _checked(_unpacked(known, path), path, top)
    node = _checked(_parsed(text, path), path, top)
    _KNOWN.put(key, _packed(node))
    _KNOWN.save()
    return node


_KNOWN = DiskCache("yaml", "2")


def _packed(node: Node) -> list[Any]:
    """A node as plain data: [line, column, size, height, value], with the place of each key beside its value."""
    value, keys = node.value, node.key_places
    if isinstance(value, dict):
        value = {key: [keys[key].line, keys[key].column, _packed(child)] for key, child in value.items()}
    elif isinstance(value, list):
        value = [_packed(child) for child in value]
    return [node.place.line, node.place.column, node.size, node.height, value]


def _unpacked(packed: list[Any], path: Path) -> Node:
    line, column, size, height, value = packed
    node = Node(Place(path, line, column), value, {}, size, height)
    if isinstance(value, dict):
        node.value = {key: _unpacked(child, path) for key, (_, _, child) in value.items()}
        node.key_places = {key: Place(path, line, column) for key, (line, column, _) in value.items()}
    elif isinstance(value, list):
        node.value = [_unpacked(child, path) for child in value]
    return node


def _checked(node: Node | None, path: Path, top: type) -> Node:
    if node is None:
        raise _error(Place(path, 1, 1), "the file is empty")
    if not isinstance(node.value, top):
        wanted = "a mapping (key: value)" if top is dict else "a list (- item)"
        raise _error(node.place, f"the top of the file must be {wanted}")
    return node


def _parsed(text: str, path: Path) -> Node | None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return _Composer(path, iter(YAML(typ="safe", pure=True).parse(text))).document()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _error(_place(path, mark), f"not valid YAML: {error.problem or error.context}") from error
    except YAMLError as error:
        raise _error(Place(path, 1, 1), f"not valid YAML: {first_line(error)}") from error
    except (ValueError, RecursionError, AttributeError, TypeError, IndexError, KeyError) as error:
        # The parser itself gives up in its own ways on hostile text (a surrogate, a bad escape, a stray directive).
        raise _error(Place(path, 1, 1), f"not valid YAML: {type(error).__name__}: {error}") from error


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
        raise _error(start, "no such file") from error
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


class _Composer:
    """Makes nodes from the parser's events; the recursion ends at the largest depth."""

    def __init__(self, path: Path, events: Iterator[Any]) -> None:
        self.path, self.events = path, events
        self.anchors: dict[str, Node | None] = {}  # None: a collection that is still open
        self.nodes = 0

    def document(self) -> Node | None:
        """The one document of the file; None where it has none."""
        top = None
        for event in self.events:
            if type(event).__name__ == "DocumentStartEvent":
                if top is not None:
                    raise _error(_place(self.path, event.start_mark), "more than one YAML document in the file")
                top = self._node(next(self.events), 0)
        return top

    def _node(self, event: Any, depth: int) -> Node:
        """The value that begins with an event, inside so many collections."""
        kind, place = self._checked(event)
        if kind == "AliasEvent":
            return self._alias(event.anchor, place, depth)
        if kind != "ScalarEvent" and depth >= MAX_DEPTH:
            raise _error(place, f"nested deeper than {MAX_DEPTH} levels")
        self._count(place, 1)
        if kind == "ScalarEvent":
            if any("\ud800" <= character <= "\udfff" for character in event.value):
                raise _error(place, "half a surrogate pair is no text")
            plain = event.style is None and not (event.tag and str(event.tag).endswith(":str"))
            node = Node(place, _resolve(event.value, place) if plain else event.value)
        else:
            if event.anchor:
                self.anchors[event.anchor] = None
            node = Node(place, {} if kind == "MappingStartEvent" else [])
            self._fill(node, depth)
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def _fill(self, node: Node, depth: int) -> None:
        """Read the values of a collection up to its end."""
        for event in self.events:
            if type(event).__name__ in ("MappingEndEvent", "SequenceEndEvent"):
                return
            if isinstance(node.value, dict):
                key = self._key(event, node)
                child = self._node(next(self.events), depth + 1)
                node.value[key] = child
            else:
                child = self._node(event, depth + 1)
                node.value.append(child)
            node.size += child.size
            node.height = max(node.height, child.height + 1)

    def _key(self, event: Any, parent: Node) -> str:
        kind, place = self._checked(event)
        if kind != "ScalarEvent":
            wrong = (
                "an alias cannot be a key" if kind == "AliasEvent" else "a key must be text, not a mapping or a list"
            )
            raise _error(place, wrong)
        key = str(event.value)
        if key in parent.value:
            raise _error(place, f"the key '{key}' stands twice; first at {parent.key_places[key]}")
        parent.key_places[key] = place
        return key

    def _checked(self, event: Any) -> tuple[str, Place]:
        """An event's kind and place; tags beyond those of plain values are refused."""
        place, tag = _place(self.path, event.start_mark), getattr(event, "tag", None)
        if tag is not None and str(tag) not in _CORE_TAGS:
            raise _error(place, f"the tag '{tag}' is not allowed; only plain values are")
        return type(event).__name__, place

    def _alias(self, anchor: str, place: Place, depth: int) -> Node:
        if anchor not in self.anchors:
            raise _error(place, f"the alias '*{anchor}' has no anchor before it")
        node = self.anchors[anchor]
        if node is None:
            raise _error(place, f"the alias '*{anchor}' refers to itself")
        if depth + node.height > MAX_DEPTH:
            raise _error(place, f"nested deeper than {MAX_DEPTH} levels")
        self._count(place, node.size)
        return node

    def _count(self, place: Place, new: int) -> None:
        self.nodes += new
        if self.nodes > MAX_NODES:
            raise _error(place, f"more than {MAX_NODES:,} values (aliases counted where they are used)")


def _resolve(text: str, place: Place) -> Any:
    """A plain scalar by the YAML 1.2 core schema: ``1e-3`` is a number, ``no`` is text."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if _INT.fullmatch(text):
        if len(text) > 100:
            raise _error(place, "a whole number of more than 100 digits")
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if infinite := _INF.fullmatch(text):
        return float(infinite.group(1) + "inf")
    return float("nan") if text in (".nan", ".NaN", ".NAN") else text


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
