"""Four published retrieval sets: CUB-200-2011, Cars-196, In-Shop, SOP.

Training never uses classes of the test. None has a published validation split. Images stay in their files.
Splits: the first half of the classes of CUB and Cars trains (Oh Song et al. 2016); the other two list theirs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from suites.data.archive import folder_of, missing, text_of
from suites.data.imagenet import MEAN, STD, CropOptions
from suites.data.types import Images, ImageSplit


class ListedImage(NamedTuple):
    """One image: its file below the images' folder, its class, its split."""

    file: str
    name: str
    split: str


def rows_of(path: Path, source: str, columns: int, skip: int = 0) -> Iterator[list[str]]:
    """Columns of a text file's lines, without the first ``skip``."""
    lines = text_of(path, source).splitlines()
    for number, line in enumerate(lines[skip:], start=skip + 1):
        values = line.split()
        if values and len(values) != columns:
            raise HarnessError(
                f"{source}: {path}:{number} has {len(values)} columns, expected {columns}: {line[:60]!r}"
            )
        if values:
            yield values


def joined(*tables: Mapping[str, str], source: str) -> Iterator[tuple[str, ...]]:
    """Join rows of tables with equal keys."""
    first = set(tables[0])
    if any(set(table) != first for table in tables[1:]):
        raise HarnessError(f"{source}: the text files do not list the same images")
    for key in tables[0]:
        yield tuple(table[key] for table in tables)


def read_cub(folder: Path) -> list[ListedImage]:
    """Read the lists of CUB; classes 1–100 train, 101–200 test: its own split is for classification."""
    source = "cub"
    files = dict(rows_of(folder / "images.txt", source, 2))
    classes = dict(rows_of(folder / "image_class_labels.txt", source, 2))
    names = dict(rows_of(folder / "classes.txt", source, 2))
    half = len(names) // 2
    rows = []
    for file, number in joined(files, classes, source=source):
        if number not in names:
            raise HarnessError(f"cub: class {number} is not in {folder / 'classes.txt'}")
        rows.append(ListedImage(file, names[number], "train" if int(number) <= half else "test"))
    return rows


def read_cars(folder: Path) -> list[ListedImage]:
    """Read ``cars_annos.mat``; the first half of the classes trains, the rest tests, whatever its flag ``test``."""
    path = folder / "cars_annos.mat"
    if not path.is_file():
        raise missing("cars196", path)
    from scipy.io import loadmat

    try:
        content = loadmat(path, squeeze_me=True)
        annotations = np.atleast_1d(content["annotations"])
        names = [str(name) for name in np.atleast_1d(content["class_names"])]
        listed = [(str(row["relative_im_path"]), int(row["class"])) for row in annotations]
    except Exception as error:  # scipy raises nearly anything on a damaged file
        raise HarnessError(f"cars196: {path} is not the published annotation file: {error}") from error
    if any(not 1 <= number <= len(names) for _, number in listed):
        raise HarnessError(f"cars196: {path} has classes outside 1–{len(names)}")
    half = len(names) // 2
    return [ListedImage(file, names[number - 1], "train" if number <= half else "test") for file, number in listed]


def read_inshop(folder: Path) -> list[ListedImage]:
    """Read ``list_eval_partition.txt``: image, item and ``train``, ``query`` or ``gallery`` after two lines."""
    path = folder / "list_eval_partition.txt"
    spelling = {"train": "train", "query": "test", "gallery": "gallery"}
    rows = []
    for file, item, status in rows_of(path, "inshop", 3, skip=2):
        if status not in spelling:
            raise HarnessError(f"inshop: {path} has the status '{status}'; valid: {', '.join(spelling)}")
        rows.append(ListedImage(file, item, spelling[status]))
    return rows


def read_sop(folder: Path) -> list[ListedImage]:
    """Read ``Ebay_train.txt`` and ``Ebay_test.txt``: header, then image, class, super-class, path."""
    rows = []
    for split in ("train", "test"):
        for _, number, _, file in rows_of(folder / f"Ebay_{split}.txt", "sop", 4, skip=1):
            rows.append(ListedImage(file, number, split))
    return rows


def assemble(rows: Sequence[ListedImage], images: Path, options: CropOptions, source: str) -> Images:
    """Build splits of image files, with classes numbered by first occurrence."""
    names = tuple(dict.fromkeys(row.name for row in rows))
    number = {name: place for place, name in enumerate(names)}
    of_split = {split: {row.name for row in rows if row.split == split} for split in ("train", "test")}
    if not all(of_split.values()) or of_split["train"] & of_split["test"]:
        raise HarnessError(
            f"{source}: {len(of_split['train'])} training classes, {len(of_split['test'])} test classes, "
            f"{len(of_split['train'] & of_split['test'])} of them shared; expected some of each, none shared"
        )
    splits = {}
    for split in dict.fromkeys(row.split for row in rows):
        places = [place for place, row in enumerate(rows) if row.split == split]
        splits[split] = ImageSplit(
            options.files((images / rows[place].file for place in places), source),
            np.array([number[rows[place].name] for place in places], dtype=np.int64),
            np.array(places, dtype=np.int64),
        )
    return Images(splits, names, MEAN, STD)  # the backbones are pretrained on ImageNet and expect its units


READERS: dict[str, Callable[[Path], list[ListedImage]]] = {
    "cub": read_cub,
    "cars196": read_cars,
    "inshop": read_inshop,
    "sop": read_sop,
}


def load(request: DataRequest[CropOptions]) -> Images:
    """Read one of the four sets from the folder of its list."""
    name, folder = request.name, folder_of(request)
    images = folder / "images" if name == "cub" else folder
    return assemble(READERS[name](folder), images, request.options, name)
