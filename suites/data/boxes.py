"""Images with boxes: what detection sources yield, and the two published layouts.

COCO (https://cocodataset.org/#format-data): ``images``, ``annotations`` with ``bbox`` = [x, y, width, height] from the
top left corner of the image, ``categories``. Pascal VOC (devkit of VOC2012, section 8): ``Annotations/<id>.xml`` with
``bndbox`` = xmin, ymin, xmax, ymax counted from 1, both ends inside; ``ImageSets/Main/<split>.txt``;
``JPEGImages/<id>.jpg``.
Every image is resized to a square; the overlap of boxes is not changed by that, so neither is average precision.
"""

from __future__ import annotations

import json
import math
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from harness.errors import HarnessError
from harness.trial.options import REQUIRED, option
from suites.data.archive import Tree, missing, open_tree, place_of
from suites.data.cache import cached
from suites.data.imagenet import MEAN, STD
from suites.data.photographs import opened
from suites.data.types import Array, Labels, held_out

if TYPE_CHECKING:
    from harness.trial.contracts import DataRequest

READER = "boxes/1"
LONGEST_NAME = 255
"""Of a file, with every file system."""
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BoxFiles:
    """Images that stay in their files, resized to squares of ``size`` pixels when a batch asks."""

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
        places: (M,) the image of each box, rising.
        crowd: (M,) whether a box covers a group: never learnt, neither hit nor miss in scoring.
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
    """Images with boxes by split: ``train``, ``validation`` where there is one, ``test``.

    Attributes:
        splits: by name.
        classes: names; labels count from 0 in this order.
        channels, size: of the images.
        mean, std: per channel in 0–1.
        dropped: boxes without area that were left out.
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
    """One image of a tree: its file, and rows (class, left, top, right, bottom, crowd) in shares of its sides."""

    file: str
    rows: tuple[tuple[int, float, float, float, float, int], ...]
    dropped: int = 0


def decode_square(content: bytes, size: int, where: str) -> Array:
    """(3, size, size) ``uint8``, both sides resized.

    Raises:
        HarnessError: it cannot be decoded.
    """
    image = opened(content, "RGB", where).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


def read_coco(content: bytes, folder: str, where: str) -> tuple[list[Listed], tuple[str, ...]]:
    """Images of an instances file with their boxes, and the names of the categories by rising id.

    Raises:
        HarnessError: no json, a missing key, a box of an unknown image or category, or not of four numbers.
    """
    try:
        data = json.loads(content)
        categories = sorted(data["categories"], key=lambda one: one["id"])
        number = {one["id"]: place for place, one in enumerate(categories)}
        sizes = {one["id"]: _size(one) for one in data["images"]}
        rows: dict[Any, list[tuple[int, float, float, float, float, int]]] = {image: [] for image in sizes}
        dropped: dict[Any, int] = dict.fromkeys(sizes, 0)
        for one in data["annotations"]:
            width, height = sizes[one["image_id"]]
            x, y, w, h = (_finite(value) for value in one["bbox"])
            box = (max(x, 0) / width, max(y, 0) / height, min(x + w, width) / width, min(y + h, height) / height)
            if box[2] <= box[0] or box[3] <= box[1]:
                dropped[one["image_id"]] += 1
                continue
            rows[one["image_id"]].append((number[one["category_id"]], *box, int(one.get("iscrowd", 0))))
        names = tuple(str(one["name"]) for one in categories)
        listed = [
            Listed(f"{folder}{one['file_name']}", tuple(rows[one["id"]]), dropped[one["id"]]) for one in data["images"]
        ]
    except (KeyError, TypeError, ValueError, ZeroDivisionError, RecursionError) as error:
        raise HarnessError(f"{where} is not a COCO instances file: {type(error).__name__}: {error}") from error
    return listed, names


def _size(image: Mapping[str, Any]) -> tuple[float, float]:
    """Width and height of a listed image; raises ValueError where they are none."""
    width, height = _finite(image["width"]), _finite(image["height"])
    if min(width, height) <= 0:
        raise ValueError(f"an image of {width:g} × {height:g} pixels")
    return width, height


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} where a finite number is expected")
    return number


def read_voc(content: bytes, where: str) -> tuple[list[tuple[str, float, float, float, float, int]], int]:
    """Boxes of one annotation as (class, left, top, right, bottom, difficult) in shares of the sides, and the dropped.

    Raises:
        HarnessError: no xml of this layout.
    """
    try:
        root = ElementTree.fromstring(content)
        width, height = _size({side: _text(root, f"size/{side}") for side in ("width", "height")})
        rows, dropped = [], 0
        for one in root.iter("object"):
            x1, y1, x2, y2 = (_finite(_text(one, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax"))
            if x2 <= x1 or y2 <= y1:
                dropped += 1
                continue
            # Pixels count from 1 and both ends belong to the box.
            box = (max(x1 - 1, 0) / width, max(y1 - 1, 0) / height, min(x2, width) / width, min(y2, height) / height)
            rows.append((_text(one, "name"), *box, int(one.findtext("difficult") or 0)))
    except (ElementTree.ParseError, ValueError, ZeroDivisionError) as error:
        raise HarnessError(f"{where} is not a VOC annotation: {error}") from error
    return rows, dropped


def _text(node: ElementTree.Element, path: str) -> str:
    found = node.findtext(path)
    if found is None:
        raise ValueError(f"<{node.tag}> lacks {path}")
    return found.strip()


def list_voc(tree: Tree, source: str) -> tuple[dict[str, list[Listed]], tuple[str, ...]]:
    """Images by split (train, val, test as the tree has them) and the classes in alphabetical order.

    Raises:
        HarnessError: no ImageSets/Main, or an annotation or image that a split names is missing.
    """
    names = set(tree.names())
    sets = {name: Path(name).stem for name in sorted(names) if "ImageSets/Main/" in name and name.endswith(".txt")}
    splits = {stem: name for name, stem in sets.items() if stem in ("train", "val", "test")}
    if "train" not in splits:
        raise HarnessError(f"{source}: no ImageSets/Main/train.txt; expected Pascal VOC's layout")
    found: dict[str, list[tuple[str, list[tuple[str, float, float, float, float, int]], int]]] = {}
    for split, name in splits.items():
        prefix = name[: name.index("ImageSets/Main/")]
        found[split] = []
        for identity in _identities(tree.read(name), f"{source}: {name}"):
            xml, image = f"{prefix}Annotations/{identity}.xml", f"{prefix}JPEGImages/{identity}.jpg"
            for file in (xml, image):
                if file not in names:
                    raise HarnessError(f"{source}: {name} names {identity}, but {file} is not there")
            found[split].append((image, *read_voc(tree.read(xml), f"{source}: {xml}")))
    classes = tuple(sorted({row[0] for listed in found.values() for _, rows, _ in listed for row in rows}))
    if not classes:
        raise HarnessError(f"{source}: no annotation has a box")
    listed = {
        split: [Listed(f, tuple((classes.index(r[0]), *r[1:]) for r in rows), lost) for f, rows, lost in images]
        for split, images in found.items()
    }
    return listed, classes


def _identities(content: bytes, where: str) -> Iterator[str]:
    """The first word of each line of a split's list.

    Raises:
        HarnessError: it is no text, or a word is no name of a file.
    """
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        raise HarnessError(f"{where} is no list of names: {error}") from error
    for number, line in enumerate(lines, 1):
        words = line.split(maxsplit=1)
        if words and len(words[0]) > LONGEST_NAME:
            raise HarnessError(f"{where}:{number} is no list of names: one of {len(words[0]):,} characters")
        yield from words[:1]


def list_coco(tree: Tree, source: str) -> tuple[dict[str, list[Listed]], tuple[str, ...]]:
    """Images by split of ``annotations/instances_<split>.json``, images in ``<split>/``; year suffixes are kept.

    Raises:
        HarnessError: no such file for train and val, or other categories in the second.
    """
    found: dict[str, list[Listed]] = {}
    classes: tuple[str, ...] = ()
    for name in sorted(tree.names()):
        path = Path(name)
        if path.parent.name != "annotations" or not path.name.startswith("instances_") or path.suffix != ".json":
            continue
        split = path.stem.removeprefix("instances_")
        part = next((one for one in ("train", "val", "test") if split.startswith(one)), None)
        if part is None:
            continue
        prefix = name[: name.index("annotations/")]
        listed, names = read_coco(tree.read(name), f"{prefix}{split}/", f"{source}: {name}")
        if classes and names != classes:
            raise HarnessError(f"{source}: {name} has other categories than the file before it")
        found[part], classes = listed, names
    if "train" not in found or not ({"val", "test"} & set(found)):
        raise HarnessError(f"{source}: expected annotations/instances_train*.json and instances_val*.json")
    return found, classes


Lister = Callable[[Tree, str], tuple[dict[str, list[Listed]], tuple[str, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxOptions:
    """Options of every set of images with boxes."""

    size: int = option(300, "side of the square that images are resized to, pixels", low=16)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutBoxOptions(BoxOptions):
    """Options of sets without a published validation."""

    validation: int = option(0, "images taken out of training where no list has them", low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxFolderOptions(HeldOutBoxOptions):
    """Options of a user's own folder."""

    path: str = option(REQUIRED, "folder or archive, absolute or below HARNESS_DATA")


