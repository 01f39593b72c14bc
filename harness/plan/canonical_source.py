"""The canonical source of a file: its computations, without its texts.

Removed are comments, docstrings, annotations, metadata (titles, citations, summaries, search spaces), declared options
with their help texts, and the texts of messages. A first-party import names no module: the module's content counts
instead, so that a renamed or moved file is the same code.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

RULES = 5
"""Of these rules; other rules give other fingerprints."""

_DECLARING = ("option",)
_FIELD_WORDS = frozenset({"ClassVar", "InitVar"})
_OPTION_TYPES = frozenset({"int", "float", "bool", "str", "tuple"})
"""A value of an option is made what its annotation says (``harness.trial.options.build``)."""
_LOGGERS = ("warnings", "logging", "log", "logger", "_log")
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Import:
    """``from base import name``, or ``import base`` with an empty name; ``level`` counts the dots of a relative one."""

    level: int
    base: str
    name: str


@dataclass(frozen=True, slots=True)
class CanonicalSource:
    """A file's digest, without names of modules, and its first-party imports."""

    digest: str
    imports: tuple[Import, ...]


def normal_form(source: bytes, ours: Callable[[Import], bool | None]) -> CanonicalSource:
    """Return the canonical source of a Python file.

    ``ours`` is True for a first-party import, False for another, None for one that only describes and is left out.

    Raises:
        SyntaxError: it is not Python.
    """
    tree = ast.parse(source)
    messages = {id(node): node for node in _messages(tree)}  # held, so that no new node takes over an id
    stripped = _Stripped(ours, messages)
    tree = stripped.visit(tree)
    return CanonicalSource(hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(stripped.imports))


class _Stripped(ast.NodeTransformer):
    """Keeps computing nodes, and collects first-party imports."""

    def __init__(self, ours: Callable[[Import], bool | None], messages: Mapping[int, ast.AST]) -> None:
        self.ours, self.messages = ours, messages
        self.imports: list[Import] = []

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Strip the children; an empty body gets ``pass``."""
        super().generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list) and not isinstance(node, ast.Module):
            node.body = body or [ast.Pass()]  # type: ignore[attr-defined]
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("") if isinstance(node.value, str) and id(node) in self.messages else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return ast.Constant("") if id(node) in self.messages else self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Drop docstrings, of attributes too, and other texts that stand alone."""
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str | type(...))
        return None if text else self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 (a name of ``ast``)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        """Reduce the annotation to the words that dataclasses and options read."""
        names = {name.id for name in ast.walk(node.annotation) if isinstance(name, ast.Name)}
        declared = isinstance(node.target, ast.Name) and node.target.id == "metadata" and "ClassVar" in names
        if declared or _is_metadata([node.target]):
            return None
        read = _OPTION_TYPES if isinstance(node.value, ast.Call) and _declares(node.value) else _FIELD_WORDS
        node.annotation = ast.Constant(" ".join(sorted(names & read)))
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        return None if _is_metadata(node.targets) else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt] | None:
        """Leave out code under ``if TYPE_CHECKING:``, which never runs."""
        if "TYPE_CHECKING" not in ast.dump(node.test):
            return self.generic_visit(node)
        kept = [self.visit(item) for item in node.orelse]
        return [item for item in kept if item is not None] or None

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Reduce metadata and declared options to their name."""
        if _declares(node):
            node.args, node.keywords = [], []
        elif _name(node.func) == "Artifact":
            node.args, node.keywords = node.args[:3], [item for item in node.keywords if item.arg != "caption"]
        return self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> ast.AST | None:
        """Keep the names of a first-party ``import a.b``, since the code repeats them."""
        return self._import(node, [Import(0, alias.name, "") for alias in node.names], node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        """Drop the module's name of a first-party import."""
        if node.module == "__future__":
            return None
        imports = [Import(node.level, node.module or "", alias.name) for alias in node.names]
        kept = self._import(node, imports, node.names)
        if kept is not None and any(self.ours(item) for item in imports):
            node.module, node.level = "", 0
        return kept

    def _import(
        self, node: ast.Import | ast.ImportFrom, imports: Iterable[Import], names: Iterable[ast.alias]
    ) -> ast.AST | None:
        kept = []
        for item, alias in zip(imports, names, strict=True):
            ours = self.ours(item)
            if ours is None:
                continue
            if ours:
                self.imports.append(item)
                # ``imports`` has the module; here stays the name that the code uses
                alias = ast.alias("", alias.asname or alias.name)
            kept.append(alias)
        node.names = kept
        return node if kept else None


def _is_metadata(targets: Iterable[ast.expr]) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "METADATA" for target in targets)


def _declares(node: ast.Call) -> bool:
    name = _name(node.func)
    return name in _DECLARING or name.endswith("Metadata")


def _name(function: ast.expr) -> str:
    return str(getattr(function, "id", getattr(function, "attr", "")))


def _messages(tree: ast.AST) -> Iterator[ast.AST]:
    for place in _places(tree):
        yield from ast.walk(place)
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTION):
            yield from _prepared(node)


def _places(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield expressions of messages: of ``raise``, ``assert``, warnings, logs, ``print`` and errors' constructors."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            yield node.exc
        elif isinstance(node, ast.Assert) and node.msg is not None:
            yield node.msg
        elif isinstance(node, ast.Call) and (_speaks(node) or _declares(node)):
            yield from (*node.args, *(item.value for item in node.keywords))
        elif isinstance(node, ast.ClassDef) and node.name.endswith(("Error", "Warning")):
            yield from (
                item for item in ast.walk(node) if isinstance(item, ast.Call) and _name(item.func) == "__init__"
            )


def _speaks(node: ast.Call) -> bool:
    if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        return node.func.value.id in _LOGGERS
    return isinstance(node.func, ast.Name) and node.func.id == "print"


def _prepared(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """Yield texts assigned to a name that only messages use."""
    inside = {id(node) for place in _places(function) for node in ast.walk(place)}
    used: dict[str, set[bool]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            used.setdefault(node.id, set()).add(id(node) in inside)
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) for target in node.targets):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if not any(False in used.get(name, ()) for name in names):
                yield from ast.walk(node.value)
