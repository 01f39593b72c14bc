"""Tiny copies of every data source: a user's own folder of each layout, and those of ``suites.fixtures``."""

import shutil
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from suites.fixtures import images, signals
from suites.fixtures.published import WRITERS, copy_of


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
    """A writer of a published set, with one folder as the user's."""

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


def written(name: str, root: Path) -> dict[str, Any]:
    """Write a source's copy, and return the data part that reads it."""
    if name in OWN:
        write, options = OWN[name]
        root.mkdir(parents=True)
        write(root / "own")
        return {"name": name, "path": "own", **options}
    part = copy_of(name, {"name": name}, root)
    assert part is not None
    return part