def load_tree(request: DataRequest[HeldOutBoxOptions], lister: Lister) -> BoxedImages:
    """All splits of a folder or archive, images decoded once and then taken from the cache.

    Without a ``test`` the published validation is the test, and ``validation`` images are taken out of training.

    Raises:
        MissingDataError: there is nothing where the source lies.
        HarnessError: another checksum, a damaged file, another layout.
    """
    place, source, size = place_of(request), request.name, request.options.size
    with open_tree(place.path, source) as tree:
        listed, classes = lister(tree, source)
        order = sorted((split, one.file) for split, images in listed.items() for one in images)

        def make() -> dict[str, Array]:
            return {"images": np.stack([decode_square(tree.read(f), size, f"{source}: {f}") for _, f in order])}

        images = cached((READER, source, place.checksum, f"size {size}"), ("images",), make)["images"]
    number = {row: place for place, row in enumerate(order)}
    parts = {
        split: [(number[split, one.file], one) for one in sorted(images_of, key=lambda one: one.file)]
        for split, images_of in listed.items()
    }
    parts = _published(parts, request)
    splits = {name: _split(images, rows, size) for name, rows in parts.items() if rows}
    dropped = sum(one.dropped for images_of in listed.values() for one in images_of)
    if dropped:
        warnings.warn(f"{source}: {dropped} boxes without area are left out", stacklevel=2)
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


