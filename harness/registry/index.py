"""What exists, by name: methods, tasks, data sources and models, without importing any of them.

Built-in entries come from a static index (``index.json``), generated from the ``CARD`` records by
``python -m harness.registry`` and compared with them by a test. Entries of other packages come from entry points
(``harness.methods``, ``harness.tasks``, ``harness.data``, ``harness.models``: ``NAME = "package.module:CARD"``) and
a user's own file from ``--arm NAME=./file.py:Class``.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, choices
from harness.registry.files import load_file
from harness.trial.options import Key
from harness.vocabulary import Kind

KINDS: tuple[Kind, ...] = ("method", "task", "data", "model")
PACKAGES: Mapping[Kind, tuple[str, ...]] = {
    "method": ("methods.optimizers", "methods.norms", "methods.distillation", "methods.alignment"),
    "task": ("suites.tasks",),
    "data": ("suites.data",),
    "model": ("suites.models",),
}
GROUPS: Mapping[Kind, str] = {kind: f"harness.{kind}s" if kind != "data" else "harness.data" for kind in KINDS}
INDEX = Path(__file__).with_name("index.json")


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered thing: where it is and what its record says (plain data)."""

    kind: Kind
    name: str
    module: str
    target: str
    card: Mapping[str, Any]

    @property
    def keys(self) -> dict[str, Key]:
        """Its parameters: declared keys, or a method's hyper-parameters with the types of their defaults."""
        if self.kind != "method":
            return {name: Key(**_tuples(values)) for name, values in self.card["keys"].items()}
        return {name: _hyper_parameter(name, self.card) for name in (*self.card["required"], *self.card["defaults"])}

    @property
    def root(self) -> str:
        """Where its code begins, for the fingerprint: ``module:target``."""
        return f"{self.module}:{self.target}"

    def load(self) -> Any:
        """Import the module and return the class or function.

        Raises:
            HarnessError: the module cannot be imported or lacks the target.
        """
        if self.module.endswith(".py"):
            return getattr(load_file(Path(self.module)), self.target)
        try:
            return getattr(importlib.import_module(self.module), self.target)
        except (ImportError, AttributeError) as error:
            where = f"{self.module}:{self.target}"
            raise HarnessError(f"{self.kind} '{self.name}': cannot load {where}: {error}") from error


def entries(kind: Kind) -> dict[str, Entry]:
    """Every entry of a kind by name: built-in ones first, then those of installed packages and added files."""
    return {**_built_in()[kind], **_entry_points(kind), **_ADDED[kind]}


def entry(kind: Kind, name: str) -> Entry:
    """One entry.

    Raises:
        HarnessError: there is none of that name; the message lists the valid ones.
    """
    found = entries(kind)
    if name not in found:
        raise HarnessError(f"no {kind} '{name}'; {choices(found, name)}")
    return found[name]


def load(kind: Kind, name: str) -> Any:
    """The class or function of an entry: how a trial finds its parts."""
    return entry(kind, name).load()


_ADDED: dict[Kind, dict[str, Entry]] = {kind: {} for kind in KINDS}


def add(new: Entry) -> None:
    """Register an entry for this process (a user's own file)."""
    _ADDED[new.kind][new.name] = new


@cache
def _built_in() -> dict[Kind, dict[str, Entry]]:
    listed = json.loads(INDEX.read_text(encoding="utf-8"))
    return {
        kind: {name: Entry(kind, name, row["module"], row["card"]["target"], row["card"]) for name, row in rows.items()}
        for kind, rows in listed.items()
    }


@cache
def _entry_points(kind: Kind) -> dict[str, Entry]:
    from importlib.metadata import entry_points

    found = {}
    for point in entry_points(group=GROUPS[kind]):
        info = point.load()
        found[point.name] = Entry(kind, point.name, point.module, info.target, plain(info))
    return found


def plain(info: Any) -> dict[str, Any]:
    """A frozen record as plain JSON data."""
    return json.loads(json.dumps(_plain(info), allow_nan=True))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        is_range = type(value).__name__ in ("Uniform", "Integer", "Choice")
        return {"kind": type(value).__name__.lower(), **fields} if is_range else fields
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if name == "choices" else v for name, v in values.items()}


def _hyper_parameter(name: str, card: Mapping[str, Any]) -> Key:
    if name in card["required"]:
        return Key("float", required=True)
    default = card["defaults"][name]
    options = tuple(card["options"].get(name, ()))
    kinds: dict[type, Any] = {bool: "bool", int: "int", float: "float", str: "str", list: "list"}
    kind = kinds.get(type(default), "any")
    if kind == "int" and card["search_space"].get(name, {}).get("kind") == "uniform":
        kind = "float"
    return Key(kind, default, choices=options, optional=default is None)


def collect() -> dict[Kind, dict[str, dict[str, Any]]]:
    """Import every module of the four packages and gather their records, sorted by name."""
    found: dict[Kind, dict[str, dict[str, Any]]] = {}
    for kind, packages in PACKAGES.items():
        rows: dict[str, dict[str, Any]] = {}
        for module_name in _modules(packages):
            module = importlib.import_module(module_name)
            infos = getattr(module, "CARDS", None) or ([module.CARD] if hasattr(module, "CARD") else [])
            for info in infos:
                if info.name in rows:
                    raise ValueError(f"two {kind}s named '{info.name}': {rows[info.name]['module']} and {module_name}")
                rows[info.name] = {"module": module_name, "card": plain(info)}
        found[kind] = dict(sorted(rows.items()))
    return found


def _modules(packages: tuple[str, ...]) -> Iterator[str]:
    for package_name in packages:
        package = importlib.import_module(package_name)
        for module in pkgutil.walk_packages(package.__path__, package_name + "."):
            if not module.ispkg:
                yield module.name


def render(index: Mapping[Kind, Mapping[str, Any]]) -> str:
    """The text of ``index.json``."""
    return json.dumps(index, indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the index, or with ``--check`` say whether the committed one is what the records give."""
    text = render(collect())
    if "--check" in arguments:
        same = INDEX.read_text(encoding="utf-8") == text
        sys.stdout.write("index.json is up to date\n" if same else "index.json is stale: python -m harness.registry\n")
        return 0 if same else 1
    INDEX.write_text(text, encoding="utf-8")
    sys.stdout.write(f"wrote {INDEX.name}\n")
    return 0
