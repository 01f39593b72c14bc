"""Metadata of methods, tasks, data and models, with the options they declare.

Each module under ``suites/tasks``, ``suites/data`` and ``suites/models`` ends with ``METADATA``, plain data only; named
data sources are declared in YAML (:func:`named_sources`).
"""

from collections.abc import Callable
from dataclasses import make_dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from harness.base.metadata import DataMetadata as DataMetadata
from harness.base.metadata import MethodMetadata, Uniform
from harness.base.metadata import ModelMetadata as ModelMetadata
from harness.base.metadata import TaskMetadata as TaskMetadata
from harness.base.yaml_nodes import read
from harness.trial.options import Option, OptionType, Values, option, options_of
from harness.vocabulary import Kind


@cache  # read once a process: every trial asks for its source
def metadata_in(module: ModuleType) -> tuple[Any, ...]:
    """The records of an imported module and of its named sources."""
    own = getattr(module, "METADATA", ())
    return (
        *(own if isinstance(own, tuple) else (own,)),
        *named_sources(Path(str(module.__file__)), partial(getattr, module)),
    )


def sources_file(module: Path) -> Path:
    """The YAML file of a module's named sources, which may be absent."""
    return module.parent / "sources" / f"{module.stem}.yaml"


def named_sources(module: Path, record: Callable[[str], Any]) -> tuple[DataMetadata, ...]:
    """The data sources declared in YAML beside a layout's module.

    ``suites/data/sources/<module>.yaml`` holds the fields of ``DataMetadata`` by source, and common ones under
    ``shared``. ``options`` names a record of the module (``record`` returns it), ``defaults`` its defaults for the
    source.
    """
    file = sources_file(module)
    if not file.is_file():
        return ()
    declared = read(file).plain()
    shared = declared.get("shared", {})
    return tuple(_source(name, Values({**shared, **fields}), record) for name, fields in declared["sources"].items())


def _source(name: str, declared: Values, record: Callable[[str], Any]) -> DataMetadata:
    fields = Values({key: tuple(value) if isinstance(value, list) else value for key, value in declared.items()})
    options, defaults = fields.pop("options", None), fields.pop("defaults", {})
    declared_options = record(options) if options else None
    if declared_options is not None and defaults:
        hints = get_type_hints(declared_options)
        changed = [(key, hints[key], option(value)) for key, value in defaults.items()]
        bases = (declared_options,)
        declared_options = make_dataclass(options, changed, bases=bases, frozen=True, slots=True, kw_only=True)
    return DataMetadata(name=name, options=declared_options, **fields)


def metadata_class(kind: Kind) -> type[Any]:
    """The class of a kind's metadata."""
    return {"method": MethodMetadata, "task": TaskMetadata, "data": DataMetadata, "model": ModelMetadata}[kind]


def declared_by(kind: Kind, metadata: Any) -> dict[str, Option]:
    """The declared options, or a method's hyper-parameters with default types."""
    if kind == "method":
        return {name: _hyper_parameter(name, metadata) for name in (*metadata.required, *metadata.defaults)}
    return options_of(metadata.options) if metadata.options is not None else {}


def _hyper_parameter(name: str, metadata: MethodMetadata) -> Option:
    if name in metadata.required:
        return Option("float", required=True)
    default: Any = metadata.defaults[name]
    allowed: Any = metadata.options.get(name, ())
    kind = _type_of(default)
    items: OptionType = "any"
    if kind == "int" and isinstance(metadata.search_space.get(name), Uniform):
        kind = "float"
    if isinstance(default, tuple):
        default, kinds = list(default), sorted({_type_of(item) for item in default})
        items = kinds[0] if len(kinds) == 1 or kinds == ["float", "int"] else "any"
    return Option(kind, default, choices=tuple(allowed), optional=default is None, items=items)


def _type_of(value: Any) -> OptionType:
    types: dict[type, OptionType] = {bool: "bool", int: "int", float: "float", str: "str", tuple: "list"}
    return types.get(type(value), "any")
