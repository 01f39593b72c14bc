"""Frozen records with which tasks, data sources and models introduce themselves (methods: ``methods.cards``).

Each module under ``suites/tasks``, ``suites/data`` and ``suites/models`` ends with ``CARD``, plain data only; named
data sources are declared in YAML (:func:`named_sources`). The static index is made of these, so that files are
validated and planned without importing torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_type_hints

from harness.trial.options import option


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What all of them say.

    Attributes:
        name: key in benchmark files; of a data source, by content (``cifar100-subset-100``).
        target: in the module: a class (a ``harness.trial.contracts.Task``), ``load(request: DataRequest) -> splits``,
            or ``build(request: ModelRequest) -> nn.Module``.
        summary: one line for ``harness list``.
        options: the dataclass of its recipe keys beyond those that every recipe has, or of what a benchmark may set;
            None in a card that was read from the index, where ``Entry.options`` says what it declares.
    """

    name: str
    target: str
    summary: str
    options: type[Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCard(Card):
    """How a kind of benchmark trains and is scored.

    Attributes:
        slots: the slots an arm may fill here.
        metrics: final metrics it reports, each with its split, ``"test"`` unless said.
        reads: kinds of data it takes (``DataCard.content``).
        program: it runs a program of somebody else (``harness.trial.programs``): no loop, no length, any metric.
        elsewhere: nothing runs here: results come from elsewhere (``harness import``); any metric, any arm.
    """

    slots: tuple[str, ...]
    metrics: tuple[str, ...]
    reads: tuple[str, ...]
    program: bool = False
    elsewhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCard(Card):
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
class ModelCard(Card):
    """A model family; ``source`` is the paper that defines it, ``slots`` those that reach into it (``norm``).

    ``files``: options that name a file of the user's own, absolute or below HARNESS_DATA. For each, as for ``weights``,
    there is an option ``weights_sha256``, which a plan fills in: another file is another trial.
    """

    source: str
    slots: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@cache  # read once a process: every trial asks for its source
def named_sources(module: ModuleType) -> tuple[DataCard, ...]:
    """The sources that are declared beside a layout's module, in YAML; none where there is no such file.

    ``suites/data/sources/<module>.yaml`` holds the fields of ``DataCard`` by the source's name under ``sources`` and
    those that all of them share under ``shared``. ``options`` names a record of the module; ``defaults`` are defaults
    of it that differ for the source.
    """
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
        record = make_dataclass(options, changed, bases=(record,), frozen=True, slots=True, kw_only=True)
    return DataCard(name=name, options=record, **given)
