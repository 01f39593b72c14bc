"""Images in Hugging Face's layouts: Parquet files, or a folder with metadata.

``data/train-00000-of-00001.parquet`` has a column of images (``bytes`` and ``path``) and one of labels, whose names
are in the file's schema; ``metadata.csv`` or ``metadata.jsonl`` lists files (``file_name``) and labels.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.base.tables import read_parquet
from harness.errors import HarnessError, choices
from harness.trial.contracts import DataRequest
from harness.trial.options import REQUIRED, option
from suites.data.archive import SourcePath, place_of
from suites.data.cache import cached
from suites.data.imagefolder import (
    ARRAYS,
    PARTS,
    UNSPLIT,
    Listing,
    as_arrays,
    decode,
    from_arrays,
    of_places,
    own_splits,
)
from suites.data.table_files import read_rows, split_of, texts_of
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


class _Image(NamedTuple):
    """An image not yet decoded: its place (for messages), content, split and label."""

    where: str
    content: bytes | Path
    split: int
    label: str


def load_hub(request: DataRequest[HubImageOptions]) -> Images:
    """Read a user's folder or Parquet file at ``path``."""
    options, place = request.options, place_of(request)

    def make() -> dict[str, Array]:
        images, classes = _find(place, options)
        contents = {image.where: image.content for image in images}
        labels = np.array([classes.index(image.label) for image in images], dtype=np.int64)
        listing = Listing((), np.array([image.split for image in images], dtype=np.int64), labels, classes)

        def read(name: str) -> bytes:
            content = contents[name]
            return content if isinstance(content, bytes) else content.read_bytes()

        return as_arrays(decode([image.where for image in images], read, options.size, place.source), listing)

    parameters = f"image {options.image} label {options.label} size {options.size}"
    images, listing = from_arrays(cached((READER, place.checksum, parameters), ARRAYS, make))
    return of_places(images, listing, own_splits(listing, options.split, request))


def _find(place: SourcePath, options: HubImageOptions) -> tuple[list[_Image], tuple[str, ...]]:
    """List images and class names."""
    path, source = place.path, place.source
    parquet = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    metadata = [] if path.is_file() else sorted(file for name in TABLES for file in path.rglob(name))
    if parquet:
        images, classes = _in_parquet(path, parquet, source, options)
    elif metadata:
        images = [image for file in metadata for image in _in_metadata(path, file, source, options)]
        classes = tuple(sorted({image.label for image in images}))
    else:
        raise HarnessError(
            f"{source}: {path} has neither Parquet files (data/train-00000-of-00001.parquet) nor a metadata.csv or "
            f"metadata.jsonl; for folders by class use the layout imagefolder"
        )
    if len(classes) < 2:
        raise HarnessError(f"{source}: {len(images)} images of {len(classes)} classes; at least two are needed")
    return images, classes


def _in_parquet(
    root: Path, files: Sequence[Path], source: str, options: HubImageOptions
) -> tuple[list[_Image], tuple[str, ...]]:
    images: list[_Image] = []
    names: tuple[str, ...] | None = None
    for file in files:
        table, where = read_parquet(file), f"{source}: {file}"
        column = options.image or _image_column(table, where)
        label = _label_column(options.label, [name for name in table.column_names if name != column], where)
        for name in (column, label):
            if name not in table.column_names:
                raise HarnessError(f"{where} lacks the column '{name}'; {choices(table.column_names, name)}")
        own = _class_names(table, label)
        names = names or own
        inside = file.name if file == root else file.relative_to(root).as_posix()
        split = _part(split_of(inside))
        pairs = zip(table.column(column).to_pylist(), table.column(label).to_pylist(), strict=True)
        for row, (image, value) in enumerate(pairs, start=1):
            if value is None:
                raise HarnessError(f"{where}, row {row} lacks '{label}'")
            content = _bytes(image, file, f"{where}, row {row}")
            images.append(_Image(f"{inside}, row {row}", content, split, _label(value, own, f"{where}, row {row}")))
    every = {image.label for image in images}
    return images, names or tuple(sorted(every, key=lambda text: (len(text), text) if text.isdigit() else (0, text)))


def _label(value: Any, names: Sequence[str] | None, where: str) -> str:
    """Name of a label; numbers index the names if there are any."""
    if names is None or not isinstance(value, int):
        return str(value)
    if not 0 <= value < len(names):
        raise HarnessError(
            f"{where}: the label {value} is not one of the {len(names)} classes; remove unlabelled files"
        )
    return names[value]


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


def _in_metadata(root: Path, file: Path, source: str, options: HubImageOptions) -> Iterator[_Image]:
    rows = read_rows({"": (file,)}, source)
    names = rows.column(FILE_NAME, "the image's file")
    label = _label_column(options.label, [name for name in rows.columns if name != FILE_NAME], f"{source}: {file}")
    for row, (name, text) in enumerate(zip(names, texts_of(rows.column(label, "label")), strict=True)):
        picture = file.parent / str(name)
        if text is None:
            raise HarnessError(f"{source}: {rows.where(row)}: '{label}' is empty")
        if not picture.is_file():
            raise HarnessError(f"{source}: {rows.where(row)}: {picture} does not exist")
        inside = picture.relative_to(root).as_posix() if picture.is_relative_to(root) else str(name)
        yield _Image(inside, picture, _part(split_of(f"{Path(inside).parent.as_posix()}/-")), str(text))
