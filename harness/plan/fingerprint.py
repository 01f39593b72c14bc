"""The fingerprint of the code that a trial's numbers depend on.

It hashes the canonical sources (``harness.plan.canonical_source``) of the modules reached by import from a trial's
roots: its methods, task, data source, model and the training loop. Of the harness only ``harness.trial`` and the
modules of ``harness.base`` that are reached count. Modules count by content, not by name or place; re-export-only
``__init__`` files are looked through, so that editing SGDP re-runs no trial of AdamP.
"""

import ast
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from harness import registry
from harness.data.cache import DiskCache
from harness.data.locate import source_file
from harness.plan.canonical_source import RULES, CanonicalSource, Import, normal_form
from harness.registry.shipped import COMPUTING, DESCRIBING
from harness.trial.spec import TrialSpec

CORE = "harness.trial"
COUNTED = (CORE, "harness.base")
"""Packages of the harness whose modules count where they are reached; the others decide no number."""
LOOP = f"{CORE}.loop"


@dataclass(frozen=True, slots=True)
class Module:
    """A module's digest; modules and names (empty: the module itself) that it imports, in order."""

    digest: str
    targets: tuple[tuple[str, str], ...]


def roots_of(spec: TrialSpec) -> Iterator[str]:
    """Yield the modules, each with its target, that a trial runs."""
    starts = [start for start in (spec.reference, *spec.prerequisites.values()) if start is not None]
    yield registry.entry("task", spec.task).root
    yield registry.entry("data", spec.data.name).root
    for model in (spec.model, *(start.model for start in starts)):
        if model is not None:  # published weights may be read by name: no model is built for them
            yield registry.entry("model", model.name).root
    for slots in (spec.slots, *(start.slots for start in starts)):
        yield from (registry.entry("method", method.name).root for method in slots)


def fingerprint(roots: Iterable[str]) -> str:
    """Digest (sha256) of the code reached from roots: dotted names or ``.py`` files, or these with ``:TARGET``."""
    return _fingerprint(tuple(sorted({*roots, LOOP})))


@cache
def _fingerprint(roots: tuple[str, ...]) -> str:
    named = [root.partition(":")[::2] for root in roots]
    code = sorted({digest_of(name) for name in reached(tuple(sorted({name for name, _ in named})))})
    starts = sorted({f"{digest_of(name)} {target}" for name, target in named})
    _KNOWN.save()
    return hashlib.sha256("\n".join([*code, "", *starts]).encode()).hexdigest()


@cache
def reached(roots: tuple[str, ...]) -> tuple[str, ...]:
    """Return every module that counts and is reached from the roots, sorted."""
    names: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            waiting.extend(module for module, _ in _module(name).targets)
    return tuple(sorted(names))


@cache
def digest_of(name: str) -> str:
    """Digest of a module with those of its imports, in their order."""
    module = _module(name)
    own = [module.digest, *(f"{_module(target).digest} {taken}" for target, taken in module.targets)]
    return hashlib.sha256("\n".join(own).encode()).hexdigest()


def forget() -> None:
    """Clear the caches of sources (for tests that edit files in one process)."""
    for cached in (_fingerprint, reached, digest_of, _module, _file, _re_exports):
        cached.cache_clear()


_KNOWN = DiskCache("modules", f"{RULES}/{sys.version_info[0]}.{sys.version_info[1]}")


@cache
def _module(name: str) -> Module:
    path = Path(name) if name.endswith(".py") else _file(name)
    if path is None:
        return Module("missing", ())
    form = _read(path, name.partition(".")[0])
    digest = form.digest
    native = path.with_suffix(".c")  # what a module compiles lies beside it under its own name
    if native.exists():
        digest = hashlib.sha256(digest.encode() + _without_comments(content(native))).hexdigest()
    package = "" if name.endswith(".py") else name if path.name == "__init__.py" else name.rpartition(".")[0]
    targets = [target for each in form.imports for target in _targets(each, package)]
    if name.endswith(".py"):  # a user's file may import its neighbours
        targets += [(file, "") for file in _neighbours(path)]
    return Module(digest, tuple(targets))


