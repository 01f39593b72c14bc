"""Frozen records with which tasks, data sources and models introduce themselves (methods: ``methods.cards``).

Each module under ``suites/tasks``, ``suites/data`` and ``suites/models`` ends with ``CARD``, plain data only; named
data sources are declared in YAML (``harness.registry.sources``). The static index is made of these, so that files are
validated and planned without importing torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCard:
    """How a kind of benchmark trains and is scored.

    Attributes:
        name: key in benchmark files.
        target: class in the module, a ``harness.trial.contracts.Task``.
        summary: one line for ``harness list tasks``.
        slots: the slots an arm may fill here.
        metrics: final metrics it reports, each with its split, ``"test"`` unless said.
        reads: kinds of data it takes (``DataCard.content``).
        options: the dataclass of its recipe keys beyond those that every recipe has; None in a card that was read from
            the index, where ``Entry.options`` says what it declares.
    """

    name: str
    target: str
    summary: str
    slots: tuple[str, ...]
    metrics: tuple[str, ...]
    reads: tuple[str, ...]
    options: type[Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCard:
    """A data source: content, home, licence, size, version, and where its bytes lie.

    Attributes:
        name: key in benchmark files, named by content (``cifar100-subset-100``).
        target: function ``load(request: DataRequest) -> splits`` in the module.
        summary: one line for ``harness list data``.
        origin: ``real``, ``generated`` or ``folder`` (a user's own).
        content: what it yields (``images``, ``text``, ``boxes``, …).
        layout: the published layout that is read.
        home, licence, size: for people.
        version: changes whenever the content that is yielded may change.
        files: what it is made of: ``module:pydoc_data.topics`` (a Python module's source),
            ``package:sklearn/datasets/data/digits.csv.gz`` or ``data:cifar100/cifar100.zip`` (below HARNESS_DATA).
        sha256: checksum by entry of ``files``, where it is fixed.
        fetch: how to get it: ``shipped``, ``http:URL``, ``torchvision:NAME``, ``hub:NAME`` or ``hand:INSTRUCTIONS``.
        options: the dataclass of what a benchmark may set, as of ``TaskCard``.
    """

    name: str
    target: str
    summary: str
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
    options: type[Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """A model family: ``build(request: ModelRequest) -> nn.Module`` in its module.

    Attributes:
        name: key in benchmark files.
        target: the building function.
        summary: one line for ``harness list models``.
        source: the paper that defines it.
        options: the dataclass of what a benchmark may set, as of ``TaskCard``.
        slots: method slots that reach into the model (``norm``).
    """

    name: str
    target: str
    summary: str
    source: str
    options: type[Any] | None = None
    slots: tuple[str, ...] = ()
