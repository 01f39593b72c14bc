"""User images in folders by class, split by folder or at random.

Classes may be nested. Folders that ``suites.data.imagefolder`` reads give the same result; others are read too.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Any

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from harness.trial.options import option
from suites.data.archive import SourcePath, open_tree, place_of
from suites.data.cache import cached
from suites.data.imagefolder import (
    ARRAYS,
    PARTS,
    SUFFIXES,
    ImageFolderOptions,
    Listing,
    as_arrays,
    decode,
    from_arrays,
    listing_of,
    of_places,
    splits_of,
)
from suites.data.splitting import HELD, SPELLED, USUAL, drawn, shares_of
from suites.data.types import Array, Images, Labels

READER = "own-images/1"
UNSPLIT = -1
"""Split of an image outside split folders."""
CLASS_FROM = ("path", "first", "last")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnImageOptions(ImageFolderOptions):
    """Options of the layout ``imagefolder``."""

    split: Mapping[str, Any] = option({}, "{validation: 0.1, test: 0.2}: shares or counts of random splits")
    class_from: str = option(
        "path", "nested folders that name the class: all, the first or the last", choices=CLASS_FROM
    )


def list_own(
    names: Sequence[str],
    source: str,
    class_from: str = "path",
    suffixes: tuple[str, ...] = SUFFIXES,
    things: str = "images",
) -> Listing:
    """List images, or other ``things``, among a tree's names.

    If a folder is named like a split, the folders below it are the class. Otherwise the folders below the common parent
    of all images are, and every image's split is ``UNSPLIT``.

    Raises:
        HarnessError: no images, none for training, or fewer than two classes without a split.
    """
    pictures = [PurePosixPath(name) for name in names]
    pictures = [path for path in pictures if path.suffix.lower() in suffixes and not path.name.startswith(".")]
    listed = [row for path in pictures if (row := _in_split(path)) is not None]
    if not listed:
        listed = _flat(pictures, source, suffixes, things)
    elif not any(part == 0 for _, part, _ in listed):
        raise HarnessError(
            f"{source}: no {things} in train/<class>/; expected <split>/<class>/<name> with split train, "
            f"val (or validation) or test and a suffix of {', '.join(suffixes)}"
        )
    rows = [(str(path), part, _class(folders, class_from)) for path, part, folders in listed]
    return listing_of(rows)


Found = tuple[PurePosixPath, int, tuple[str, ...]]
"""An image, its split (number in ``PARTS``), and the folders of its class."""


def _in_split(path: PurePosixPath) -> Found | None:
    """Use the last folder with folders below that names a split."""
    folders = path.parts[:-1]
    for place in range(len(folders) - 2, -1, -1):
        split = SPELLED.get(folders[place].lower())
        if split is not None:
            return path, PARTS.index(split), folders[place + 1 :]
    return None


def _flat(pictures: Sequence[PurePosixPath], source: str, suffixes: tuple[str, ...], things: str) -> list[Found]:
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


def read_own(place: SourcePath, size: int, class_from: str) -> tuple[Array, Listing]:
    """Read all images of a folder or archive, with a cache.

    Raises:
        HarnessError: a damaged archive or image, another layout.
    """

    def make() -> dict[str, Array]:
        with open_tree(place.path, place.source) as tree:
            listing = list_own(tree.names(), place.source, class_from)
            images = decode(tree, listing.files, size, place.source)
        return as_arrays(images, listing)

    parts = (READER, place.checksum, f"size {size} class {class_from}")
    return from_arrays(cached(parts, ARRAYS, make))


def own_splits(
    listing: Listing, wanted: Mapping[str, object], request: DataRequest[Any], things: str = "images"
) -> dict[str, Labels]:
    """Split by folder, with ``wanted`` parts drawn from training; else at random.

    Every class is divided evenly. If validation is the only held-out part, it is the test.

    Raises:
        HarnessError: a requested split exists as a folder, or nothing remains to train or score on.
    """
    source = request.name
    shares = shares_of(wanted, source)
    if (listing.parts == UNSPLIT).all():
        return drawn(request, shares or USUAL, listing.labels, things=things)
    places = {name: (listing.parts == part).nonzero()[0] for part, name in enumerate(PARTS)}
    places = {name: part for name, part in places.items() if len(part)}
    if "test" not in places and not shares.get("test"):
        if "validation" not in places:
            raise HarnessError(
                f"{source}: no {things} in test/<class>/ or val/<class>/ to score on, and split: requests none"
            )
        places["test"] = places.pop("validation")
    for name in HELD:
        if name in places and shares.get(name):
            raise HarnessError(f"{source}: split: {request.options.path} has its own {name}; remove '{name}'")
    train = places["train"]
    return places | drawn(request, shares, listing.labels[train], among=train, things=things)


def load_own(request: DataRequest[OwnImageOptions]) -> Images:
    """Read a user's folder or archive at ``path``.

    Raises:
        MissingDataError: it does not exist.
        HarnessError: a damaged image, another layout, or an impossible split.
    """
    options = request.options
    images, listing = read_own(place_of(request), options.size, options.class_from)
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
