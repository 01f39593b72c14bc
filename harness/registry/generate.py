"""Writes the static index from the cards: imports every module of the packages that have them."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.registry.index import PACKAGES, cards_in, declared_by
from harness.trial.options import Option
from harness.vocabulary import Kind


def collect() -> dict[Kind, dict[str, dict[str, Any]]]:
    """The rows of the index by kind and name, sorted: module, card and declared options as plain data."""
    found: dict[Kind, dict[str, dict[str, Any]]] = {}
    for kind, packages in PACKAGES.items():
        rows: dict[str, dict[str, Any]] = {}
        for module_name in _modules(packages):
            for card in cards_in(importlib.import_module(module_name)):
                if card.name in rows:
                    raise ValueError(f"two {kind}s named '{card.name}': {rows[card.name]['module']} and {module_name}")
                rows[card.name] = {"module": module_name, "card": _plain(card)}
                if kind != "method":  # a method's follow from its card
                    del rows[card.name]["card"]["options"]
                    declared = declared_by(kind, card).items()
                    rows[card.name]["options"] = {name: _shortened(option) for name, option in declared}
        found[kind] = dict(sorted(rows.items()))
    return found


def _modules(packages: tuple[str, ...]) -> Iterator[str]:
    for package_name in packages:
        package = importlib.import_module(package_name)
        for module in pkgutil.walk_packages(package.__path__, package_name + "."):
            if not module.ispkg:
                yield module.name


def _plain(value: Any) -> Any:
    """Frozen records as plain data; ranges of hyper-parameters say their kind."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        is_range = type(value).__name__ in ("Uniform", "Integer", "Choice")
        return {"kind": type(value).__name__.lower(), **fields} if is_range else fields
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _shortened(option: Option) -> dict[str, Any]:
    """An option as plain data, without what is as in every option unless said otherwise."""
    usual = _plain(Option("any"))
    return {key: value for key, value in _plain(option).items() if key == "type" or value != usual[key]}


def render(index: Mapping[Kind, Mapping[str, Any]]) -> str:
    """The text of ``index.json``."""
    return json.dumps(index, indent=1, ensure_ascii=False) + "\n"


def write_or_check(path: Path, text: str, command: str, arguments: Sequence[str]) -> int:
    """Write a generated file, or with ``--check`` say whether the committed one has this text; returns an exit code."""
    if "--check" not in arguments:
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {path.name}\n")
        return 0
    same = path.is_file() and path.read_text(encoding="utf-8") == text
    sys.stdout.write(f"{path.name} is up to date\n" if same else f"{path.name} is stale: {command}\n")
    return 0 if same else 1
