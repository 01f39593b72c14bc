"""Images in folders: ``<split>/<class>/<name>.png`` or ``<class>/<name>.png``; classes may be nested."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from harness.errors import HarnessError, choices
from harness.trial.contracts import DataRequest
from harness.trial.options import REQUIRED, option
from suites.data.archive import SPLITS, SourcePath, open_tree, place_of
from suites.data.cache import cached
from suites.data.photographs import centre_square, opened
from suites.data.splitting import SPELLED, USUAL, split_with
from suites.data.types import Array, Images, ImageSplit, Labels, held_out

READER = "imagefolder/2"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm")
PARTS = tuple(SPLITS)
UNSPLIT = -1
"""Split of an image outside split folders."""
CLASS_FROM = ("path", "first", "last")
ARRAYS = ("images", "parts", "labels", "classes")


@dataclass(frozen=True, slots=True)
class Listing:
    """Files of a tree (none once decoded), their splits (places in ``PARTS``) and classes."""

    files: tuple[str, ...]
    parts: Labels
    labels: Labels
    classes: tuple[str, ...]


def list_images(
    names: Sequence[str],
    source: str,
    class_from: str = "path",
    suffixes: tuple[str, ...] = SUFFIXES,
    things: str = "images",
) -> Listing:
    """List images, or other ``things``, of a tree: sorted by split, class and name.

    If a folder is named like a split, the folders below it are the class. Otherwise the folders below the common parent
    of all images are, and every image's split is ``UNSPLIT``.
    """
    paths = [PurePosixPath(name) for name in names]
    paths = [path for path in paths if path.suffix.lower() in suffixes and not path.name.startswith(".")]
    listed = [row for path in paths if (row := _in_split(path)) is not None]
    if not listed:
        listed = _flat(paths, source, suffixes, things)
    elif not any(part == 0 for _, part, _ in listed):
        raise HarnessError(
            f"{source}: no {things} in train/<class>/; expected <split>/<class>/<name> with split train, "
            f"val (or validation) or test and a suffix of {', '.join(suffixes)}"
        )
    rows = [(part, _class(folders, class_from), str(path)) for path, part, folders in listed]
    parts, classes_of, files = zip(*sorted(rows), strict=True)
    classes, labels = np.unique(classes_of, return_inverse=True)
    return Listing(files, np.array(parts, dtype=np.int64), labels, tuple(classes.tolist()))


Listed = tuple[PurePosixPath, int, tuple[str, ...]]
"""An image, its split (number in ``PARTS``), and the folders of its class."""


def _in_split(path: PurePosixPath) -> Listed | None:
    """Use the last folder with folders below that names a split."""
    folders = path.parts[:-1]
    for place in range(len(folders) - 2, -1, -1):
        split = SPELLED.get(folders[place].lower())
        if split is not None:
            return path, PARTS.index(split), folders[place + 1 :]
    return None


def _flat(pictures: Sequence[PurePosixPath], source: str, suffixes: tuple[str, ...], things: str) -> list[Listed]:
    folders = [path.parts[:-1] for path in pictures]
    shared = len(list(takewhile(lambda level: len(set(level)) == 1, zip(*folders, strict=False))))
    inside = [(path, UNSPLIT, path.parts[shared:-1]) for path in pictures if len(path.parts) > shared + 1]
    if len({names for _, _, names in inside}) < 2:
        raise HarnessError(
            f"{source}: {things} of {'a single class' if pictures else 'no class'}; expected <split>/<class>/<name> "
            f"with split train, val (or validation) or test, or <class>/<name> with several classes, and a suffix of "
            f"{', '.join(suffixes)}"
        )
    outside = [path for path in pictures if len(path.parts) <= shared + 1]
    if outside:
        warnings.warn(
            f"{source}: {len(outside)} {things} outside class folders are ignored: {outside[0]}", stacklevel=4
        )
    return inside


def _class(folders: tuple[str, ...], class_from: str) -> str:
    return {"path": "/".join(folders), "first": folders[0], "last": folders[-1]}[class_from]


def decode(files: Sequence[str], read: Callable[[str], bytes], size: int, source: str) -> Array:
    """Decode images (N, 3, H, W) ``uint8``; ``size`` > 0 cuts centre squares of that side.

    Raises:
        HarnessError: a file cannot be decoded, or sizes differ while ``size`` is 0.
    """
    out: Array | None = None
    for place, name in enumerate(files):
        picture = opened(read(name), "RGB", f"{source}: {name}")
        image = np.asarray(centre_square(picture, size, size) if size else picture).transpose(2, 0, 1)
        if out is None:
            out = np.empty((len(files), *image.shape), dtype=np.uint8)
        if image.shape != out.shape[1:]:
            raise HarnessError(
                f"{source}: {name} is {image.shape[2]}×{image.shape[1]}, others are {out.shape[3]}×{out.shape[2]}; set "
                f"size to resize them to squares"
            )
        out[place] = image
    assert out is not None  # a listing is never empty
    return out


def as_arrays(images: Array, listing: Listing) -> dict[str, Array]:
    """Arrays of images and their listing (without file names) for the cache."""
    return {"images": images, "parts": listing.parts, "labels": listing.labels, "classes": np.array(listing.classes)}


def from_arrays(arrays: Mapping[str, Array]) -> tuple[Array, Listing]:
    """Invert ``as_arrays``."""
    parts, labels = (np.asarray(arrays[name], dtype=np.int64) for name in ("parts", "labels"))
    return arrays["images"], Listing((), parts, labels, tuple(str(name) for name in arrays["classes"]))


def read(place: SourcePath, size: int, class_from: str = "path") -> tuple[Array, Listing]:
    """Read all images of a folder or archive, with a cache."""

    def make() -> dict[str, Array]:
        with open_tree(place.path, place.source) as tree:
            listing = list_images(tree.names(), place.source, class_from)
            return as_arrays(decode(listing.files, tree.read, size, place.source), listing)

    return from_arrays(cached((READER, place.checksum, f"size {size} class {class_from}"), ARRAYS, make))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTreeOptions:
    """Sizes and splits of images in folders by class."""

    size: int = option(0, "side in pixels after resizing and a centre crop; 0: as stored", low=0, high=1024)
    validation: int = option(0, "images moved from training to validation if no folder has them", low=0)
    split_by: str = option("folder", "folder: as stored; class: classes disjoint", choices=("folder", "class"))
    train_classes: int = option(0, "with split_by class: classes to train on", low=0)
    validation_classes: int = option(0, "with split_by class: classes to validate on", low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFolderOptions(ImageTreeOptions):
    """Options of the layout ``imagefolder``."""

    path: str = option(REQUIRED, "folder or archive, absolute or below HARNESS_DATA")
    split: Mapping[str, Any] = option({}, "{validation: 0.1, test: 0.2}: shares or counts of random splits")
    class_from: str = option(
        "path", "nested folders that name the class: all, the first or the last", choices=CLASS_FROM
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenClassesOptions(ImageTreeOptions):
    """Options of a named source with selectable classes."""

    classes: str = option("", "names of the classes to keep, separated by blanks; empty: all")


def splits_of(images: Array, listing: Listing, request: DataRequest[ImageTreeOptions]) -> Images:
    """Split images by folder or by class.

    As published: without a ``test`` folder the validation folder is the test. ``validation`` images are taken from
    the training folder if they have no folder. By class (``split_by: class``): all folders together, the
    classes divided at random by the stream ``split``.
    """
    by_class = request.options.split_by == "class"
    places = _by_class(listing, request) if by_class else _as_published(listing, request)
    return of_places(images, listing, {name: np.sort(chosen) for name, chosen in places.items()})


def of_places(images: Array, listing: Listing, places: Mapping[str, Labels]) -> Images:
    """Images of each split; ascending ``places`` read the memory-mapped array forwards."""
    splits = {
        name: ImageSplit(np.ascontiguousarray(images[chosen]), listing.labels[chosen], chosen)
        for name, chosen in places.items()
        if len(chosen)
    }
    return Images(splits, listing.classes)


def _as_published(listing: Listing, request: DataRequest[ImageTreeOptions]) -> dict[str, Labels]:
    source, wanted = request.name, request.options.validation
    places = {name: (listing.parts == part).nonzero()[0] for part, name in enumerate(PARTS)}
    if not len(places["test"]):
        places["test"], places["validation"] = places["validation"], places["test"]
    if not len(places["test"]):
        raise HarnessError(f"{source}: no images in test/<class>/ or val/<class>/ to score on")
    if not len(places["validation"]) and wanted:
        places |= held_out(request, places["train"], wanted)
    return places


def _by_class(listing: Listing, request: DataRequest[ImageTreeOptions]) -> dict[str, Labels]:
    options, source = request.options, request.name
    counts = [options.train_classes, options.validation_classes]
    total = len(listing.classes)
    if counts[0] < 2 or sum(counts) > total - 2:
        raise HarnessError(
            f"{source}: train_classes {counts[0]} and validation_classes {counts[1]} of {total} classes; at least two "
            f"must train and two must remain for the test"
        )
    groups = np.split(request.streams.numpy("split", source, "classes").permutation(total), np.cumsum(counts))
    return {name: np.isin(listing.labels, group).nonzero()[0] for name, group in zip(PARTS, groups, strict=True)}


def own_splits(
    listing: Listing, wanted: Mapping[str, object], request: DataRequest[Any], things: str = "images"
) -> dict[str, Labels]:
    """Split by folder, with ``wanted`` parts drawn from training; else at random, every class evenly."""
    places = {name: (listing.parts == part).nonzero()[0] for part, name in enumerate(PARTS)}
    if (listing.parts == UNSPLIT).all():
        places = {}
    return split_with(
        request, {name: part for name, part in places.items() if len(part)}, wanted, listing.labels, things=things
    )


def load_folder(request: DataRequest[ImageTreeOptions]) -> Images:
    """Read a named source."""
    images, listing = read(place_of(request), request.options.size)
    return splits_of(images, listing, request)


def of_classes(images: Array, listing: Listing, wanted: Sequence[str], source: str) -> tuple[Array, Listing]:
    """Select the images of some classes, renumbered in their old order."""
    for name in wanted:
        if name not in listing.classes:
            raise HarnessError(f"{source}: unknown class '{name}'; {choices(listing.classes, name)}")
    classes = tuple(name for name in listing.classes if name in wanted)
    numbers = [listing.classes.index(name) for name in classes]
    kept = np.isin(listing.labels, numbers).nonzero()[0]
    labels = np.searchsorted(numbers, listing.labels[kept])
    return images[kept], Listing((), listing.parts[kept], labels, classes)


def load_classes(request: DataRequest[ChosenClassesOptions]) -> Images:
    """Read a named source with only the classes in ``classes``."""
    images, listing = read(place_of(request), request.options.size)
    wanted = request.options.classes.split() or listing.classes
    return splits_of(*of_classes(images, listing, wanted, request.name), request)


def load_own(request: DataRequest[ImageFolderOptions]) -> Images:
    """Read a user's folder or archive at ``path``."""
    options = request.options
    images, listing = read(place_of(request), options.size, options.class_from)
    unsplit = bool((listing.parts == UNSPLIT).all())
    if options.split_by == "class" or not (options.split or unsplit):
        if options.split:
            raise HarnessError(f"{request.name}: set 'split' or 'split_by: class', not both")
        return splits_of(images, listing, request)
    wanted = dict(options.split)
    if options.validation:
        if any(SPELLED.get(str(name).lower()) == "validation" for name in wanted):
            raise HarnessError(f"{request.name}: set 'validation' or 'split: {{validation: …}}', not both")
        wanted = {**(wanted or {"test": USUAL["test"]} if unsplit else wanted), "validation": options.validation}
    return of_places(images, listing, own_splits(listing, wanted, request))
