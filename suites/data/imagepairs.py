"""Images with hole masks: folders ``train``, ``val``, ``masks_train``, ``masks_val``, decoded into memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType

import numpy as np
from PIL import Image

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from harness.trial.options import REQUIRED, option
from harness.trial.seeds import Streams
from suites.data.archive import SourcePath, Tree, open_tree, place_of
from suites.data.cache import cached
from suites.data.imagefolder import SUFFIXES, decode
from suites.data.photographs import opened
from suites.data.types import Array, ImageFiles, Labels

READER = "imagepairs/1"
# Common names of a folder; the first is ours.
FOLDERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "train": ("train", "training"),
        "test": ("test", "testing", "val", "valid", "validation"),
        "train_masks": ("masks_train", "train_masks"),
        "test_masks": ("masks_test", "test_masks", "masks_val", "val_masks"),
    }
)


@dataclass(frozen=True, slots=True)
class MaskFiles:
    """Hole masks in files, resized to the images with nearest.

    Attributes:
        files: the image files.
        white: true if white is the hole, else black.
    """

    files: ImageFiles
    white: bool = True

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True, slots=True)
class PairSplit:
    """Images and masks of one split.

    In training each image gets a random mask; elsewhere image number i has mask number i modulo their number.

    Attributes:
        images: (N, 3, H, W) ``uint8``, or files.
        masks: (M, 1, H, W) ``uint8`` with 1 = hole, or files.
        items: (N,) number of each image in the whole source.
    """

    images: Array | ImageFiles
    masks: Array | MaskFiles
    items: Labels

    def __post_init__(self) -> None:
        if len(self.images) != len(self.items):
            raise ValueError(f"a split has {len(self.images)} images and {len(self.items)} item numbers")
        if not len(self.masks):
            raise ValueError("a split has no masks")
        arrays = isinstance(self.images, np.ndarray) and isinstance(self.masks, np.ndarray)
        if arrays and self.images.shape[2:] != self.masks.shape[2:]:  # type: ignore[union-attr]
            raise ValueError("images and masks differ in height or width")

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class ImagePairs:
    """Splits ``train``, ``test`` and perhaps ``validation``."""

    splits: Mapping[str, PairSplit]

    @property
    def size(self) -> int:
        """Height in pixels."""
        return int(self.splits["train"].images.shape[2])


def list_pairs(names: Sequence[str], source: str) -> dict[str, tuple[str, ...]]:
    """List files by folder of ``FOLDERS``, sorted; parent folders are ignored."""
    spelling = {name: folder for folder, spellings in FOLDERS.items() for name in spellings}
    listed: dict[str, list[str]] = {folder: [] for folder in FOLDERS}
    for name in names:
        path = PurePosixPath(name)
        if path.suffix.lower() in SUFFIXES and len(path.parts) >= 2 and not path.name.startswith("."):
            folder = spelling.get(path.parts[-2].lower())
            if folder is not None:
                listed[folder].append(name)
    for folder, files in listed.items():
        if not files:
            raise HarnessError(
                f"{source}: no images in {' or '.join(f'{name}/' for name in FOLDERS[folder])}; expected train/, val/, "
                f"masks_train/ and masks_val/ with images of {', '.join(SUFFIXES)}"
            )
    return {folder: tuple(sorted(files)) for folder, files in listed.items()}


def photograph(name: str) -> str:
    """Name of the photograph of a crop: up to the first underscore."""
    return PurePosixPath(name).stem.partition("_")[0]


def decode_masks(tree: Tree, files: Sequence[str], size: int, white: bool, source: str) -> Array:
    """Decode masks (M, 1, size, size) ``uint8``, 1 = hole; noise of a compressed mask is not a hole."""
    out = np.empty((len(files), 1, size, size), dtype=np.uint8)
    for place, name in enumerate(files):
        image = opened(tree.read(name), "L", f"{source}: {name}", "a mask")
        image = image.resize((size, size), Image.Resampling.NEAREST)
        lit = np.asarray(image) > 127
        out[place, 0] = lit if white else ~lit
        if out[place].all():
            raise HarnessError(f"{source}: {name} is all hole; is hole {'white' if white else 'black'} right?")
    return out


def read(place: SourcePath, size: int, white: bool) -> dict[str, Array]:
    """Read images and masks by folder; ``photographs`` are numbers of training photographs."""
    source = place.source

    def make() -> dict[str, Array]:
        with open_tree(place.path, source) as tree:
            files = list_pairs(tree.names(), source)
            arrays: dict[str, Array] = {
                name: decode(files[name], tree.read, size, source) for name in ("train", "test")
            }
            for name in ("train_masks", "test_masks"):
                arrays[name] = decode_masks(tree, files[name], size, white, source)
        numbers = {name: number for number, name in enumerate(sorted({photograph(name) for name in files["train"]}))}
        arrays["photographs"] = np.array([numbers[photograph(name)] for name in files["train"]], dtype=np.int64)
        return arrays

    return cached((READER, place.checksum, f"size {size}, white {white}"), (*FOLDERS, "photographs"), make)


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoCropsOptions:
    """Options of the crops of COCO photographs."""

    size: int = option(64, "side in pixels after resizing and a centre crop", low=16, high=1024)
    validation: int = option(16, "photographs moved from training to validation", low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePairsOptions(CocoCropsOptions):
    """Options of a user folder."""

    path: str = option(REQUIRED, "folder or archive, absolute or below HARNESS_DATA")
    hole: str = option("white", "colour of the hole in a mask", choices=("white", "black"))
    validation: int = option(0, "photographs (names up to the first _) moved from training to validation", low=0)


def splits_of(arrays: Mapping[str, Array], options: CocoCropsOptions, streams: Streams, source: str) -> ImagePairs:
    """Train and test as stored; ``validation`` photographs leave the training."""
    groups = np.asarray(arrays["photographs"], dtype=np.int64)
    wanted, there = options.validation, int(groups.max()) + 1
    if wanted >= there:
        raise HarnessError(f"{source}: validation {wanted} leaves none of {there} photographs to train on")
    held = np.isin(groups, streams.numpy("split", source).permutation(there)[:wanted])
    places: dict[str, Labels] = {"train": (~held).nonzero()[0], "validation": held.nonzero()[0]}
    images, masks = arrays["train"], arrays["train_masks"]
    splits = {
        name: PairSplit(np.ascontiguousarray(images[chosen]), masks, chosen)
        for name, chosen in places.items()
        if len(chosen)
    }
    count = len(arrays["test"])
    items = np.arange(len(images), len(images) + count, dtype=np.int64)
    splits["test"] = PairSplit(arrays["test"], arrays["test_masks"], items)
    return ImagePairs(splits)


def load_folder(request: DataRequest[CocoCropsOptions]) -> ImagePairs:
    """Read a user's folder or archive at ``path``, or a named one."""
    options = request.options
    white = not isinstance(options, ImagePairsOptions) or options.hole == "white"
    return splits_of(read(place_of(request), options.size, white), options, request.streams, request.name)
