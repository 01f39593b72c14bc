"""Every registered data source: reads its shipped or tiny copy, is a function of the seed, refuses damage and absence.

Tiny copies are those of ``suites.fixtures``; a user's own folder of each layout is written here. A small real set with
a fixed checksum is its layout's reader behind that checksum: read where HARNESS_DATA has it, refused where its file is
of another content.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from harness import registry
from harness.data.locate import require_data
from harness.errors import HarnessError, MissingDataError
from harness.trial.contracts import DataRequest
from harness.trial.options import build
from harness.trial.seeds import Streams
from suites.data.sounds import SoundFiles
from suites.data.types import ImageFiles
from suites.fixtures import images, signals
from suites.fixtures.published import WRITERS, copy_of
from suites.tasks.decoding import decode_centre

SOURCES = {name: entry for name, entry in registry.entries("data").items() if entry.card.content != "weights"}
SHIPPED = sorted(
    name
    for name, entry in SOURCES.items()
    if entry.card.origin != "folder" and not any(file.startswith("data:") for file in entry.card.files)
)
FOLDERS = sorted(name for name, entry in SOURCES.items() if entry.card.origin == "folder")
PUBLISHED = sorted(set(WRITERS) & set(SOURCES))
FIXED = sorted(set(SOURCES) - {*SHIPPED, *FOLDERS, *PUBLISHED})
ONE_SET = {"nothing": "it is nothing", "digit-pairs": "its items are drawn from the option sample, not from the seed"}


def write_folders(root: Path) -> None:
    for split in ("train", "val", "test"):
        for label in ("cats", "dogs"):
            for number in range(3):
                images.picture(root / split / label / f"{number}.png", number + len(label + split), 20, 16)


def write_voc(root: Path) -> None:
    for number in range(4):
        images.picture(root / "JPEGImages" / f"{number}.jpg", number, 40, 30)
        (root / "Annotations").mkdir(exist_ok=True)
        box = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax><ymax>25</ymax></bndbox>"
        (root / "Annotations" / f"{number}.xml").write_text(
            f"<annotation><filename>{number}.jpg</filename><size><width>40</width><height>30</height>"
            f"<depth>3</depth></size><object><name>cat</name><difficult>0</difficult>{box}</object></annotation>"
        )
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for split, names in (("train", "0\n1\n2\n"), ("test", "3\n")):
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text(names)


def write_sounds(root: Path) -> None:
    for number, split in enumerate(("train", "train", "validation", "test")):
        signals.tone(root / split / "low" / f"{number}.wav", number, 0.2)
        signals.tone(root / split / "high" / f"{number}.wav", number + 9, 0.2)


def write_tagged(root: Path) -> None:
    for number, split in enumerate(("train", "train", "train", "test")):
        signals.tone(root / split / f"{number}.wav", number, 0.2)
    rows = [f"train/{number}.wav,1,{number % 2}\n" for number in range(3)]
    (root / "train.csv").write_text("file,flute,oboe\n" + "".join(rows))
    (root / "test.csv").write_text("file,flute,oboe\ntest/3.wav,0,1\n")


def write_pairs(root: Path) -> None:
    for split, count in (("train", 4), ("test", 2)):
        for number in range(count):
            images.picture(root / split / f"photo{number}_a.png", number, 20, 20)
            images.mask(root / f"masks_{split}" / f"{number}.png", number, 20)


def write_rows(root: Path) -> None:
    root.mkdir(parents=True)
    for split, count in (("train", 12), ("test", 6)):
        rows = [f"{number},{['red', 'blue'][number % 2]},{'ab'[number // 2 % 2]}" for number in range(count)]
        (root / f"{split}.csv").write_text("\n".join(["length,colour,kind", *rows]))


def write_reviews(root: Path) -> None:
    root.mkdir(parents=True)
    for split, count in (("train", 12), ("test", 6)):
        rows = [f"film {number},{['good', 'bad'][number % 2]}" for number in range(count)]
        (root / f"{split}.csv").write_text("\n".join(["text,label", *rows]))


def write_letters(root: Path) -> None:
    for split, label, number in product(("train", "val", "test"), ("kind", "rude"), range(3)):
        file = root / split / label / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{label} letter {number} to {split}")


def write_hub(root: Path) -> None:
    (root / "data").mkdir(parents=True)
    for split, count in (("train", 6), ("test", 4)):
        pictures = []
        for number in range(count):
            images.picture(root / "made.png", number, 20, 16)
            pictures.append({"bytes": (root / "made.png").read_bytes(), "path": None})
        (root / "made.png").unlink()
        table = pa.table({"image": pictures, "label": [number % 2 for number in range(count)]})
        parquet.write_table(table, root / "data" / f"{split}-00000-of-00001.parquet")


def within(write: Callable[[Path], None], folder: str) -> Callable[[Path], None]:
    """A writer of a published set, of which ``folder`` alone is the user's own."""

    def own(root: Path) -> None:
        write(root.parent / "published")
        shutil.move(root.parent / "published" / folder, root)

    return own


