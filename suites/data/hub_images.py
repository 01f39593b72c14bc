"""Images in Hugging Face's layouts: Parquet files, or a folder with metadata.

``data/train-00000-of-00001.parquet`` has a column of images (``bytes`` and ``path``) and one of labels, whose names
are in the file's schema; ``metadata.csv`` or ``metadata.jsonl`` lists files (``file_name``) and labels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.base.tables import read_parquet
from harness.errors import HarnessError, choices
from harness.trial.contracts import DataRequest
from harness.trial.options import REQUIRED, option
from suites.data.archive import SourcePath, place_of
from suites.data.cache import cached
from suites.data.imagefolder import ARRAYS, PARTS, Listing, as_arrays, decode, from_arrays, of_places
from suites.data.own_images import UNSPLIT, own_splits
from suites.data.table_files import Rows, distinct, read_rows, split_of
from suites.data.types import Array, Images

READER = "hub-images/1"
TABLES = ("metadata.csv", "metadata.jsonl")
FILE_NAME = "file_name"
LABELS = ("label", "labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubImageOptions:
    """Options of the layout ``huggingface``."""

    path: str = option(REQUIRED, "folder or Parquet file, absolute or below HARNESS_DATA")
    image: str = option("", "column of the images in Parquet; empty: the only one")
    label: str = option("", "column of the labels; empty: label, labels, or the only other one")
    size: int = option(0, "side in pixels after resizing and a centre crop; 0: as stored", low=0, high=1024)
    split: Mapping[str, Any] = option({}, "{validation: 0.1, test: 0.2}: shares or counts of random splits")


@dataclass(frozen=True, slots=True)
class _Found:
    """Images not yet decoded: places (for messages), contents, splits and labels."""

    where: list[str]
    contents: dict[str, bytes | Path]
    splits: list[int]
    labels: list[str]
    classes: tuple[str, ...]

    def names(self) -> list[str]:
        """Names of the images for messages."""
        return self.where

    def read(self, name: str) -> bytes:
        """Return the bytes of an image."""
        content = self.contents[name]
        return content if isinstance(content, bytes) else content.read_bytes()


def load_hub(request: DataRequest[HubImageOptions]) -> Images:
    """Read a user's folder or Parquet file at ``path``.

    Raises:
        MissingDataError: it does not exist.
        HarnessError: a damaged file, no column of images or labels, a missing image.
    """
    options = request.options
    images, listing = _read(place_of(request), options)
    return of_places(images, listing, own_splits(listing, options.split, request))


def _read(place: SourcePath, options: HubImageOptions) -> tuple[Array, Listing]:
    def make() -> dict[str, Array]:
        images = _find(place, options)
        number = {name: at for at, name in enumerate(images.classes)}
        labels = np.array([number[label] for label in images.labels], dtype=np.int64)
        listing = Listing((), np.array(images.splits, dtype=np.int64), labels, images.classes)
        return as_arrays(decode(images, images.where, options.size, place.source), listing)

    parameters = f"image {options.image} label {options.label} size {options.size}"
    images, listing = from_arrays(cached((READER, place.checksum, parameters), ARRAYS, make))
    if not ((listing.parts == 0).any() or (listing.parts == UNSPLIT).all()):
        raise HarnessError(f"{place.source}: {place.path} has no training images: no file or folder 'train'")
    return images, listing


def _find(place: SourcePath, options: HubImageOptions) -> _Found:
    path = place.path
    parquet = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    metadata = [] if path.is_file() else sorted(file for name in TABLES for file in path.rglob(name))
    if parquet:
        return _in_parquet(path, parquet, place.source, options)
    if metadata:
        return _in_metadata(path, metadata, place.source, options)
    raise HarnessError(
        f"{place.source}: {path} has neither Parquet files (data/train-00000-of-00001.parquet) nor a metadata.csv or "
        f"metadata.jsonl; for folders by class use the layout imagefolder"
    )


def _in_parquet(root: Path, files: Sequence[Path], source: str, options: HubImageOptions) -> _Found:
    images = _Found([], {}, [], [], ())
    names: tuple[str, ...] | None = None
    for file in files:
        table = read_parquet(file)
        column = options.image or _image_column(table, f"{source}: {file}")
        label = _label_column(
            options.label, [name for name in table.column_names if name != column], f"{source}: {file}"
        )
        for name in (column, label):
            if name not in table.column_names:
                raise HarnessError(f"{source}: {file} lacks the column '{name}'; {choices(table.column_names, name)}")
        own = _class_names(table, label)
        names = names or own
        inside = file.name if file == root else file.relative_to(root).as_posix()
        split = _part(split_of(inside))
        pairs = zip(table.column(column).to_pylist(), table.column(label).to_pylist(), strict=True)
        for row, (image, value) in enumerate(pairs, start=1):
            where = f"{inside}, row {row}"
            if value is None:
                raise HarnessError(f"{source}: {file}, row {row} lacks '{label}'")
            images.where.append(where)
            images.contents[where] = _bytes(image, file, f"{source}: {file}, row {row}")
            images.splits.append(split)
            images.labels.append(_label(value, own, f"{source}: {file}, row {row}"))
    classes = names or tuple(
        sorted(set(images.labels), key=lambda text: (len(text), text) if text.isdigit() else (0, text))
    )
    return _Found(images.where, images.contents, images.splits, images.labels, _checked(classes, images, source))


def _label(value: Any, names: Sequence[str] | None, where: str) -> str:
    """Name of a label; numbers index the names if there are any."""
    if names is None or not isinstance(value, int):
        return str(value)
    if not 0 <= value < len(names):
        raise HarnessError(
            f"{where}: the label {value} is not one of the {len(names)} classes; remove unlabelled files"
        )
    return names[value]


def _checked(classes: tuple[str, ...], images: _Found, source: str) -> tuple[str, ...]:
    if len(classes) < 2:
        raise HarnessError(f"{source}: {len(images.labels)} images of {len(classes)} classes; at least two are needed")
    return classes


def _part(split: str | None) -> int:
    return UNSPLIT if split is None else PARTS.index(split)


def _image_column(table: Any, where: str) -> str:
    """Find the image column in the schema, else the only bytes column."""
    import pyarrow as pa

    features = _features(table)
    images = [
        name for name, feature in features.items() if isinstance(feature, dict) and feature.get("_type") == "Image"
    ]
    if not images:
        images = [
            field.name
            for field in table.schema
            if pa.types.is_binary(field.type)
            or pa.types.is_large_binary(field.type)
            or (pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0)
        ]
    if len(images) != 1:
        listed = ", ".join(images) or f"none of {', '.join(table.column_names)}"
        raise HarnessError(f"{where}: the column of the images is not clear; set image: NAME; found: {listed}")
    return images[0]


def _features(table: Any) -> Mapping[str, Any]:
    """Features of the columns in the schema's metadata, if any."""
    metadata = (table.schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(metadata)["info"]["features"] if metadata else {}
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _class_names(table: Any, label: str) -> tuple[str, ...] | None:
    feature = _features(table).get(label)
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) else None