def content(path: Path) -> bytes:
    """Return the content of a source file."""
    return path.read_bytes()


def _without_comments(source: bytes) -> bytes:
    return re.sub(rb"//[^\n]*|/\*.*?\*/|\s+", b" ", source, flags=re.DOTALL)


def _read(path: Path, top: str) -> CanonicalSource:
    """Return a source file's canonical source, cached by content."""
    source = content(path)
    key = _KNOWN.key(top.encode() + b"\0" + source)
    stored = _KNOWN.get(key)
    if stored is None:
        form = normal_form(source, partial(_ours, top=top))
        stored = [form.digest, [[each.level, each.base, each.name] for each in form.imports]]
        _KNOWN.put(key, stored)
    imports = tuple(Import(int(level), str(base), str(name)) for level, base, name in stored[1])
    return CanonicalSource(str(stored[0]), imports)


def _ours(imported: Import, top: str) -> bool | None:
    """True for an import that counts; None for metadata and the rest of the harness."""
    name = f"{imported.base}.{imported.name}"
    if imported.base in DESCRIBING or name in DESCRIBING:
        return None
    if imported.level or any(f"{name}.".startswith(f"{package}.") for package in COUNTED):
        return True
    if imported.base.partition(".")[0] == CORE.partition(".")[0]:
        return None
    return imported.base.partition(".")[0] in {*COMPUTING, top}


def _targets(imported: Import, package: str) -> Iterator[tuple[str, str]]:
    base = _absolute(imported.level, imported.base, package)
    if base and imported.name:
        yield from _reached_from(base, imported.name)
    elif base:
        yield from ((module, "") for module in _reached_by_name(base))


def _neighbours(path: Path) -> list[str]:
    """Python files beside a user's file that it imports by name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(content(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    files = [path.parent / f"{name}.py" for name in sorted(names)]
    return [str(file) for file in files if file.is_file()]


_file = cache(source_file)


def _absolute(level: int, base: str, package: str) -> str | None:
    if not level:
        return base
    if not package:
        return None
    parts = package.split(".")
    parts = parts[: len(parts) - (level - 1)]
    return ".".join([*parts, base] if base else parts)


def _reached_by_name(name: str) -> Iterator[str]:
    """Resolve ``import a.b.c``: c, or a package whose ``__init__`` does more than re-export."""
    if _re_exports(name) is None and _file(name) is not None:
        yield name


def _reached_from(base: str, name: str) -> Iterator[tuple[str, str]]:
    """Resolve ``from base import name``: a submodule, or the defining module and the name there."""
    if _file(f"{base}.{name}") is not None:
        yield from ((module, "") for module in _reached_by_name(f"{base}.{name}"))
        return
    exports = _re_exports(base)
    if exports is None:
        if _file(base) is not None:
            yield base, name
    elif exports.get(name, (base, name)) != (base, name):
        yield from _reached_from(*exports[name])


@cache
def _re_exports(name: str) -> dict[str, tuple[str, str]] | None:
    """Origin and original name of each name of a re-exporting ``__init__``; None for another module."""
    path = _file(name)
    if path is None or path.name != "__init__.py":
        return None
    exports: dict[str, tuple[str, str]] = {}
    for node in ast.parse(content(path)).body:
        if isinstance(node, ast.ImportFrom):
            base = _absolute(node.level, node.module or "", name)
            if base:
                exports.update({alias.asname or alias.name: (base, alias.name) for alias in node.names})
        elif not _says_only(node):
            return None
    return exports


def _says_only(node: ast.stmt) -> bool:
    """True for a docstring, an import, ``__all__`` or ``__version__``."""
    if isinstance(node, ast.Import):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return bool(targets) and all(isinstance(t, ast.Name) and t.id.startswith("__") for t in targets)
