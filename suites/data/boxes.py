"""Images with boxes, in COCO's and Pascal VOC's layouts.

COCO (https://cocodataset.org/#format-data): ``images``, ``annotations`` with ``bbox`` = [x, y, width, height] from the
top left corner of the image, ``categories``. Pascal VOC (devkit of VOC2012, section 8): ``Annotations/<id>.xml`` with
``bndbox`` = xmin, ymin, xmax, ymax counted from 1, both ends inside; ``ImageSets/Main/<split>.txt``;
``JPEGImages/<id>.jpg``.
Every image is resized to a square; overlaps of boxes, and so average precision, do not change.
"""

import json
import math
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from harness.trial.options import REQUIRED, option
from suites.data.archive import Tree, missing, open_tree, place_of
from suites.data.cache import cached
from suites.data.imagenet import MEAN, STD
from suites.data.photographs import opened
from suites.data.types import Array, Labels, held_out

READER = "boxes/1"
LONGEST_NAME = 255
"""Longest file name of common file systems."""
Floats = npt.NDArray[np.float32]
Box = tuple[float, float, float, float, int]
Row = tuple[int, float, float, float, float, int]


@dataclass(frozen=True, slots=True)
class BoxFiles:
    """Images in files, resized on reading to squares of ``size`` pixels."""

    paths: tuple[Path, ...]
    size: int

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True, slots=True)
class BoxSplit:
    """Images of one split and the boxes on them.

    Attributes:
        images: (N, C, S, S), ``uint8`` in 0–255 or ``float32`` in about 0–1, or files.
        boxes: (M, 4) left, top, right, bottom in pixels of the square.
        labels: (M,) class numbers.
        places: (M,) the image of each box, in rising order.
        crowd: (M,) true for boxes around groups: never trained, neither hit nor miss in scoring.
        items: (N,) number of each image in the whole source.
    """

    images: Array | BoxFiles
    boxes: Floats
    labels: Labels
    places: Labels
    crowd: npt.NDArray[np.bool_]
    items: Labels

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class BoxedImages:
    """Images with boxes by split: ``train``, ``test``, perhaps ``validation``.

    Attributes:
        splits: by name.
        classes: names; labels count from 0 in this order.
        channels, size: of the images.
        mean, std: per channel in 0–1.
        dropped: number of dropped boxes without area.
    """

    splits: Mapping[str, BoxSplit]
    classes: tuple[str, ...]
    channels: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Listed:
    """An image of a tree: its file, boxes as (class, left, top, right, bottom, crowd) in shares of the sides."""

    file: str
    rows: tuple[Row, ...]
    dropped: int = 0


def decode_square(content: bytes, size: int, where: str) -> Array:
    """Decode an image, resized to (3, size, size) ``uint8``."""
    image = opened(content, "RGB", where).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


def read_coco(content: bytes, folder: str, where: str) -> tuple[list[Listed], tuple[str, ...]]:
    """Read images with boxes, and the categories, of an instances file."""
    try:
        data = json.loads(content)
        categories = sorted(data["categories"], key=lambda entry: entry["id"])
        number = {category["id"]: place for place, category in enumerate(categories)}
        sizes = {image["id"]: _size(image) for image in data["images"]}
        rows: dict[int, list[Row]] = {image: [] for image in sizes}
        dropped: dict[int, int] = dict.fromkeys(sizes, 0)
        for entry in data["annotations"]:
            width, height = sizes[entry["image_id"]]
            x, y, w, h = (_finite(value) for value in entry["bbox"])
            box = (max(x, 0) / width, max(y, 0) / height, min(x + w, width) / width, min(y + h, height) / height)
            if box[2] <= box[0] or box[3] <= box[1]:
                dropped[entry["image_id"]] += 1
                continue
            rows[entry["image_id"]].append((number[entry["category_id"]], *box, int(entry.get("iscrowd", 0))))
        names = tuple(str(category["name"]) for category in categories)
        listed = [
            Listed(f"{folder}{image['file_name']}", tuple(rows[image["id"]]), dropped[image["id"]])
            for image in data["images"]
        ]
    except (KeyError, TypeError, ValueError, ZeroDivisionError, RecursionError) as error:
        raise HarnessError(f"{where} is not a COCO instances file: {type(error).__name__}: {error}") from error
    return listed, names


def _size(image: Mapping[str, float | str]) -> tuple[float, float]:
    """Width and height of a listed image (ValueError if invalid)."""
    width, height = _finite(image["width"]), _finite(image["height"])
    if min(width, height) <= 0:
        raise ValueError(f"an image of {width:g} × {height:g} pixels")
    return width, height


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, got {value}")
    return number


