"""Registered methods, tasks, data sources and models by name, none imported.

Built-in entries are read from the syntax trees of the packages (``harness.registry.built_in``). Entries of other
packages come from entry points (``harness.methods``, ``harness.tasks``, ``harness.data``, ``harness.models``:
``NAME = "package.module:METADATA"``): they are listed by name and imported on request. A user's file comes from ``--arm
NAME=./file.py:Class``.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from harness.base import metadata as records
from harness.base.metadata import DataMetadata, MethodMetadata, ModelMetadata, TaskMetadata
from harness.errors import HarnessError, choices
from harness.registry.built_in import PACKAGES, Row, read
from harness.registry.metadata import declared_by, metadata_class, metadata_in
from harness.trial.options import Option
from harness.vocabulary import Kind

if TYPE_CHECKING:
    from harness.trial.runtime import Component

MetadataT = TypeVar("MetadataT")
KINDS: tuple[Kind, ...] = ("method", "task", "data", "model")
GROUPS: Mapping[Kind, str] = {kind: f"harness.{kind}s" if kind != "data" else "harness.data" for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Entry(Generic[MetadataT]):
    """One registered thing with its module, metadata and options (a method's hyper-parameters)."""

    kind: Kind
    name: str
    module: str
    metadata: MetadataT
    options: Mapping[str, Option]

    @property
    def root(self) -> str:
        """The module and target of its code (``module:target``), for the fingerprint."""
        return f"{self.module}:{self.metadata.target}"  # type: ignore[attr-defined]

    def load(self) -> Component:
        """Import the class or function, and the record of its options."""
        from harness.trial.runtime import Component

        target = str(self.metadata.target)  # type: ignore[attr-defined]
        if self.module.endswith(".py"):
            own = getattr(self.metadata, "options", None) if self.kind != "method" else None
            part = getattr(load_file(Path(self.module)), target)
            return Component(part, own) if own is not None else Component(part)
        try:
            module = importlib.import_module(self.module)
            part = getattr(module, target)
        except (ImportError, AttributeError) as error:
            where = f"{self.module}:{target}"
            raise HarnessError(f"{self.kind} '{self.name}': cannot load {where}: {error}") from error
        declared = [metadata.options for metadata in metadata_in(module) if metadata.name == self.metadata.name]  # type: ignore[attr-defined]
        return Component(part, declared[0]) if self.kind != "method" and declared[0] else Component(part)


def load_file(path: Path) -> ModuleType:
    """Run a file as a module, once per process; its folder is importable meanwhile.

    Raises:
        HarnessError: not a Python file, or running it fails.
    """
    name = f"own_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise HarnessError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise HarnessError(f"{path} does not run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


class Entries(dict[str, Entry[MetadataT]]):
    """Entries of a kind by name. Only a look-up of a plug-in imports it."""

    def __init__(self, kind: Kind, existing: Mapping[str, Entry[MetadataT]]) -> None:
        super().__init__(existing)
        self.kind = kind

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in plug_ins(self.kind)

    def __missing__(self, name: str) -> Entry[MetadataT]:
        if name not in plug_ins(self.kind):
            raise KeyError(name)
        self[name] = _plug_in(self.kind, name)
        return self[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The entry of a name, imported where it is a plug-in's; else ``default``."""
        try:
            return self[name]
        except KeyError:
            return default


@overload
def entries(kind: Literal["method"]) -> Entries[MethodMetadata]: ...
@overload
def entries(kind: Literal["task"]) -> Entries[TaskMetadata]: ...
@overload
def entries(kind: Literal["data"]) -> Entries[DataMetadata]: ...
@overload
def entries(kind: Literal["model"]) -> Entries[ModelMetadata]: ...
@overload
def entries(kind: Kind) -> Entries[Any]: ...
def entries(kind: Kind) -> Entries[Any]:
    """Entries of a kind by name: built-in, imported plug-ins, added files."""
    return Entries(kind, {**_built_in()[kind], **_IMPORTED[kind], **_ADDED[kind]})


@overload
def entry(kind: Literal["method"], name: str) -> Entry[MethodMetadata]: ...
@overload
def entry(kind: Literal["task"], name: str) -> Entry[TaskMetadata]: ...
@overload
def entry(kind: Literal["data"], name: str) -> Entry[DataMetadata]: ...
@overload
def entry(kind: Literal["model"], name: str) -> Entry[ModelMetadata]: ...
@overload
def entry(kind: Kind, name: str) -> Entry[Any]: ...
def entry(kind: Kind, name: str) -> Entry[Any]:
    """Return one entry.

    Raises:
        HarnessError: unknown name; the message lists the valid ones.
    """
    existing = entries(kind)
    if name not in existing:
        raise HarnessError(unknown(kind, name))
    return existing[name]


def load(kind: Kind, name: str) -> Component:
    """Return an entry's class or function and the record of its options."""
    return entry(kind, name).load()


def unknown(kind: Kind, name: str, what: str | None = None, valid: list[str] | None = None) -> str:
    """The message for an unknown name: valid ones, and the place for a new one.

    ``what`` is a narrower kind for the message (``optimizer``), ``valid`` the names that fit there (default: all).
    """
    names = [*entries(kind), *plug_ins(kind)] if valid is None else valid
    new = "" if get_close_matches(name, names, cutoff=0.5) else f" (a new {kind} is a file of {_folders(kind)})"
    return f"unknown {what or kind} '{name}'; {choices(names, name)}{new}"


def _folders(kind: Kind) -> str:
    return " or ".join(f"{package.replace('.', '/')}/" for package in PACKAGES[kind])


_ADDED: dict[Kind, dict[str, Entry[Any]]] = {kind: {} for kind in KINDS}
_IMPORTED: dict[Kind, dict[str, Entry[Any]]] = {kind: {} for kind in KINDS}


def add(new: Entry[Any]) -> None:
    """Register an entry for this process (a user's own file)."""
    _ADDED[new.kind][new.name] = new


@cache
def plug_ins(kind: Kind) -> Mapping[str, EntryPoint]:
    """Entry points of installed packages by name, not imported."""
    return {point.name: point for point in entry_points(group=GROUPS[kind])}


@cache
def import_plug_ins(kind: Kind) -> None:
    """Import every plug-in of a kind; a broken one is named in a warning."""
    for name in plug_ins(kind):
        try:
            _plug_in(kind, name)
        except HarnessError as error:
            logging.getLogger("harness").warning("%s; it is set aside", error)


def _plug_in(kind: Kind, name: str) -> Entry[Any]:
    if name in _IMPORTED[kind]:
        return _IMPORTED[kind][name]
    point = plug_ins(kind)[name]
    where = f"{point.value} of the package {point.dist.name}" if point.dist is not None else point.value
    try:
        metadata = point.load()
    except Exception as error:
        text = f"the {kind} '{name}' ({where}) cannot be imported: {type(error).__name__}: {error}"
        raise HarnessError(text) from error
    if not isinstance(metadata, metadata_class(kind)):
        raise HarnessError(
            f"the {kind} '{name}': {where} is {type(metadata).__name__}, not {metadata_class(kind).__name__}"
        )
    _IMPORTED[kind][name] = Entry(kind, name, point.module, metadata, declared_by(kind, metadata))
    return _IMPORTED[kind][name]


@cache
def _built_in() -> dict[Kind, dict[str, Entry[Any]]]:
    return {kind: {name: _restored(kind, name, row) for name, row in rows.items()} for kind, rows in read().items()}


def _restored(kind: Kind, name: str, row: Row) -> Entry[Any]:
    metadata = metadata_class(kind)(**{key: _thawed(value) for key, value in row["metadata"].items()})
    if kind == "method":
        return Entry(kind, name, row["module"], metadata, declared_by(kind, metadata))
    options = {key: {**value, "choices": tuple(value.get("choices", ()))} for key, value in row["options"].items()}
    return Entry(kind, name, row["module"], metadata, {key: Option(**value) for key, value in options.items()})


def _thawed(value: Any) -> Any:
    """Plain data as a metadata record holds it: lists as tuples, ranges as their records."""
    if isinstance(value, list):
        return tuple(_thawed(item) for item in value)
    if not isinstance(value, dict):
        return value
    thawed = {key: _thawed(item) for key, item in value.items()}
    if "kind" in thawed:
        return getattr(records, str(thawed.pop("kind")).capitalize())(**thawed)
    return thawed
