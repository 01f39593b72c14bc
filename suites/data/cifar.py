"""CIFAR-10 and CIFAR-100 from the published pickles, folder or archive.

The pickles may contain arrays and dictionaries only, since a pickle can run any code.
Format: https://www.cs.toronto.edu/~kriz/cifar.html (rows of 3,072 bytes: red, green, blue planes of 32×32).
"""

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from harness.trial.options import option
from suites.data.archive import Tree, missing, open_tree
from suites.data.cache import cached, checksum
from suites.data.types import Array, Images, ImageSplit, held_out

READER = "cifar/1"
SIDE = 32
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _ArraysOnly(pickle.Unpickler):
    """Unpickles dictionaries, lists, strings, numbers and numpy arrays only."""

    def find_class(self, module: str, name: str) -> Any:
        """Reject classes that arrays do not need."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it needs {module}.{name}, unlike published files")
        return super().find_class(module, name)


@dataclass(frozen=True, slots=True)
class CifarLayout:
    """File layout of a published set.

    Attributes:
        folder: top folder in the archive.
        archive: name of the published archive, beside or in place of the folder.
        train, test: files of the splits.
        labels: key of the class numbers.
        meta: file of the class names, and its key.
    """

    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    labels: str
    meta: tuple[str, str]


CIFAR10 = CifarLayout(
    "cifar-10-batches-py",
    "cifar-10-python.tar.gz",
    tuple(f"data_batch_{number}" for number in range(1, 6)),
    ("test_batch",),
    "labels",
    ("batches.meta", "label_names"),
)
CIFAR100 = CifarLayout(
    "cifar-100-python", "cifar-100-python.tar.gz", ("train",), ("test",), "fine_labels", ("meta", "fine_label_names")
)
LAYOUTS = {"cifar10": CIFAR10, "cifar100": CIFAR100}


def unpickle(content: bytes, where: str) -> dict[str, Any]:
    """Read a published pickle: a dictionary of arrays, lists and strings."""
    try:
        value = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise HarnessError(f"{where} is not a published CIFAR pickle: {error}") from error
    if not isinstance(value, dict):
        raise HarnessError(f"{where} contains a {type(value).__name__}; expected a dictionary")
    return value


def _split(tree: Tree, files: tuple[str, ...], layout: CifarLayout, prefix: str, source: str) -> tuple[Array, Array]:
    images, labels = [], []
    for file in files:
        where = f"{source}: {file}"
        values = unpickle(tree.read(prefix + file), where)
        try:
            data = np.asarray(values["data"])
            numbers = np.asarray(values[layout.labels], dtype=np.int64)
        except (KeyError, TypeError, ValueError) as error:
            raise HarnessError(f"{where} lacks 'data' or '{layout.labels}' with numbers: {error}") from error
        if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * SIDE**2 or len(data) != len(numbers):
            raise HarnessError(
                f"{where} has {data.dtype} {data.shape} with {len(numbers)} labels; expected uint8 (N, {3 * SIDE**2})"
            )
        images.append(data.reshape(-1, 3, SIDE, SIDE))
        labels.append(numbers)
    return np.concatenate(images), np.concatenate(labels)


def read(path: Path, layout: CifarLayout, source: str) -> dict[str, Array]:
    """Read ``train``, ``train_labels``, ``test``, ``test_labels`` and ``classes`` of a folder or archive."""
    digest = checksum(path)

    def make() -> Mapping[str, Array]:
        with open_tree(path, source) as tree:
            prefix = _prefix(tree, layout, source, path)
            train, train_labels = _split(tree, layout.train, layout, prefix, source)
            test, test_labels = _split(tree, layout.test, layout, prefix, source)
            names = unpickle(tree.read(prefix + layout.meta[0]), f"{source}: {layout.meta[0]}").get(layout.meta[1])
        if not names or max(train_labels.max(), test_labels.max()) >= len(names):
            raise HarnessError(f"{source}: {layout.meta[0]} does not name every class")
        return {
            "train": train,
            "train_labels": train_labels,
            "test": test,
            "test_labels": test_labels,
            "classes": np.array([str(name) for name in names]),
        }

    return cached((READER, digest), ("train", "train_labels", "test", "test_labels", "classes"), make)


def _prefix(tree: Tree, layout: CifarLayout, source: str, path: Path) -> str:
    """Return the folder of the files inside the tree, or ''."""
    names = set(tree.names())
    wanted = (*layout.train, *layout.test, layout.meta[0])
    for prefix in ("", f"{layout.folder}/"):
        if all(prefix + name in names for name in wanted):
            return prefix
    raise HarnessError(f"{source}: {path} lacks some of {', '.join(wanted)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CifarOptions:
    """Options of both sets."""

    validation: int = option(0, "images moved from training to validation", low=0)


def load(request: DataRequest[CifarOptions]) -> Images:
    """Read CIFAR-10 or CIFAR-100 as published: 50,000 and 10,000 images, fine labels."""
    name, layout = request.name, LAYOUTS[request.name]
    folder, archive = request.root / layout.folder, request.root / layout.archive
    path = folder if folder.exists() else archive
    if not path.exists():
        raise missing(name, folder)
    arrays = read(path, layout, name)
    train_labels, test_labels = (np.asarray(arrays[f"{split}_labels"], dtype=np.int64) for split in ("train", "test"))
    total = len(train_labels)
    places = held_out(request, np.arange(total), request.options.validation)
    splits = {
        split: ImageSplit(np.asarray(arrays["train"])[chosen], train_labels[chosen], chosen)
        for split, chosen in places.items()
        if len(chosen)
    }
    items = np.arange(total, total + len(test_labels), dtype=np.int64)
    splits["test"] = ImageSplit(np.asarray(arrays["test"]), test_labels, items)
    return Images(splits, tuple(str(word) for word in arrays["classes"]))