def _bytes(image: Any, file: Path, where: str) -> bytes | Path:
    """Bytes of an image, or the file at its path."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, dict) and image.get("bytes"):
        return bytes(image["bytes"])
    path = file.parent / str(image["path"]) if isinstance(image, dict) and image.get("path") else None
    if path is None or not path.is_file():
        raise HarnessError(f"{where}: no image" + (f": {path} does not exist" if path is not None else ""))
    return path


def _label_column(wanted: str, others: Sequence[str], where: str) -> str:
    if wanted:
        return wanted
    usual = [name for name in LABELS if name in others]
    if usual or len(others) == 1:
        return usual[0] if usual else others[0]
    raise HarnessError(
        f"{where}: the column of the labels is not clear; set label: NAME; there are {', '.join(others) or 'none'}"
    )


def _in_metadata(root: Path, files: Sequence[Path], source: str, options: HubImageOptions) -> _Found:
    where: list[str] = []
    contents: dict[str, bytes | Path] = {}
    splits, labels = [], []
    for file in files:
        rows = read_rows({"": (file,)}, source)
        names = rows.column(FILE_NAME, "the image's file")
        label = _label_column(options.label, [name for name in rows.columns if name != FILE_NAME], f"{source}: {file}")
        texts = _texts(rows, label)
        for row, name in enumerate(names):
            picture = file.parent / str(name)
            if texts[row] is None:
                raise HarnessError(f"{source}: {rows.where(row)}: '{label}' is empty")
            if not picture.is_file():
                raise HarnessError(f"{source}: {rows.where(row)}: {picture} does not exist")
            inside = picture.relative_to(root).as_posix() if picture.is_relative_to(root) else str(name)
            where.append(inside)
            contents[inside] = picture
            splits.append(_part(split_of(f"{Path(inside).parent.as_posix()}/-")))
            labels.append(str(texts[row]))
    images = _Found(where, contents, splits, labels, ())
    return _Found(
        where, contents, splits, labels, _checked(tuple(distinct(np.array(labels, dtype=object))), images, source)
    )


def _texts(rows: Rows, label: str) -> Sequence[str | None]:
    cells = rows.column(label, "label")
    if cells.dtype == object:
        return list(cells)
    return [None if np.isnan(value) else f"{value:.15g}" for value in cells]
