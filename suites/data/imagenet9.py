"""9-Class ImageNet with ImageNet-A (Bahng et al., ICML 2020, section 4.3).

42 ImageNet classes are joined into nine. Training and validation images are those of ImageNet, the hard ones those of
ImageNet-A (Hendrycks et al. 2021), both as class folders. The bias of a validation image is its texture cluster;
ReBias's repository publishes three clusterings as
``clusters/9class_imagenet_val.csv`` with the columns path, category, cluster1, cluster2, cluster3.
"""

from pathlib import Path

import numpy as np

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from suites.data.archive import csv_lines, missing, text_of
from suites.data.biased import BiasedImages
from suites.data.imagenet import MEAN, STD, CropOptions, list_split
from suites.data.types import ImageFiles, ImageSplit, Labels

# WordNet ids of the classes shared by ImageNet and ImageNet-A, by the nine
MEMBERS: dict[str, tuple[str, ...]] = {
    "dog": ("n02085620", "n02099601", "n02106550", "n02106662", "n02110958"),
    "cat": ("n02123045", "n02123159", "n02123394", "n02123597", "n02124075"),
    "frog": ("n01641577", "n01644373", "n01644900"),
    "turtle": ("n01664065", "n01665541", "n01667114", "n01667778", "n01669191"),
    "bird": ("n01819313", "n01820546", "n01833805", "n01843383", "n01847000"),
    "monkey": ("n02486410", "n02487347", "n02488291", "n02488702", "n02492035"),
    "fish": ("n02607072", "n02640242", "n02641379", "n02643566", "n02655020"),
    "crab": ("n01978287", "n01978455", "n01980166", "n01981276"),
    "insect": ("n02174001", "n02177972", "n02190166", "n02206856", "n02219486"),
}
CLASSES = tuple(MEMBERS)
CSV = "9class_imagenet_val.csv"
COLUMNS = ("path", "category", "cluster1", "cluster2", "cluster3")


def _split(folder: Path, options: CropOptions, first: int, *, whole: bool) -> ImageSplit:
    """The nine classes of class folders; without ``whole`` folders may be missing."""
    if not folder.is_dir():
        raise missing("imagenet9", folder)
    names = tuple(sorted(name for members in MEMBERS.values() for name in members))
    if not whole:
        names = tuple(name for name in names if (folder / name).is_dir())
    number = {name: place for place, members in enumerate(MEMBERS.values()) for name in members}
    files, labels = list_split(folder, names)
    joined = np.array([number[names[label]] for label in labels], dtype=np.int64)
    items = np.arange(first, first + len(files), dtype=np.int64)
    return ImageSplit(options.files(files, "imagenet9"), joined, items)


def read_clusters(file: Path) -> dict[str, tuple[str, tuple[int, int, int]]]:
    """Class and the three clusters of each image, by ``<wnid>/<name>``."""
    (_, header), *rows = csv_lines(text_of(file, "imagenet9"), f"imagenet9: {file}") or [(1, [])]
    if tuple(header) != COLUMNS:
        raise HarnessError(f"imagenet9: {file} has the columns {header}; expected {', '.join(COLUMNS)}")
    clusters = {}
    for line, row in rows:
        try:
            path, category, first, second, third = row
            clusters[path] = (category, (int(first), int(second), int(third)))
        except ValueError as error:
            raise HarnessError(f"imagenet9: {file}, line {line}: a cluster is not a number: {error}") from error
    return clusters


def _clusters(split: ImageSplit, file: Path) -> Labels:
    assert isinstance(split.images, ImageFiles)
    clusters_of = read_clusters(file)
    rows = []
    for path, label in zip(split.images.paths, split.labels, strict=True):
        name = f"{path.parent.name}/{path.name}"
        category, clusters = clusters_of.get(name, ("", ()))
        if category != CLASSES[label]:
            problem = f"states '{category}'" if category else "lacks it"
            raise HarnessError(f"imagenet9: {path} is of class {CLASSES[label]}, but {file.name} {problem}")
        rows.append(clusters)
    return np.array(rows, dtype=np.int64)


def load(request: DataRequest[CropOptions]) -> BiasedImages:
    """Images by file: ``train``, ``test`` (validation images, with clusters), the same as ``biased``, ``hard``."""
    options = request.options
    train = _split(request.root / "imagenet" / "train", options, 0, whole=True)
    test = _split(request.root / "imagenet" / "val", options, len(train), whole=True)
    hard = _split(request.root / "imagenet-a", options, len(train) + len(test), whole=False)
    groups = {"test": _clusters(test, request.root / "imagenet9" / CSV)}
    splits = {"train": train, "test": test, "biased": test, "hard": hard}
    return BiasedImages(splits, CLASSES, MEAN, STD, groups=groups)