def read_voc(content: bytes, where: str) -> tuple[list[tuple[str, Box]], int]:
    """Read the boxes of an annotation: labels, shares of the sides, and the number of dropped ones."""
    try:
        root = ElementTree.fromstring(content)
        width, height = _size({side: _text(root, f"size/{side}") for side in ("width", "height")})
        rows, dropped = [], 0
        for node in root.iter("object"):
            x1, y1, x2, y2 = (_finite(_text(node, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax"))
            if x2 <= x1 or y2 <= y1:
                dropped += 1
                continue
            # pixels count from 1 and both ends belong to the box
            box = (max(x1 - 1, 0) / width, max(y1 - 1, 0) / height, min(x2, width) / width, min(y2, height) / height)
            rows.append((_text(node, "name"), (*box, int(node.findtext("difficult") or 0))))
    except (ElementTree.ParseError, ValueError, ZeroDivisionError) as error:
        raise HarnessError(f"{where} is not a VOC annotation: {error}") from error
    return rows, dropped


def _text(node: ElementTree.Element, path: str) -> str:
    text = node.findtext(path)
    if text is None:
        raise ValueError(f"<{node.tag}> lacks {path}")
    return text.strip()


def list_voc(tree: Tree, source: str) -> tuple[dict[str, list[Listed]], tuple[str, ...]]:
    """List images by split (train, val, test), and classes in alphabetical order."""
    names = set(tree.names())
    sets = {name: Path(name).stem for name in sorted(names) if "ImageSets/Main/" in name and name.endswith(".txt")}
    splits = {stem: name for name, stem in sets.items() if stem in ("train", "val", "test")}
    if "train" not in splits:
        raise HarnessError(f"{source}: lacks ImageSets/Main/train.txt; expected Pascal VOC's layout")
    annotated: list[tuple[str, str, list[tuple[str, Box]], int]] = []
    for split, name in splits.items():
        prefix = name[: name.index("ImageSets/Main/")]
        for identity in _identities(tree.read(name), f"{source}: {name}"):
            xml, image = f"{prefix}Annotations/{identity}.xml", f"{prefix}JPEGImages/{identity}.jpg"
            for file in (xml, image):
                if file not in names:
                    raise HarnessError(f"{source}: {name} names {identity}, but {file} is missing")
            annotated.append((split, image, *read_voc(tree.read(xml), f"{source}: {xml}")))
    classes = tuple(sorted({label for _, _, rows, _ in annotated for label, _ in rows}))
    if not classes:
        raise HarnessError(f"{source}: no annotation has a box")
    listed: dict[str, list[Listed]] = {split: [] for split in splits}
    for split, image, rows, dropped in annotated:
        listed[split].append(Listed(image, tuple((classes.index(label), *box) for label, box in rows), dropped))
    return listed, classes


def _identities(content: bytes, where: str) -> Iterator[str]:
    """First word of each line of a split's list."""
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        raise HarnessError(f"{where} is not a list of names: {error}") from error
    for number, line in enumerate(lines, 1):
        words = line.split(maxsplit=1)
        if words and len(words[0]) > LONGEST_NAME:
            raise HarnessError(f"{where}:{number} is not a list of names: one has {len(words[0]):,} characters")
        yield from words[:1]


def list_coco(tree: Tree, source: str) -> tuple[dict[str, list[Listed]], tuple[str, ...]]:
    """List images by split of ``annotations/instances_<split>.json``; images lie in ``<split>/``."""
    images: dict[str, list[Listed]] = {}
    classes: tuple[str, ...] = ()
    for name in sorted(tree.names()):
        path = Path(name)
        if path.parent.name != "annotations" or not path.name.startswith("instances_") or path.suffix != ".json":
            continue
        split = path.stem.removeprefix("instances_")
        part = next((prefix for prefix in ("train", "val", "test") if split.startswith(prefix)), None)
        if part is None:
            continue
        prefix = name[: name.index("annotations/")]
        listed, names = read_coco(tree.read(name), f"{prefix}{split}/", f"{source}: {name}")
        if classes and names != classes:
            raise HarnessError(f"{source}: {name} has other categories than the preceding file")
        images[part], classes = listed, names
    if "train" not in images or not ({"val", "test"} & set(images)):
        raise HarnessError(f"{source}: expected annotations/instances_train*.json and instances_val*.json")
    return images, classes


Lister = Callable[[Tree, str], tuple[dict[str, list[Listed]], tuple[str, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxOptions:
    """Options of every set of images with boxes."""

    size: int = option(300, "side of the resized square images, pixels", low=16)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutBoxOptions(BoxOptions):
    """Options of sets without a published validation."""

    validation: int = option(0, "images moved from training to validation if no list has them", low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxFolderOptions(HeldOutBoxOptions):
    """Options of a user's own folder."""

    path: str = option(REQUIRED, "folder or archive, absolute or below HARNESS_DATA")


def load_tree(request: DataRequest[HeldOutBoxOptions], lister: Lister) -> BoxedImages:
    """Read all splits of a folder or archive, with a cache.

    Without a ``test`` the published validation is the test, and ``validation`` images are moved out of training.
    """
    place, source, size = place_of(request), request.name, request.options.size
    with open_tree(place.path, source) as tree:
        listed, classes = lister(tree, source)
        order = sorted((split, image.file) for split, images in listed.items() for image in images)

        def make() -> dict[str, Array]:
            return {"images": np.stack([decode_square(tree.read(f), size, f"{source}: {f}") for _, f in order])}

        images = cached((READER, source, place.checksum, f"size {size}"), ("images",), make)["images"]
    number = {row: place for place, row in enumerate(order)}
    parts = {
        split: [(number[split, image.file], image) for image in sorted(images_of, key=lambda image: image.file)]
        for split, images_of in listed.items()
    }
    splits = {}
    for name, rows in _published(parts, request).items():
        if rows:
            chosen = np.array([place for place, _ in rows], dtype=np.int64)
            splits[name] = boxed(np.ascontiguousarray(images[chosen]), [image for _, image in rows], chosen, size)
    dropped = sum(image.dropped for images_of in listed.values() for image in images_of)
    if dropped:
        warnings.warn(f"{source}: {dropped} boxes without area are ignored", stacklevel=2)
    return BoxedImages(splits, classes, 3, size, MEAN, STD, dropped)


Part = list[tuple[int, Listed]]


def _published(parts: dict[str, Part], request: DataRequest[HeldOutBoxOptions]) -> dict[str, Part]:
    train, validation, test = (parts.get(name, []) for name in ("train", "val", "test"))
    if not test:
        validation, test = [], validation
    wanted = request.options.validation
    if not validation and wanted:
        chosen = held_out(request, np.arange(len(train)), wanted)
        train, validation = ([train[place] for place in chosen[name]] for name in ("train", "validation"))
    return {"train": train, "validation": validation, "test": test}


def boxed(images: Array | BoxFiles, listed: Sequence[Listed], items: Labels, size: int) -> BoxSplit:
    """Build a split of images, with boxes in pixels of the square."""
    table = [(place, *row) for place, image in enumerate(listed) for row in image.rows]
    values = np.array(table, dtype=np.float64).reshape(-1, 7)
    return BoxSplit(
        images,
        (values[:, 2:6] * size).astype(np.float32),
        values[:, 1].astype(np.int64),
        values[:, 0].astype(np.int64),
        values[:, 6] > 0,
        items,
    )


def load_coco(request: DataRequest[HeldOutBoxOptions]) -> BoxedImages:
    """Read a user's or named folder or archive in COCO's layout."""
    return load_tree(request, list_coco)


def load_voc(request: DataRequest[HeldOutBoxOptions]) -> BoxedImages:
    """Read a folder or archive in Pascal VOC's layout; difficult boxes count as crowds."""
    return load_tree(request, list_voc)


def load_coco2017(request: DataRequest[BoxOptions]) -> BoxedImages:
    """Read COCO 2017 as published, images in files: train2017 trains, val2017 tests."""
    folder, size = request.root / "coco2017", request.options.size
    splits: dict[str, BoxSplit] = {}
    classes: tuple[str, ...] = ()
    first = 0
    for name, part in (("train", "train2017"), ("test", "val2017")):
        file = folder / "annotations" / f"instances_{part}.json"
        for needed in (file, folder / part):
            if not needed.exists():
                raise missing("coco2017", needed)
        listed, classes = read_coco(file.read_bytes(), "", f"coco2017: {file}")
        if name == "train":  # images without boxes are useless for training
            listed = [image for image in listed if image.rows]
        paths = tuple(folder / part / image.file for image in listed)
        items = np.arange(first, first + len(listed), dtype=np.int64)
        splits[name] = boxed(BoxFiles(paths, size), listed, items, size)
        first += len(listed)
    return BoxedImages(splits, classes, 3, size, MEAN, STD)
