"""Places2, CelebA and Paris StreetView with irregular masks (Liu et al., ECCV 2018).

Images and masks stay in their files. Masks: ``irregular-masks/irregular_mask/disocclusion_img_mask/*.png`` to train,
``irregular-masks/mask/testing_mask_dataset/*.png`` to test, as unpacked from their two archives.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from harness.trial.options import option
from suites.data.archive import missing, text_of
from suites.data.imagepairs import ImagePairs, MaskFiles, PairSplit
from suites.data.types import ImageFiles, held_out

SUFFIXES = (".jpeg", ".jpg", ".png")
MASKS = {
    "train": "irregular-masks/irregular_mask/disocclusion_img_mask",
    "test": "irregular-masks/mask/testing_mask_dataset",
}
FOLDERS = {
    "places2": {"train": "data_256", "test": "val_256"},  # Places365-standard: 36,500 validation images are the test
    "paris-streetview": {"train": "paris_train_original", "test": "paris_eval_gt"},
}
PARTITIONS = {"0": "train", "1": "validation", "2": "test"}
Files = dict[str, list[Path]]


def files_below(folder: Path, source: str) -> list[Path]:
    """List every image below a folder, sorted."""
    if not folder.is_dir():
        raise missing(source, folder)
    files = [
        Path(parent) / name
        for parent, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(SUFFIXES) and not name.startswith(".")
    ]
    if not files:
        raise HarnessError(f"{source}: no images below {folder}")
    return sorted(files)


def celeba_files(root: Path) -> Files:
    """Split ``img_align_celeba/*.jpg`` by ``list_eval_partition.txt``: a file name and 0, 1 or 2 a line."""
    base = root / "celeba"
    listed = base / "list_eval_partition.txt"
    lines = text_of(listed, "celeba").splitlines()
    there = {path.name: path for path in files_below(base / "img_align_celeba", "celeba")}
    files: Files = {name: [] for name in PARTITIONS.values()}
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 2 or parts[1] not in PARTITIONS:
            raise HarnessError(f"celeba: line {number} of {listed} reads '{line}'; expected a file name and 0, 1 or 2")
        if parts[0] not in there:
            raise HarnessError(f"celeba: line {number} of {listed} names {parts[0]}, which is not in img_align_celeba/")
        files[PARTITIONS[parts[1]]].append(there[parts[0]])
    return files


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedOptions:
    """Options of the three sets, each with the irregular masks."""

    size: int = option(256, "side in pixels after resizing and a centre crop", low=16, high=1024)
    validation: int = option(0, "validation images, of the published split or of the training", low=0)
    train_hole: str = option("white", "colour of the hole in training masks", choices=("white", "black"))
    test_hole: str = option("white", "colour of the hole in test masks", choices=("white", "black"))


def load(request: DataRequest[MaskedOptions]) -> ImagePairs:
    """Splits of files; without a validation split, training images are used."""
    options, source = request.options, request.name
    if source == "celeba":
        files = celeba_files(request.root)
    else:
        files = {split: files_below(request.root / source / name, source) for split, name in FOLDERS[source].items()}
    size, wanted = options.size, options.validation
    if not files["train"] or not files["test"]:
        raise HarnessError(f"{source}: no images to {'train on' if not files['train'] else 'test on'}")
    if not files.get("validation") and wanted:
        chosen = held_out(request, np.arange(len(files["train"])), wanted)
        files |= {name: [files["train"][place] for place in places] for name, places in chosen.items()}
    elif wanted:
        files["validation"] = files["validation"][:wanted]
    holes = {"train": options.train_hole, "test": options.test_hole}
    masks = {
        name: MaskFiles(
            ImageFiles(tuple(files_below(request.root / folder, source)), size, size), holes[name] == "white"
        )
        for name, folder in MASKS.items()
    }
    splits, first = {}, 0
    for name in ("train", "validation", "test"):
        listed = files.get(name) or []
        if listed:
            items = np.arange(first, first + len(listed), dtype=np.int64)
            images = ImageFiles(tuple(listed), size, size)
            splits[name] = PairSplit(images, masks["test" if name == "test" else "train"], items)
            first += len(listed)
    return ImagePairs(splits)
