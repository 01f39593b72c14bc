"""ImageNet-1k (ILSVRC 2012) as ImageFolder: ``train/<wnid>/*.JPEG`` and ``val/<wnid>/*.JPEG``.

The images stay in their files. The labels of the published test are not public: the 50,000 validation images are the
test here, as in the papers, and a recipe may move training images to validation.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from harness.trial.options import option
from suites.data.archive import missing
from suites.data.types import ImageFiles, Images, ImageSplit, Labels, held_out

SUFFIXES = (".jpeg", ".jpg", ".png")
# of the training images, as in every ImageNet recipe of the field
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def list_split(folder: Path, classes: tuple[str, ...]) -> tuple[tuple[Path, ...], Labels]:
    """List the files and class numbers of a split, sorted."""
    files: list[Path] = []
    labels: list[int] = []
    for number, name in enumerate(classes):
        try:
            with os.scandir(folder / name) as entries:
                names = sorted(entry.name for entry in entries if entry.name.lower().endswith(SUFFIXES))
        except OSError as error:
            raise HarnessError(f"imagenet: {folder / name} cannot be listed: {error}") from error
        files += [folder / name / file for file in names]
        labels += [number] * len(names)
    if not files:
        raise HarnessError(f"imagenet: no images in {folder}/<class>/")
    return tuple(files), np.array(labels, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class CropOptions:
    """Cuts of photographs in files; published sets have no other option."""

    size: int = option(224, "side of the crop, pixels", low=8)
    resize: int = option(256, "shorter side before the centre crop in evaluation, pixels", low=8)

    def files(self, paths: Iterable[Path], source: str) -> ImageFiles:
        """Describe images in files with these cuts (HarnessError if too small)."""
        if self.resize < self.size:
            raise HarnessError(f"{source}: resize {self.resize} is smaller than the crop, size {self.size}")
        return ImageFiles(tuple(paths), self.size, self.resize)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageNetOptions(CropOptions):
    """Options of the data source ``imagenet``."""

    validation: int = option(0, "images moved from training to validation", low=0)


def load(request: DataRequest[ImageNetOptions]) -> Images:
    """Images by file, labels by the alphabetical order of class folders."""
    options = request.options
    folders = {name: request.root / "imagenet" / part for name, part in (("train", "train"), ("test", "val"))}
    for folder in folders.values():
        if not folder.is_dir():
            raise missing("imagenet", folder)
    classes = tuple(sorted(path.name for path in folders["train"].iterdir() if path.is_dir()))
    others = {path.name for path in folders["test"].iterdir() if path.is_dir()}
    if not classes or set(classes) != others:
        raise HarnessError(
            f"imagenet: {folders['train']} has {len(classes)} class folders, {folders['test']} {len(others)}; expected "
            f"the same names in both, such as n01440764 (the published val images must be sorted into them)"
        )
    files, labels = list_split(folders["train"], classes)
    places = held_out(request, np.arange(len(files)), options.validation)
    splits = {
        name: ImageSplit(options.files((files[place] for place in chosen), "imagenet"), labels[chosen], chosen)
        for name, chosen in places.items()
        if len(chosen)
    }
    held, held_labels = list_split(folders["test"], classes)
    items = np.arange(len(files), len(files) + len(held), dtype=np.int64)
    splits["test"] = ImageSplit(options.files(held, "imagenet"), held_labels, items)
    return Images(splits, classes, MEAN, STD)
