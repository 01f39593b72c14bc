"""User texts with a class each: a table with a text column, or ``.txt`` files by class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from harness.trial.options import REQUIRED, option
from suites.data.archive import open_tree, place_of, text_in
from suites.data.imagefolder import CLASS_FROM, list_images, own_splits
from suites.data.table_files import as_numbers, distinct
from suites.data.tables import RowOptions, places_of, rows_for, strata_of, target_of
from suites.data.types import Labels

SUFFIXES = (".txt",)


@dataclass(frozen=True, slots=True)
class DocumentSplit:
    """Texts of one split.

    Attributes:
        texts: N texts, unchanged.
        labels: (N,) class numbers.
        items: (N,) number of each text in the whole source.
    """

    texts: tuple[str, ...]
    labels: Labels
    items: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Documents:
    """Texts with a class each, by split.

    Attributes:
        splits: ``train``, ``test`` and perhaps ``validation``.
        classes: names; labels count from 0 in this order.
        path: the file or folder, for messages.
    """

    splits: Mapping[str, DocumentSplit]
    classes: tuple[str, ...]
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTableOptions(RowOptions):
    """Options of the layout ``texttable``."""

    target: str = option("label", "column of the classes")
    text: str = option("text", "column of the texts")
    missing: tuple[str, ...] = option(("",))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFolderOptions:
    """Options of the layout ``textfolder``."""

    path: str = option(REQUIRED, "folder or archive, absolute or below HARNESS_DATA")
    split: Mapping[str, Any] = option({}, "{validation: 0.1, test: 0.2}: shares or counts of random splits")
    class_from: str = option(
        "path", "nested folders that name the class: all, the first or the last", choices=CLASS_FROM
    )


def load_text_table(request: DataRequest[TextTableOptions]) -> Documents:
    """Read two columns of a user's table at ``path``."""
    options, source = request.options, request.name
    rows = rows_for(request)
    cells = rows.column(options.text, "text")
    if as_numbers(cells) is not None:
        raise HarnessError(f"{source}: {rows.where(0)}: '{options.text}' contains numbers; set text: NAME")
    empty = next((row for row, cell in enumerate(cells) if cell is None), None)
    if empty is not None:
        raise HarnessError(f"{source}: {rows.where(empty)}: '{options.text}' is empty")
    target = target_of(rows, options.target)
    classes = tuple(distinct(target if target.dtype.kind == "f" else target.astype(object)))
    number = {name: place for place, name in enumerate(classes)}
    names = [f"{value:.15g}" if target.dtype.kind == "f" else str(value) for value in target]
    labels = np.array([number[name] for name in names], dtype=np.int64)
    places = places_of(rows, strata_of(target), request)
    return _documents(tuple(map(str, cells)), labels, classes, places, options.path, source)


def load_text_folder(request: DataRequest[TextFolderOptions]) -> Documents:
    """Read a user's folder or archive: ``[<split>/]<class>/<name>.txt``."""
    options, source = request.options, request.name
    with open_tree(place_of(request).path, source) as tree:
        listing = list_images(tree.names(), source, options.class_from, SUFFIXES, "texts")
        texts = tuple(text_in(tree.read(name), f"{source}: {name}") for name in listing.files)
    places = own_splits(listing, options.split, request, "texts")
    return _documents(texts, listing.labels, listing.classes, places, options.path, source)


def _documents(
    texts: tuple[str, ...],
    labels: Labels,
    classes: tuple[str, ...],
    places: Mapping[str, Labels],
    path: str,
    source: str,
) -> Documents:
    if len(np.unique(labels[places["train"]])) < 2:
        raise HarnessError(f"{source}: {path}: the training texts have a single class; at least two are needed")
    splits = {
        name: DocumentSplit(tuple(texts[place] for place in chosen), labels[chosen], chosen)
        for name, chosen in places.items()
        if len(chosen)
    }
    return Documents(splits, classes, path)
