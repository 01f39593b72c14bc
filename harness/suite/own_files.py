"""Parts of a suite that are files of the user: ``optimizer: {file: ./my.py, class: SignSGD, lr: 0.01}``.

The file is run, so that its class is known; in the suite's node the mapping then has the name under which it is known.
Methods need no metadata; data, models and tasks have one (``METADATA``), as those of packages have.
"""

from __future__ import annotations

from pathlib import Path

from harness.base.yaml_nodes import Node
from harness.errors import HarnessError, Problem, SuiteError
from harness.registry.user_methods import UserMethod, register, user_method, user_part
from harness.vocabulary import SLOTS

PARTS = ("data", "model")


def with_own_files(node: Node, root: Path) -> tuple[Node, tuple[UserMethod, ...]]:
    """Replace every file by its registered name; return the parts for workers too.

    Args:
        root: the suite's folder, from which files are named.

    Raises:
        SuiteError: a file that is not there or does not run, or a class that it does not have; with its place.
    """
    result: dict[str, UserMethod] = {}
    changed = _visited(node, "", root, result)
    return changed, tuple(result.values())


def _visited(node: Node, key: str, root: Path, parts: dict[str, UserMethod]) -> Node:
    value = node.value
    if isinstance(value, list):
        items = [_visited(child, key, root, parts) for child in value]
        return node if all(a is b for a, b in zip(items, value, strict=True)) else _with(node, items)
    if not isinstance(value, dict):
        return node
    if (key in SLOTS or key in PARTS) and "file" in value:
        return _named(node, key, root, parts)
    children = {name: _visited(child, _key_of(key, name), root, parts) for name, child in value.items()}
    if all(children[name] is child for name, child in value.items()):
        return node
    copy = node.copy()
    copy.value = children
    return copy


def _key_of(above: str, name: str) -> str:
    """The slot or part of a mapping; a place below a slot belongs to the slot."""
    return above if above in SLOTS and name not in (*SLOTS, *PARTS) else name


def _with(node: Node, items: list[Node]) -> Node:
    return Node(node.place, items, node.key_places, node.size, node.height)


def _named(node: Node, key: str, root: Path, parts: dict[str, UserMethod]) -> Node:
    file = node.value["file"]
    if not isinstance(file.value, str):
        raise SuiteError([Problem(file.place, "'file' is the path of a Python file")])
    path = (root / file.value).resolve()
    if not path.is_file():
        raise SuiteError([Problem(file.place, f"no file {path}")])
    if path.suffix != ".py":
        raise SuiteError([Problem(file.place, f"{path} is not a Python file")])
    target = node.value.get("class") or node.value.get("function")
    try:
        if key in SLOTS:
            if target is None:
                raise HarnessError("name the class: {file: …, class: …}")
            part = user_method(path, str(target.value), key)
        else:
            part = user_part(path, "data" if key == "data" else "model")
        register(part)
    except HarnessError as error:
        raise SuiteError([Problem((target or file).place, str(error))]) from error
    parts[f"{part.kind}/{part.name}"] = part
    named = node.copy()
    for word in ("file", "class", "function"):
        named.value.pop(word, None)
        named.key_places.pop(word, None)
    named.value = {"name": Node.of(part.name, file.place), **named.value}
    named.key_places["name"] = node.key_places["file"]
    return named
