"""Images in folders by split and class: ``<split>/<class>/<name>.png``.

One layout, as folder or archive, serves user folders and named sources of this form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from harness.errors import HarnessError, choices
from harness.trial.contracts import DataRequest
from harness.trial.options import REQUIRED, option
from suites.data.archive import SPLITS, SourcePath, Tree, open_tree, place_of
from suites.data.cache import cached
from suites.data.photographs import centre_square, opened
from suites.data.types import Array, Images, ImageSplit, Labels, held_out

READER = "imagefolder/1"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm")
PARTS = tuple(SPLITS)


@dataclass(frozen=True, slots=True)
class Listing:
    """Contents of a tree: file (none once decoded), split (in ``PARTS``) and class."""

    files: tuple[str, ...]
    parts: Labels
    labels: Labels
    classes: tuple[str, ...]


def listing_of(rows: list[tuple[str, int, str]]) -> Listing:
    """List files with split and class, sorted: independent of the archive's order."""
    rows.sort(key=lambda row: (row[1], row[2], row[0]))
    files, parts, names = zip(*rows, strict=True)
    classes, labels = np.unique(names, return_inverse=True)
    return Listing(files, np.array(parts, dtype=np.int64), labels, tuple(classes.tolist()))


def list_images(names: Sequence[str], source: str) -> Listing:
    """List the images among a tree's names; folders above the split are ignored.

    Raises:
        HarnessError: ``train/<class>/`` has no image.
    """
    spelling = {name: part for part, spellings in enumerate(SPLITS.values()) for name in spellings}
    listed: list[tuple[str, int, str]] = []
    for name in names:
        path = PurePosixPath(name)
        if path.suffix.lower() not in SUFFIXES or len(path.parts) < 3 or path.name.startswith("."):
            continue
        part = spelling.get(path.parts[-3].lower())
        if part is not None:
            listed.append((name, part, path.parts[-2]))
    if not any(part == 0 for _, part, _ in listed):
        raise HarnessError(
            f"{source}: no images in train/<class>/; expected <split>/<class>/<name> with split train, "
            f"val or test and a suffix of {', '.join(SUFFIXES)}"
        )
    return listing_of(listed)


def decode(tree: Tree, files: Sequence[str], size: int, source: str) -> Array:
    """Decode images (N, 3, H, W) ``uint8``.

    ``size`` > 0 resizes the shorter side and cuts the centre square.

    Raises:
        HarnessError: a file cannot be decoded, or sizes differ while ``size`` is 0.
    """
    out: Array | None = None
    for place, name in enumerate(files):
        image = decode_one(tree.read(name), size, f"{source}: {name}")
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


def decode_one(content: bytes, size: int, where: str) -> Array:
    """Decode one image (3, H, W) ``uint8``; ``size`` as in ``decode``."""
    image = opened(content, "RGB", where)
    return np.asarray(centre_square(image, size, size) if size else image).transpose(2, 0, 1)


ARRAYS = ("images", "parts", "labels", "classes")


def as_arrays(images: Array, listing: Listing) -> dict[str, Array]:
    """Arrays of images and their listing (without file names) for the cache."""
    return {"images": images, "parts": listing.parts, "labels": listing.labels, "classes": np.array(listing.classes)}


def from_arrays(arrays: Mapping[str, Array]) -> tuple[Array, Listing]:
    """Invert ``as_arrays``."""
    parts, labels = (np.asarray(arrays[name], dtype=np.int64) for name in ("parts", "labels"))
    return arrays["images"], Listing((), parts, labels, tuple(str(name) for name in arrays["classes"]))


def read(place: SourcePath, size: int) -> tuple[Array, Listing]:
    """Read all images of a folder or archive, with a cache.

    Raises:
        HarnessError: a damaged archive or image, another layout.
    """

    def make() -> dict[str, Array]:
        with open_tree(place.path, place.source) as tree:
            listing = list_images(tree.names(), place.source)
            images = decode(tree, listing.files, size, place.source)
        return as_arrays(images, listing)

    return from_arrays(cached((READER, place.checksum, f"size {size}"), ARRAYS, make))


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
    """Options of a user folder."""

    path: str = option(REQUIRED, "folder or archive, absolute or below HARNESS_DATA")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenClassesOptions(ImageTreeOptions):
    """Options of a named source with selectable classes."""

    classes: str = option("", "names of the classes to keep, separated by blanks; empty: all")


def splits_of(images: Array, listing: Listing, request: DataRequest[ImageTreeOptions]) -> Images:
    """Split images by folder or by class.

    As published: without a ``test`` folder the validation folder is the test. ``validation`` images are taken from
    the training folder if they have no folder. By class (``split_by: class``): all folders together, the
    classes divided at random by the stream ``split``.

    Raises:
        HarnessError: too few images or classes.
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


def load_folder(request: DataRequest[ImageTreeOptions]) -> Images:
    """Read a user's folder or archive at ``path``, or a named one."""
    images, listing = read(place_of(request), request.options.size)
    return splits_of(images, listing, request)


def of_classes(images: Array, listing: Listing, wanted: Sequence[str], source: str) -> tuple[Array, Listing]:
    """Select the images of some classes, renumbered in their old order.

    Raises:
        HarnessError: an unknown class.
    """
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