def _split(images: Array, rows: Part, size: int) -> BoxSplit:
    chosen = np.array([place for place, _ in rows], dtype=np.int64)
    return boxed(np.ascontiguousarray(images[chosen]), [one for _, one in rows], chosen, size)


def boxed(images: Array | BoxFiles, listed: Sequence[Listed], items: Labels, size: int) -> BoxSplit:
    """A split of images with their rows, shares turned into pixels of a square of ``size``."""
    table = [(place, *row) for place, one in enumerate(listed) for row in one.rows]
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
    """A user's own folder or archive in COCO's layout, or a named one."""
    return load_tree(request, list_coco)


def load_voc(request: DataRequest[HeldOutBoxOptions]) -> BoxedImages:
    """A user's own folder or archive in Pascal VOC's layout, or a named one; difficult boxes are treated as crowds."""
    return load_tree(request, list_voc)


def load_coco2017(request: DataRequest[BoxOptions]) -> BoxedImages:
    """COCO 2017 as published, images in their files: train2017 trains, val2017 is the test."""
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
        if name == "train":  # images without boxes teach nothing
            listed = [one for one in listed if one.rows]
        paths = tuple(folder / part / one.file for one in listed)
        items = np.arange(first, first + len(listed), dtype=np.int64)
        splits[name] = boxed(BoxFiles(paths, size), listed, items, size)
        first += len(listed)
    return BoxedImages(splits, classes, 3, size, MEAN, STD)
