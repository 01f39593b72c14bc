"""Every layout of docs/your-own-data.md: its tree is made, its suite file runs, and a broken folder is one message."""

import io
import json
import re
import shutil
import struct
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tree_support import FENCE

from harness import registry
from harness.cli.group import run_main
from suites.fixtures.images import mask, picture
from suites.fixtures.signals import tone

PAGE = Path(__file__).parent.parent.parent / "docs" / "your-own-data.md"
SECTION = re.compile(r"^## (\w+): .*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
EACH = range(1, 5)


def layouts() -> dict[str, dict[str, str]]:
    """The fenced blocks of each layout's section, by language."""
    text = PAGE.read_text(encoding="utf-8")
    result = {match.group(1): dict(FENCE.findall(match.group(0))) for match in SECTION.finditer(text)}
    return {name: blocks for name, blocks in result.items() if "yaml" in blocks}


def named(text: str) -> str:
    """The file name that a block begins with."""
    return text.splitlines()[0].removeprefix("# ")


def write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def photos(root: Path) -> None:
    for split, (label, suffix), number in product(("train", "val", "test"), (("cat", "jpg"), ("dog", "png")), EACH):
        picture(root / split / label / f"{number:04d}.{suffix}", number, 48, 40)


def street(root: Path) -> None:
    categories = [{"id": 7, "name": "car"}, {"id": 3, "name": "bus"}]
    for split, first in (("train", 1), ("val", 3)):
        images, boxes = [], []
        for number in range(first, first + 4):
            picture(root / split / f"{number:04d}.jpg", number, 64, 48)
            images.append({"id": number, "file_name": f"{number:04d}.jpg", "width": 64, "height": 48})
            boxes.append({"id": number, "image_id": number, "category_id": 7, "bbox": [10, 10, 30, 25], "iscrowd": 0})
        text = json.dumps({"images": images, "annotations": boxes, "categories": categories})
        write_lines(root / "annotations" / f"instances_{split}.json", [text])


def cells(root: Path) -> None:
    box = "<bndbox><xmin>10</xmin><ymin>8</ymin><xmax>40</xmax><ymax>30</ymax></bndbox>"
    for number in range(1, 13):
        picture(root / "JPEGImages" / f"{number:04d}.jpg", number, 64, 48)
        text = f"<object><name>red</name>{box}</object>"
        size = "<size><width>64</width><height>48</height><depth>3</depth></size>"
        write_lines(root / "Annotations" / f"{number:04d}.xml", [f"<annotation>{size}{text}</annotation>"])
    write_lines(root / "ImageSets/Main/train.txt", [f"{number:04d}" for number in range(1, 9)])
    write_lines(root / "ImageSets/Main/test.txt", [f"{number:04d}" for number in range(9, 13)])


def glyphs(root: Path) -> None:
    root.mkdir(parents=True)
    draws = np.random.default_rng(0)
    for part, count in (("train", 12), ("t10k", 6)):
        arrays = draws.integers(0, 256, (count, 12, 12)), np.arange(count) % 3
        for kind, array in zip(("images-idx3", "labels-idx1"), arrays, strict=True):
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (root / f"{part}-{kind}-ubyte").write_bytes(head + array.astype(np.uint8).tobytes())


def pets(root: Path) -> None:
    for split in ("train", "test"):
        rows = [f"{number:04d}.png,{('cat', 'dog')[number % 2]}" for number in range(1, 9)]
        write_lines(root / split / "metadata.csv", ["file_name,label", *rows])
        for number in range(1, 9):
            picture(root / split / f"{number:04d}.png", number, 48, 40)


def patients(root: Path) -> None:
    for split, count in (("train", 24), ("validation", 6), ("test", 12)):
        rows = [f"{40 + n % 9},{('east', 'west')[n % 2]},{('well', 'ill')[n // 2 % 2]}" for n in range(count)]
        write_lines(root / f"{split}.csv", ["age,ward,outcome", *rows])


def letters_to_us(root: Path) -> None:
    for split, count in (("train", 24), ("validation", 6), ("test", 12)):
        rows = [
            f"it was {('fine', 'awful')[n % 2]} on day {n % 5},{('praise', 'complaint')[n % 2]}" for n in range(count)
        ]
        write_lines(root / f"{split}.csv", ["letter,kind", *rows])


def notices(root: Path) -> None:
    for split, label, number in product(("train", "test"), ("wanted", "offered"), range(1, 9)):
        write_lines(root / split / label / f"{number:04d}.txt", [f"{label}: a cat, number {number % 3}"])


def notes(root: Path) -> None:
    for split, count in (("train", 60), ("valid", 12), ("test", 12)):
        write_lines(root / f"{split}.txt", [f"the cat number {n % 5} saw dog {n % 3} ." for n in range(count)])


def letters(root: Path) -> None:
    words = {"de": ("Ich sehe", "Hunde und", "Katzen"), "en": ("I see", "dogs and", "cats")}
    for (side, (see, dogs, cats)), split in product(words.items(), ("train", "valid", "test")):
        lines = [f"{see} {n % 7} {dogs} {n % 3} {cats}." for n in range(24 if split == "train" else 6)]
        write_lines(root / f"{split}.{side}", lines)


def birds(root: Path) -> None:
    for split, (label, suffix), number in product(("train", "val", "test"), (("wren", "wav"), ("robin", "flac")), EACH):
        tone(root / split / label / f"{number:04d}.{suffix}", 10 * number + (label == "wren"), 0.5)


def tunes(root: Path) -> None:
    rows = {"train": range(1, 13), "test": range(13, 19)}
    for split, numbers in rows.items():
        write_lines(
            root / f"{split}.csv", ["file,guitar,voice", *(f"audio/{n:04d}.wav,{n % 2},{n // 2 % 2}" for n in numbers)]
        )
        for number in numbers:
            tone(root / "audio" / f"{number:04d}.wav", number, 0.5)


def scenes(root: Path) -> None:
    for split, first in (("train", 1), ("val", 2)):
        for number in range(first, first + 6):
            picture(root / split / f"{number:04d}.png", number, 40, 36)
            mask(root / f"masks_{split}" / f"{number - first + 1:04d}.png", number, 64)


def lab(root: Path) -> None:
    draws = np.random.default_rng(0)
    for person, action, take in product(("ID0", "ID1"), ("wave", "push"), range(1, 4)):
        packets = [json.dumps(row) for row in draws.integers(-60, 60, (200, 16)).tolist()]
        rows = [f'{number},"{row}"' for number, row in enumerate(packets)]
        write_lines(root / person / action / f"{take:03d}.csv", ["seq,data", *rows])


WRITERS: dict[str, Callable[[Path], None]] = {
    "imagefolder": photos,
    "coco": street,
    "voc": cells,
    "idx": glyphs,
    "tokens": notes,
    "paralleltext": letters,
    "audiofolder": birds,
    "audiotags": tunes,
    "imagepairs": scenes,
    "csi": lab,
    "huggingface": pets,
    "table": patients,
    "texttable": letters_to_us,
    "textfolder": notices,
}
# So few steps, and batches that the tiny folders can fill.
SHORT = {
    "": ["max_steps=2", "batch_size=4", "evaluations=1"],
    "paralleltext": ["max_tokens=64", "merges=20", "decode_limit=4"],
    "csi": ["epochs=2", "stop_latest=1", "stop_earliest=0", "fluctuation_epochs=2", "batch_size=4", "evaluations=1"],
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``arms.yaml``; the data folder is ``data`` in it."""
    pytest.importorskip("soundfile")
    (first, *_) = [text for kind, text in FENCE.findall(PAGE.read_text(encoding="utf-8")) if kind == "yaml"]
    assert named(first) == "arms.yaml"
    (tmp_path / "arms.yaml").write_text(first, encoding="utf-8")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepared(place: Path, layout: str) -> tuple[Path, Path]:
    """The section's suite file, and the folder that it names, filled."""
    text = layouts()[layout]["yaml"]
    suite = place / named(text)
    suite.write_text(text, encoding="utf-8")
    folder = place / "data" / suite.stem
    WRITERS[layout](folder)
    return suite, folder


def run(suite: Path, layout: str, *more: str) -> int:
    short = [*(SHORT[""] if layout != "csi" else []), *SHORT.get(layout, [])]
    options = [part for item in short for part in ("--set", item)]
    return run_main(["run", str(suite), "--executor", "inline", "--seeds", "1", "--no-report", *options, *more])


def test_the_page_has_every_layout_that_reads_a_folder() -> None:
    folders = {name for name, entry in registry.entries("data").items() if entry.metadata.origin == "folder"}
    assert set(layouts()) == folders == set(WRITERS)


@pytest.mark.parametrize("layout", list(WRITERS))
def test_its_suite_runs_on_a_folder_like_its_tree(layout: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite, folder = prepared(place, layout)
    tree = layouts()[layout]["text"].split()
    assert 3 <= len(tree) <= 6
    assert [name for name in tree if not (folder.parent / name).is_file()] == []
    assert run_main(["validate", str(suite)]) == 0
    capsys.readouterr()
    assert run(suite, layout, "--json") == 0, capsys.readouterr().err
    (done,) = json.loads(capsys.readouterr().out)["runs"]
    assert done["counts"] == {"done": 2}
    assert done["reused"] == 0


def test_what_makes_new_trials_of_a_folder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.data.checksums import identity_of_path
    from harness.plan.planning import Selection, make_plan
    from harness.suite import load_suite

    suite, folder = prepared(place, "idx")

    def trials() -> set[str]:
        identity_of_path.cache_clear()  # a process looks at a folder once
        return {trial.trial_id for trial in make_plan(load_suite(suite), Selection(seeds=(0,))).trials}

    before = trials()
    file = folder / "t10k-labels-idx1-ubyte"
    file.touch()
    assert trials() == before
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"\x00")
    changed = trials()
    assert not changed & before
    file.write_bytes(content)
    (folder / ".DS_Store").write_bytes(b"")
    assert not trials() & before
    (folder / ".DS_Store").unlink()
    assert trials() == before
    # The same files elsewhere under the same relative path are the same trials, under another path others.
    shutil.copytree(folder, place / "data" / "elsewhere")
    suite.write_text(suite.read_text(encoding="utf-8").replace("path: glyphs", "path: elsewhere"), encoding="utf-8")
    assert not trials() & before


def white_mask() -> bytes:
    output = io.BytesIO()
    Image.new("L", (64, 64), 255).save(output, "PNG")
    return output.getvalue()


Change = bytes | Callable[[bytes], bytes] | None
"""The new content of a file, a function of the old one; None: the file or folder is removed."""
DAMAGES: list[tuple[str, str, Change, str]] = [
    ("imagefolder", ".", None, "which does not exist"),
    ("imagefolder", "train", None, r"no images in train/<class>/"),
    ("imagefolder", "train/cat/0001.jpg", b"no picture", r"cat/0001\.jpg is not an image that can be decoded"),
    ("imagepairs", "masks_val/0001.png", b"no mask", r"masks_val/0001\.png is not a mask"),
    ("imagepairs", "masks_train/0001.png", white_mask(), r"masks_train/0001\.png is all hole; is hole white right"),
    ("coco", "annotations/instances_val.json", b"{", "instances_val.json is not a COCO instances file"),
    ("coco", "train/0002.jpg", None, r"coco: .*street/train/0002\.jpg is not a file"),
    ("voc", "Annotations/0003.xml", b"<annotation>", r"0003\.xml is not a VOC annotation"),
    ("voc", "ImageSets/Main/test.txt", None, "nothing to score on"),
    (
        "idx",
        "train-images-idx3-ubyte",
        lambda old: old[:-7],
        r"states \(12, 12, 12\), which is 1728 bytes, but has 1721",
    ),
    ("idx", "train-labels-idx1-ubyte", lambda old: old[:7] + b"\x06" + old[8:14], "12 train images in .* but 6 labels"),
    ("tokens", "test.txt", None, r"notes lacks test\.txt \(or test\.tokens"),
    ("tokens", "train.txt", b"\xff\xfe words", "UTF-8"),
    ("paralleltext", "train.en", lambda old: old.partition(b"\n")[2], "has 24 lines and .* has 23"),
    ("audiofolder", "test/robin/0002.flac", b"silence", r"robin/0002\.flac is not a recording"),
    ("audiotags", "train.csv", lambda old: old.replace(b",1,", b",yes,", 1), r"train\.csv, line 2: tags are 0 or 1"),
    ("audiotags", "test.csv", b"file,\xff\n", r"test\.csv cannot be read as text in UTF-8"),
    ("csi", "ID0/wave/001.csv", b"seq,data\n0,17\n", "'data' must be a list in brackets"),
    ("csi", "ID0", None, "unknown domain '0' for label action; valid: 1"),
    ("huggingface", "train/0002.png", None, r"metadata\.csv:3: .*0002\.png does not exist"),
    ("table", "test.csv", b"age,ward,outcome\n61,east\n", r"test\.csv:2: 2 fields, but the header has 3 columns"),
    ("texttable", "train.csv", b"letter,kind\nfine,praise\n,complaint\n", r"train\.csv:3: 'letter' is empty"),
    ("textfolder", "test/wanted/0003.txt", b"\xff\xfe", r"wanted/0003\.txt cannot be read as text in UTF-8"),
]


@pytest.mark.parametrize(
    ("layout", "name", "change", "expected"), DAMAGES, ids=lambda item: item if isinstance(item, str) else ""
)
def test_a_broken_folder_is_one_message_before_anything_runs(
    layout: str, name: str, change: Change, expected: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite, folder = prepared(place, layout)
    target = folder / name
    if change is not None:
        target.write_bytes(change if isinstance(change, bytes) else change(target.read_bytes()))
    elif target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink()
    assert run(suite, layout) == 2
    output = capsys.readouterr().err
    (message,) = [line for line in output.splitlines() if not line.startswith("warning: ")]
    assert message.startswith("error: ")
    assert re.search(expected, message), message


def test_a_folder_that_is_read_twice_is_checked_once(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command in another process reads nothing."""
    from harness.data import folders as own_folders

    suite, _ = prepared(place, "tokens")
    assert run(suite, "tokens") == 0
    monkeypatch.setattr(own_folders, "_load", lambda *_: pytest.fail("read again"))
    monkeypatch.setattr(own_folders, "_read", set())
    assert run(suite, "tokens", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["runs"][0]["reused"] == 2


@pytest.mark.parametrize(
    ("layout", "old", "new", "expected"),
    [
        ("idx", "name: idx", "name: imagepairs", r":8:\d+: the task 'classification' cannot read the data"),
        ("idx", "path: glyphs, ", "", r":8:\d+: the data 'idx' needs 'path': folder, absolute or below HARNESS_DATA"),
        ("idx", "path: glyphs", "path: [glyphs]", r":8:\d+: 'path' is .* text is expected"),
        ("imagefolder", "task: class", "inherits: x.yaml\n      task: class", r":10:\d+: 'define:' inherits nothing"),
    ],
)
def test_an_invalid_suite_is_one_message(
    layout: str, old: str, new: str, expected: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite, _ = prepared(place, layout)
    text = suite.read_text(encoding="utf-8")
    assert text.count(old) == 1
    suite.write_text(text.replace(old, new), encoding="utf-8")
    assert run(suite, layout) == 2
    output = capsys.readouterr().err
    assert re.search(expected, output), output
    assert len(output.splitlines()) == 1
