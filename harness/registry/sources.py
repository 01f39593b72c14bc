"""Named data sources: what a layout's module needs to know of them is declared in YAML beside it, not in code.

``suites/data/sources/<module>.yaml`` holds the fields of ``DataCard`` by the source's name under ``sources`` and those
that all of them share under ``shared``. ``options`` names a record of the module; ``defaults`` are defaults of it that
differ for the source.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from harness.registry.cards import DataCard
from harness.trial.options import option


def named_sources(module: ModuleType) -> tuple[DataCard, ...]:
    """The sources that are declared beside a module; none where there is no such file."""
    file = Path(str(module.__file__))
    file = file.parent / "sources" / f"{file.stem}.yaml"
    if not file.is_file():
        return ()
    from ruamel.yaml import YAML

    declared = YAML(typ="safe").load(file)
    shared = declared.get("shared", {})
    return tuple(_card(module, name, {**shared, **fields}) for name, fields in declared["sources"].items())


def _card(module: ModuleType, name: str, fields: Mapping[str, Any]) -> DataCard:
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    options, defaults = given.pop("options", None), given.pop("defaults", {})
    record = getattr(module, options) if options else None
    if record is not None and defaults:
        hints = get_type_hints(record)
        changed = [(key, hints[key], option(value)) for key, value in defaults.items()]
        record = dataclasses.make_dataclass(options, changed, bases=(record,), frozen=True, slots=True, kw_only=True)
    return DataCard(name=name, options=record, **given)
