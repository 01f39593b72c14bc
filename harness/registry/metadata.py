"""Frozen records with which tasks, data sources and models introduce themselves (methods: ``methods.metadata``).

Each module under ``suites/tasks``, ``suites/data`` and ``suites/models`` ends with ``METADATA``, plain data only; named
data sources are declared in YAML (:func:`named_sources`). The index is read from the syntax trees of these, so that
files are validated and planned without importing torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, make_dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from harness.base.yaml_nodes import read
from harness.registry.shipped import METHOD_METADATA
from harness.trial.options import Option, OptionType, option, options_of
from harness.vocabulary import Kind

if TYPE_CHECKING:
    from methods.metadata import MethodMetadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What all of them say.

    Attributes:
        name: key in benchmark files; of a data source, by content (``cifar100-subset-100``).
        target: in the module: a class (a ``harness.trial.contracts.Task``), ``load(request: DataRequest) -> splits``,
            or ``build(request: ModelRequest) -> nn.Module``.
        summary: one line for ``harness list``.
        options: the dataclass of its recipe keys beyond those that every recipe has, or of what a benchmark may set;
            None in a metadata record that was read from the index, where ``Entry.options`` says what it declares.
    """

    name: str
    target: str
    summary: str
    options: type[Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMetadata(Metadata):
    """How a kind of benchmark trains and is scored.

    Attributes:
        slots: the slots an arm may fill here.
        metrics: final metrics it reports, each with its split, ``"test"`` unless said.
        reads: kinds of data it takes (``DataMetadata.content``).
        program: it runs a program of somebody else (``harness.trial.programs``): no loop, no length, any metric.
        elsewhere: nothing runs here: results come from elsewhere (``harness import``); any metric, any arm.
    """

    slots: tuple[str, ...]
    metrics: tuple[str, ...]
    reads: tuple[str, ...]
    program: bool = False
    elsewhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DataMetadata(Metadata):
    """A data source: content, home, licence, size, version, and where its bytes lie.

    Attributes:
        origin: ``real``, ``generated`` or ``folder`` (a user's own).
        content: what it yields (``images``, ``text``, ``boxes``, …).
        layout: the published layout that is read.
        home, licence, size: for people.
        version: changes whenever the content that is yielded may change.
        files: what it is made of: ``module:pydoc_data.topics`` (a Python module's source),
            ``package:sklearn/datasets/data/digits.csv.gz`` or ``data:cifar100/cifar100.zip`` (below HARNESS_DATA).
        sha256: checksum by entry of ``files``, where it is fixed.
        fetch: how to get it: ``shipped``, ``http:URL``, ``torchvision:NAME``, ``hub:NAME`` or ``hand:INSTRUCTIONS``.
    """

    origin: Literal["real", "generated", "folder"]
    content: str
    layout: str
    home: str
    licence: str
    version: str
    size: str = ""
    files: tuple[str, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict)
    fetch: str = "shipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata(Metadata):
    """A model family; ``source`` is the paper that defines it, ``slots`` those that reach into it (``norm``).

    ``files``: options that name a file of the user's own, absolute or below HARNESS_DATA. For each, as for ``weights``,
    there is an option ``weights_sha256``, which a plan fills in: another file is another trial.
    """

    source: str
    slots: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@cache  # read once a process: every trial asks for its source
def metadata_in(module: ModuleType) -> tuple[Any, ...]:
    """The records of an imported module (``METADATA``: one or a tuple) and the sources declared beside it."""
    own = getattr(module, "METADATA", ())
    return (
        *(own if isinstance(own, tuple) else (own,)),
        *named_sources(Path(str(module.__file__)), partial(getattr, module)),
    )


def sources_file(module: Path) -> Path:
    """The YAML file that declares the sources of a layout's module; it need not exist."""
    return module.parent / "sources" / f"{module.stem}.yaml"


def named_sources(module: Path, record: Callable[[str], Any]) -> tuple[DataMetadata, ...]:
    """The sources that are declared beside a layout's module, in YAML; none without such a file.

    ``suites/data/sources/<module>.yaml`` holds the fields of ``DataMetadata`` under ``sources``, by the name of the
    source, and those that all of them share under ``shared``. ``options`` names a record of the module; ``defaults``
    are defaults of it that differ for the source.

    Args:
        module: file of the layout.
        record: returns the class of that name in the module.
    """
    file = sources_file(module)
    if not file.is_file():
        return ()
    declared = read(file).plain()
    shared = declared.get("shared", {})
    return tuple(_source(name, {**shared, **fields}, record) for name, fields in declared["sources"].items())


def _source(name: str, declared: Mapping[str, Any], record: Callable[[str], Any]) -> DataMetadata:
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in declared.items()
    }
    options, defaults = fields.pop("options", None), fields.pop("defaults", {})
    declared_options = record(options) if options else None
    if declared_options is not None and defaults:
        hints = get_type_hints(declared_options)
        changed = [(key, hints[key], option(value)) for key, value in defaults.items()]
        bases = (declared_options,)
        declared_options = make_dataclass(options, changed, bases=bases, frozen=True, slots=True, kw_only=True)
    return DataMetadata(name=name, options=declared_options, **fields)


def method_metadata_class() -> Any:
    """The module that declares the metadata of methods: found by name, since the engine imports no method."""
    return importlib.import_module(METHOD_METADATA)


def metadata_class(kind: Kind) -> type[Any]:
    """The class of a kind's metadata."""
    classes: Mapping[Kind, type[Any]] = {"task": TaskMetadata, "data": DataMetadata, "model": ModelMetadata}
    return classes[kind] if kind in classes else method_metadata_class().MethodMetadata


def declared_by(kind: Kind, metadata: Any) -> dict[str, Option]:
    """The declared options, or a method's hyper-parameters with the types of their defaults."""
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
    if kind == "int" and isinstance(metadata.search_space.get(name), method_metadata_class().Uniform):
        kind = "float"
    if isinstance(default, tuple):
        default, kinds = list(default), sorted({_type_of(item) for item in default})
        items = kinds[0] if len(kinds) == 1 or kinds == ["float", "int"] else "any"
    return Option(kind, default, choices=tuple(allowed), optional=default is None, items=items)


def _type_of(value: Any) -> OptionType:
    types: dict[type, OptionType] = {bool: "bool", int: "int", float: "float", str: "str", tuple: "list"}
    return types.get(type(value), "any")