Layout = tuple[Callable[[Path], None], Mapping[str, Any]]
# A user's own folder of each layout, and the options that read it.
OWN: Mapping[str, Layout] = {
    "audiofolder": (write_sounds, {"seconds": 0.1}),
    "audiotags": (write_tagged, {"seconds": 0.1}),
    "coco": (within(images.write_coco2017, "coco2017"), {}),
    "csi": (within(signals.write_wifall, "wifall"), {}),
    "huggingface": (write_hub, {}),
    "idx": (within(signals.write_mnist, "mnist"), {}),
    "imagefolder": (write_folders, {}),
    "imagepairs": (write_pairs, {}),
    "paralleltext": (within(WRITERS["iwslt14-de-en"], "iwslt14.tokenized.de-en"), {}),
    "table": (write_rows, {"target": "kind"}),
    "textfolder": (write_letters, {}),
    "texttable": (write_reviews, {}),
    "tokens": (within(WRITERS["wikitext2"], "wikitext-2"), {}),
    "voc": (write_voc, {}),
}
# Which file of a layout is overwritten to damage it: tables and lists where there are, else an item.
DAMAGED = {
    "audiofolder": "test/*/*.wav",
    "audiotags": "test.csv",
    "cars196": "cars_annos.mat",
    "celeba": "*.txt",
    "cifar": "*/test*",
    "coco": "*.json",
    "csi": "*.csv",
    "cub": "images.txt",
    "dcase2017-task4": "*.csv",
    "huggingface": "*.parquet",
    "idx": "train-images*",
    "imagefolder": "train/*/*.*",
    "imagepairs": "test/*.png",
    "inshop": "list_eval_partition.txt",
    "magnatagatune": "*.csv",
    "paralleltext": "train*.de",
    "paris-streetview": "*.png",
    "places365": "*.jpg",
    "sop": "Ebay_train.txt",
    "speech-commands": "a_nohash_0.wav",
    "table": "test.csv",
    "textfolder": "test/*/*.txt",
    "texttable": "test.csv",
    "tokens": "*train*",
    "voc": "Annotations/*.xml",
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


def written(name: str, root: Path) -> dict[str, Any]:
    """The data part that reads a source's copy, which now lies in ``root``."""
    if name in OWN:
        write, options = OWN[name]
        root.mkdir(parents=True)
        write(root / "own")
        return {"name": name, "path": "own", **options}
    part = copy_of(name, {"name": name}, root)
    assert part is not None
    return part


def load(part: Mapping[str, Any], root: Path, seed: int = 0) -> Any:
    source, entry = registry.load("data", str(part["name"])), SOURCES[str(part["name"])]
    known = entry.options
    wanted = {} if part["name"] in SHIPPED else {"validation": 1, "size": 64}
    # A layout of small images has its own sizes.
    wanted = {key: value for key, value in wanted.items() if key in known and known[key].default in (0, 224, 256, 512)}
    given = {key: value for key, value in part.items() if key != "name"}
    files = {file: entry.card.sha256.get(file, "") for file in entry.card.files}
    options = build(source.options, {**wanted, **given})
    return source.target(DataRequest(options, root, Streams(seed), entry.name, files))


def leaves(value: Any) -> Iterator[bytes]:
    """Everything that a source yields, files decoded, as bytes."""
    if isinstance(value, ImageFiles):
        yield from (decode_centre(path, value.size, value.resize).tobytes() for path in dict.fromkeys(value.paths))
    elif isinstance(value, SoundFiles):
        yield from (np.asarray(value.read(place)).tobytes() for place in range(len(value)))
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from leaves(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key in value:
            yield str(key).encode()
            yield from leaves(value[key])
    elif isinstance(value, tuple | list):
        for item in value:
            yield from leaves(item)
    else:
        yield value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()


def digest(data: Any) -> str:
    """One number for all that a source yields."""
    return hashlib.sha256(b"".join(leaves(data))).hexdigest()


def test_every_source_is_read_here() -> None:
    assert set(OWN) == set(FOLDERS), "a new layout: write a user's folder of it"
    layouts = {SOURCES[name].card.layout for name in (*FOLDERS, *PUBLISHED)}
    assert layouts == set(DAMAGED), "a new layout: say which of its files to damage"
    assert {SOURCES[name].card.layout for name in FIXED} <= set(FOLDERS), "a new published source: give it a tiny copy"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_and_generated_data_are_a_function_of_the_seed(name: str, tmp_path: Path) -> None:
    first, again, other = (digest(load({"name": name}, tmp_path, seed)) for seed in (0, 0, 1))
    assert first == again
    assert (first == other) is (name in ONE_SET)


@pytest.mark.parametrize("name", [*FOLDERS, *PUBLISHED])
def test_a_copy_is_read_alike_each_time_and_refused_once_damaged(name: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    part = written(name, root)
    first, again = (digest(load(part, root)) for _ in range(2))
    assert first == again
    pattern = DAMAGED[SOURCES[name].card.layout]
    file = min(path for path in root.rglob(pattern) if path.is_file())
    file.write_bytes(b"\xff\xfe no such thing\n")
    with pytest.raises(HarnessError) as refused:
        digest(load(part, root))
    message = str(refused.value)
    assert file.name in message or name in message
    assert "\n" not in message


@pytest.mark.parametrize("name", sorted(set(SOURCES) - set(SHIPPED) - set(FOLDERS)))
def test_an_absent_set_is_named_with_the_command_that_gets_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    for read in (lambda: require_data(name), lambda: load({"name": name}, tmp_path)):
        with pytest.raises(MissingDataError, match=name):
            read()
    with pytest.raises(MissingDataError, match=f"harness data fetch {name}"):
        require_data(name)


@pytest.mark.parametrize("name", FIXED)
def test_a_file_of_another_content_is_refused(name: str, tmp_path: Path) -> None:
    for file in SOURCES[name].card.files:
        path = tmp_path / file.partition(":")[2]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"another content")
    with pytest.raises(HarnessError) as refused:
        load({"name": name}, tmp_path)
    assert path.name in str(refused.value) or SOURCES[name].card.files[0].rpartition("/")[2] in str(refused.value)
    assert "\n" not in str(refused.value)
