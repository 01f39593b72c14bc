"""Metadata read from syntax trees: no module is imported, so that readers of the index need no torch.

A module is a namespace whose names are evaluated on first use: ``METADATA`` needs only the constants, options and
signatures that it names. Imports are followed into other files of the packages; names of libraries, other than the
standard one, are not available.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import HarnessError
from harness.registry.shipped import COMPUTING, DESCRIBING

RECORDS = (*DESCRIBING, "harness.registry.metadata", "harness.trial.options")
"""Modules of this project whose names are imported: they need nothing but the standard library."""


class NotStaticError(HarnessError):
    """A value that cannot be read from a syntax tree."""


class Namespace(dict[str, Any]):
    """Values of names in the scope of a module or class."""


class StaticModule(Namespace):
    """The global names of a source file, evaluated on first use.

    ``find`` returns the static module of a dotted name, or None for one of another library.
    """

    def __init__(self, name: str, path: Path, find: Callable[[str], StaticModule | None]) -> None:
        super().__init__(__name__=name)
        self._path, self._find = path, find
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        self._statements = {name: statement for statement in tree.body for name in _bound_by(statement)}

    def __missing__(self, name: str) -> Any:
        if name not in self._statements:
            raise KeyError(name)
        self[name] = self._value_of(name, self._statements[name])
        return self[name]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._statements

    def _value_of(self, name: str, statement: ast.stmt) -> Any:
        if isinstance(statement, ast.ImportFrom):
            return self._imported(name, statement)
        if isinstance(statement, ast.Import) and name in sys.stdlib_module_names:
            return importlib.import_module(name)
        if isinstance(statement, ast.FunctionDef):
            return self._function(statement)
        if isinstance(statement, ast.ClassDef):
            return self._dataclass(statement) if statement.decorator_list else self._class(statement)
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            return self._evaluate(_assigned(statement)[name])
        self._refuse(statement, f"'{name}'")

    def _imported(self, name: str, statement: ast.ImportFrom) -> Any:
        original = next(alias.name for alias in statement.names if (alias.asname or alias.name) == name)
        module = statement.module or ""
        if module in RECORDS or module.partition(".")[0] in sys.stdlib_module_names:
            return getattr(importlib.import_module(module), original)
        source = self._find(module)
        if source is None or original not in source:
            self._refuse(statement, f"'{name}' of {module}")
        return source[original]

    def _evaluate(self, expression: ast.expr) -> Any:
        try:
            return eval(self._compiled(ast.Expression(expression), "eval"), self, self)
        except NotStaticError:
            raise
        except Exception as error:
            self._refuse(expression, f"{ast.unparse(expression)[:60]} ({type(error).__name__}: {error})")

    def _function(self, definition: ast.FunctionDef, scope: Namespace | None = None) -> Any:
        """The function without annotations: its signature, and its value in expressions."""
        for argument in ast.walk(definition.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
        definition.returns, definition.decorator_list = None, []
        return self._defined(definition, scope)

    def _dataclass(self, definition: ast.ClassDef) -> Any:
        """A record of options: its fields, without methods."""
        definition.body = [node for node in definition.body if not isinstance(node, ast.FunctionDef)]
        return self._defined(definition)

    def _class(self, definition: ast.ClassDef) -> Any:
        """A class as metadata refer to it: attributes and constructor, own and inherited."""
        bases = [base for base in map(self._readable, definition.bases) if isinstance(base, type)]
        attributes = Namespace()
        for statement in definition.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                attributes["__init__"] = self._function(statement, attributes)
            elif isinstance(statement, ast.Assign | ast.AnnAssign):
                for name, value in _assigned(statement).items():
                    attributes[name] = self._evaluate(value) if name == "metadata" else self._readable(value)
        return type(definition.name, tuple(bases), attributes)

    def _readable(self, expression: ast.expr) -> Any:
        try:
            return self._evaluate(expression)
        except NotStaticError:
            return None

    def _defined(self, definition: ast.FunctionDef | ast.ClassDef, scope: Namespace | None = None) -> Any:
        names = Namespace(scope or {})
        for node in ast.walk(definition.args if isinstance(definition, ast.FunctionDef) else definition):
            if isinstance(node, ast.Name) and node.id in self._statements:
                self[node.id]  # a class body looks globals up without __missing__
        try:
            exec(self._compiled(ast.Module([definition], []), "exec"), self, names)
        except NotStaticError:
            raise
        except Exception as error:
            self._refuse(definition, f"{definition.name} ({type(error).__name__}: {error})")
        return names[definition.name]

    def _compiled(self, tree: ast.Expression | ast.Module, mode: str) -> Any:
        # annotations as values: a record's own module is not there to look their names up in
        return compile(tree, str(self._path), mode, dont_inherit=True)

    def _refuse(self, node: ast.stmt | ast.expr, what: str) -> NoReturn:
        raise NotStaticError(
            f"{self._path}:{node.lineno}: {what} cannot be read without importing the module; metadata and options "
            f"may use the standard library, {', '.join(RECORDS)}, and constants of {' and '.join(COMPUTING)}"
        )


def _bound_by(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.ImportFrom | ast.Import):
        yield from (alias.asname or alias.name for alias in statement.names)
    elif isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        yield from _assigned(statement)


def _assigned(statement: ast.Assign | ast.AnnAssign) -> dict[str, ast.expr]:
    """Names and expressions of an assignment, also of ``slot, family = "norm", "image"``."""
    target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
    value = statement.value
    if isinstance(target, ast.Name) and value is not None:
        return {target.id: value}
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        pairs = zip(target.elts, value.elts, strict=True)
        return {name.id: expression for name, expression in pairs if isinstance(name, ast.Name)}
    return {}


class StaticPackages:
    """The modules of the packages below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._modules: dict[str, StaticModule] = {}

    def module(self, name: str) -> StaticModule | None:
        """The module of a dotted name; None for one of another library."""
        if name not in self._modules:
            file = self._root.joinpath(*name.split(".")).with_suffix(".py")
            if name.partition(".")[0] not in COMPUTING or not file.is_file():
                return None
            self._modules[name] = StaticModule(name, file, self.module)
        return self._modules[name]
