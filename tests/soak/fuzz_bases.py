"""Small valid examples of everything that is read as data: what the fuzzer changes."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Layout:
    """A folder of data: who writes it, which source reads it, with which options; named: by its card."""

    write: Callable[[Path], None]
    source: str
    values: Mapping[str, Any] = field(default_factory=dict)
    named: bool = False


def picture(path: Path, number: int, side: int = 8) -> None:
    """A small picture of noise."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(number).integers(0, 255, (side, side, 3), dtype=np.uint8)).save(path)


def classes(folder: Path) -> None:
    """Two classes of pictures, split."""
    for part in ("train", "test"):
        for name in "ab":
            for number in range(3):
                picture(folder / part / name / f"{number}.png", number)
    picture(folder / "train" / "a" / "j.jpg", 9)


def _coco(folder: Path) -> None:
    for part in ("train", "val"):
        for number in range(3):
            picture(folder / part / f"{number}.png", number, 16)
        boxes = [
            {"id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": [1, 2, 6, 7], "area": 42, "iscrowd": 0}
            for n in range(3)
        ]
        content = {
            "images": [{"id": n, "file_name": f"{n}.png", "width": 16, "height": 16} for n in range(3)],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
            "annotations": boxes,
        }
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))


def _voc(folder: Path) -> None:
    for name in ("Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for number in range(4):
        picture(folder / "JPEGImages" / f"{number}.jpg", number, 16)
        (folder / "Annotations" / f"{number}.xml").write_text(
            f"<annotation><filename>{number}.jpg</filename><size><width>16</width><height>16</height><depth>3</depth></size>"
            "<object><name>cat</name><difficult>0</difficult><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax>"
            "</bndbox></object></annotation>"
        )
    for part, listed in (("train", "0\n1\n"), ("val", "2\n"), ("test", "3\n")):
        (folder / "ImageSets" / "Main" / f"{part}.txt").write_text(listed)


def sound(path: Path, number: int) -> None:
    """A short recording."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.random.default_rng(number).integers(-9999, 9999, 800, dtype=np.int16).tobytes())


def _sounds(folder: Path) -> None:
    for part in ("train", "test"):
        for name in "ab":
            for number in range(2):
                sound(folder / part / name / f"{number}.wav", number)


def _tags(folder: Path) -> None:
    for part in ("train", "test"):
        for number in range(3):
            sound(folder / "clips" / f"{part}{number}.wav", number)
        rows = "\n".join(f"clips/{part}{number}.wav,{number % 2},{1 - number % 2}" for number in range(3))
        (folder / f"{part}.csv").write_text(f"file,drum,flute\n{rows}\n")


def _masks(folder: Path) -> None:
    from PIL import Image

    for part in ("train", "val"):
        for number in range(3):
            picture(folder / part / f"{number}.png", number, 16)
            (folder / f"masks_{part}").mkdir(exist_ok=True)
            hole = np.zeros((16, 16), dtype=np.uint8)
            hole[4:12, 4:12] = 255
            Image.fromarray(hole).save(folder / f"masks_{part}" / f"{number}.png")


def _csi(folder: Path) -> None:
    for person in ("ID0", "ID1"):
        for action in ("fall", "walk"):
            path = folder / person / action / "1.csv"
            path.parent.mkdir(parents=True)
            numbers = np.random.default_rng(1).integers(-20, 20, (12, 8))
            path.write_text("type,data\n" + "".join(f'CSI,"[{",".join(map(str, row))}]"\n' for row in numbers))


def _tokens(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "valid", "test"):
        (folder / f"{part}.txt").write_text("the cat sat on the mat\n" * 20)


def _pairs(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "valid", "test"):
        (folder / f"{part}.de").write_text("die Katze saß auf der Matte\n" * 8, encoding="utf-8")
        (folder / f"{part}.en").write_text("the cat sat on the mat\n" * 8)


def _rows() -> list[dict[str, Any]]:
    return [
        {
            "x": 0.5 * number,
            "kind": "ab"[number % 2],
            "label": "yes" if number % 3 else "no",
            "text": f"some text {number}",
        }
        for number in range(24)
    ]


def _csv(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = _rows()
    text = "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]) + "\n"
    for part in ("train", "test"):
        (folder / f"{part}.csv").write_text(text)


def _parquet(folder: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "test"):
        parquet.write_table(pa.Table.from_pylist(_rows()), folder / f"{part}.parquet")


def _jsonl(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "test"):
        (folder / f"{part}.jsonl").write_text("\n".join(map(json.dumps, _rows())) + "\n")


def _texts(folder: Path) -> None:
    for part in ("train", "test"):
        for name in "ab":
            (folder / part / name).mkdir(parents=True)
            for number in range(2):
                (folder / part / name / f"{number}.txt").write_text(f"this is text {number} of {name}\n")


def _hub(folder: Path) -> None:
    for part in ("train", "test"):
        for number in range(4):
            picture(folder / part / f"{number}.png", number)
        rows = "\n".join(json.dumps({"file_name": f"{number}.png", "label": number % 2}) for number in range(4))
        (folder / part / "metadata.jsonl").write_text(rows + "\n")


def _published(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        from suites.fixtures.published import WRITERS

        WRITERS[name](folder)

    return write


def _idx(folder: Path) -> None:
    from suites.fixtures.signals import write_mnist

    write_mnist(folder.parent)
    made = next(path.parent for path in folder.parent.rglob("train-images*"))
    made.rename(folder)


PUBLISHED = (
    "cifar10",
    "cifar100",
    "cub",
    "cars196",
    "inshop",
    "sop",
    "ptb",
    "mnist",
    "speech-commands",
    "magnatagatune",
    "dcase2017-task4",
    "iwslt14-de-en",
)
LAYOUTS: dict[str, Layout] = {
    "imagefolder": Layout(classes, "imagefolder", {"size": 8}),
    "imagefolder by class": Layout(classes, "imagefolder", {"size": 8, "split": {"validation": 0.3}}),
    "huggingface": Layout(_hub, "huggingface", {"size": 8}),
    "idx": Layout(_idx, "idx"),
    "coco": Layout(_coco, "coco", {"size": 16}),
    "voc": Layout(_voc, "voc", {"size": 16}),
    "audiofolder": Layout(_sounds, "audiofolder", {"seconds": 0.1, "rate": 8000}),
    "audiotags": Layout(_tags, "audiotags", {"seconds": 0.1, "rate": 8000}),
    "imagepairs": Layout(_masks, "imagepairs", {}),
    "csi": Layout(_csi, "csi", {"packets": 4, "steps": 2}),
    "tokens": Layout(_tokens, "tokens"),
    "paralleltext": Layout(_pairs, "paralleltext"),
    "table csv": Layout(_csv, "table", {"target": "label"}),
    "table parquet": Layout(_parquet, "table", {"target": "label"}),
    "texttable": Layout(_jsonl, "texttable"),
    "texttable csv": Layout(_csv, "texttable"),
    "textfolder": Layout(_texts, "textfolder"),
    **{f"published {name}": Layout(_published(name), name, named=True) for name in PUBLISHED},
}


def weights(folder: Path, form: str) -> Path:
    """A file of weights."""
    import torch
    from safetensors.torch import save_file

    tensors = {"conv.weight": torch.zeros(4, 3, 3, 3), "head.bias": torch.ones(7)}
    path = folder / f"w.{form}"
    if form == "safetensors":
        save_file(tensors, str(path), {"format": "pt"})
    else:
        torch.save(
            tensors if form == "pt" else {"state_dict": tensors}, path, _use_new_zipfile_serialization=form != "old.pt"
        )
    return path
