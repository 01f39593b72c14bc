"""The fingerprint of the code that a trial's numbers depend on.

It hashes the syntax trees, comments and docstrings removed, of the first-party modules that are reached by import
from a trial's roots: its methods, task, data source, model and the training loop. Re-export-only ``__init__`` files
are looked through, not followed, so that editing SGDP re-runs nothing of AdamP.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from harness.data.cache import DiskCache

FIRST_PARTY = ("harness", "methods", "suites", "reports")
LOOP = "harness.trial.loop"


@dataclass(frozen=True, slots=True)
class _Module:
    """A module's digest and the first-party modules that it imports."""

    digest: str
    imports: tuple[str, ...]


def fingerprint(roots: Iterable[str]) -> str:
    """sha256 over the modules reached from the roots (dotted names, or paths of ``.py`` files)."""
    return _fingerprint(tuple(sorted({*roots, LOOP})))


@cache
def _fingerprint(roots: tuple[str, ...]) -> str:
    text = "\n".join(f"{name} {_module(name).digest}" for name in reached(roots))
    _KNOWN.save()
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def reached(roots: tuple[str, ...]) -> tuple[str, ...]:
    """Every first-party module reached by import from the roots, sorted."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        waiting.extend(_module(name).imports)
    return tuple(sorted(found))


def forget() -> None:
    """Drop what is cached about sources (tests that edit files in one process)."""
    for cached in (_fingerprint, reached, _module, _file, _re_exports):
        cached.cache_clear()


_KNOWN = DiskCache("modules", f"1/{sys.version_info[0]}.{sys.version_info[1]}")


@cache
def _module(name: str) -> _Module:
    path = Path(name) if name.endswith(".py") else _file(name)
    if path is None:
        return _Module("missing", ())
    digest, raw = _read(path)
    native = path.with_suffix(".c")  # what a module compiles lies beside it under its own name
    if native.exists():
        digest = hashlib.sha256(digest.encode() + native.read_bytes()).hexdigest()
    package = "" if name.endswith(".py") else name if path.name == "__init__.py" else name.rpartition(".")[0]
    imports = set(_imports(raw, package))
    if name.endswith(".py"):  # a user's file may import its neighbours
        names = {base for level, base, _ in raw if not level and base}
        imports |= {str(path.parent / f"{one}.py") for one in names if (path.parent / f"{one}.py").exists()}
    return _Module(digest, tuple(sorted(imports)))


_Raw = list[tuple[int, str, str]]  # (level, base, name) of ``from base import name``; name "" for ``import base``


def _read(path: Path) -> tuple[str, _Raw]:
    """A source file's digest and its imports as they are written, kept by the file's content."""
    content = path.read_bytes()
    key = _KNOWN.key(content)
    known = _KNOWN.get(key)
    if known is None:
        tree = ast.parse(content)
        raw = sorted(set(_written(tree)))
        _strip(tree)
        known = [hashlib.sha256(ast.dump(tree).encode()).hexdigest(), raw]
        _KNOWN.put(key, known)
    return str(known[0]), [(int(level), str(base), str(name)) for level, base, name in known[1]]


def _written(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    for node in _running(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, node.module or "", alias.name) for alias in node.names)


def _strip(tree: ast.AST) -> None:
    """Remove docstrings: they say, they do not do."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            if body and _is_text(body[0]):
                node.body = body[1:] or [ast.Pass()]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def _file(name: str) -> Path | None:
    """The source file of a module, found without importing it or running its parents' code."""
    top, *rest = name.split(".")
    spec = find_spec(top)
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    for root in spec.submodule_search_locations or ():
        base = Path(root).joinpath(*rest)
        for candidate in (base.with_suffix(".py"), base / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


def _first_party(name: str) -> bool:
    return name.split(".")[0] in FIRST_PARTY


def _imports(raw: _Raw, package: str) -> Iterator[str]:
    for level, base, name in raw:
        absolute = _absolute(level, base, package)
        if absolute and _first_party(absolute):
            yield from _reached_from(absolute, name) if name else _reached_by_name(absolute)


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under ``if TYPE_CHECKING:``, which never run."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                waiting.extend(child.orelse)
            else:
                waiting.append(child)


def _absolute(level: int, base: str, package: str) -> str | None:
    if not level:
        return base
    if not package:
        return None
    parts = package.split(".")
    parts = parts[: len(parts) - (level - 1)]
    return ".".join([*parts, base] if base else parts)


def _reached_by_name(name: str) -> Iterator[str]:
    """``import a.b.c`` reaches c; a package only where its ``__init__`` does more than re-export."""
    if _re_exports(name) is None and _file(name) is not None:
        yield name


def _reached_from(base: str, name: str) -> Iterator[str]:
    """``from base import name``: a submodule, or where a re-exporting package has the name from."""
    if _file(f"{base}.{name}") is not None:
        yield from _reached_by_name(f"{base}.{name}")
        return
    exports = _re_exports(base)
    if exports is None:
        if _file(base) is not None:
            yield base
    elif name in exports:
        yield exports[name]


@cache
def _re_exports(name: str) -> dict[str, str] | None:
    """Where a package's ``__init__`` has its names from, if it does nothing but re-export; None otherwise."""
    path = _file(name)
    if path is None or path.name != "__init__.py":
        return None
    found: dict[str, str] = {}
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.ImportFrom):
            base = _absolute(node.level, node.module or "", name)
            if base:
                found.update({alias.asname or alias.name: base for alias in node.names})
        elif not _says_only(node):
            return None
    return found


def _says_only(node: ast.stmt) -> bool:
    """A docstring, an import, ``__all__`` or ``__version__``."""
    if isinstance(node, ast.Import):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return bool(targets) and all(isinstance(t, ast.Name) and t.id.startswith("__") for t in targets)
