"""Hostile data: one message that names the file, no hang, no full memory."""

import gzip
import io
import json
import os
import resource
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from task_lab import request_for

from harness.base import tables
from harness.errors import HarnessError
from suites.data import audio_published, audiofolder, boxes, csi_csv, idx, imagefolder
from suites.data.archive import open_tree

pytestmark = pytest.mark.timeout(60)
MOST_GROWTH = 700 << 10
"""KiB: what one unpacked file may be, and a decoder's own."""


@pytest.fixture(autouse=True)
def _little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_GROWTH


def picture(path: Path, side: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*side, 3), dtype=np.uint8)).save(path)


def folder(root: Path) -> Path:
    for part in ("train", "test"):
        for name in "ab":
            picture(root / part / name / "0.png")
    return root


def load(path: Path, size: int = 8) -> object:
    return imagefolder.load_own(request_for(imagefolder.load_own, Path("/nowhere"), path=str(path), size=size))


def zeros(width: int, height: int) -> bytes:
    """A picture of zeros in some bytes."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(width + 1)) for _ in range(height)) + packer.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


PICTURES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a strip": (lambda: zeros(1, 60_000), "1 × 60000 pixels: too narrow for a photograph"),
    "gigabytes of zeros": (lambda: zeros(12_000, 12_000), "pixels, more than 100000000"),
    "no picture": (lambda: b"\x89PNG\r\n\x1a\nnothing", "cannot|can be decoded"),
    "half a picture": (lambda: zeros(500, 500)[:200], "can be decoded"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture(kind: str, tmp_path: Path) -> None:
    make, message = PICTURES[kind]
    (folder(tmp_path / "own") / "train" / "a" / "odd.png").write_bytes(make())
    with pytest.raises(HarnessError, match=message) as caught:
        load(tmp_path / "own", 1024)
    assert "odd.png" in str(caught.value)


def test_pipes_devices_and_links_to_nowhere_are_passed_over(tmp_path: Path) -> None:
    inside = folder(tmp_path / "own") / "train" / "a"
    os.mkfifo(inside / "pipe.png")
    (inside / "zero.png").symlink_to("/dev/zero")
    (inside / "gone.png").symlink_to("nowhere")
    (inside / "up").symlink_to(tmp_path / "own")
    Path(os.fsdecode(os.fsencode(inside) + b"/\xff\xfe.png")).write_bytes((inside / "0.png").read_bytes())
    load(tmp_path / "own")


def packed(root: Path, names: dict[str, bytes]) -> bytearray:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(root.rglob("*.png")):
            archive.write(file, file.relative_to(root))
        for name, content in names.items():
            archive.writestr(name, content)
    return bytearray(buffer.getvalue())


def _with(content: bytearray, central: int, local: int, value: int) -> bytes:
    """A field of each entry, in both of its places."""
    for mark, place in ((b"PK\x01\x02", central), (b"PK\x03\x04", local)):
        at = content.find(mark)
        while at >= 0:
            content[at + place] = value
            at = content.find(mark, at + 4)
    return bytes(content)


def before_the_beginning(content: bytearray) -> bytes:
    """Move the start of a zip's list: everything lies before the beginning."""
    at = content.rfind(b"PK\x05\x06") + 16
    content[at : at + 4] = (int.from_bytes(content[at : at + 4], "little") + 100_000).to_bytes(4, "little")
    return bytes(content)


def wrong_sum(content: bytes) -> bytes:
    """Drop the two empty blocks of a tar; it is read to the end, where the sum does not fit."""
    tar = gzip.decompress(content).rstrip(b"\0")
    return gzip.compress(tar + bytes(-len(tar) % 512))[:-8] + bytes(8)


def tarred(root: Path, mode: str, **more: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{mode}") as archive:
        archive.add(root, "own")
        for name, size in more.items():
            entry = tarfile.TarInfo(name)
            entry.size = size
            archive.addfile(entry, io.BytesIO(bytes(size)))
    return buffer.getvalue()


ARCHIVES: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "an encrypted zip": (lambda root: _with(packed(root, {}), 8, 6, 1), "encrypted"),
    "an unknown compression": (lambda root: _with(packed(root, {}), 10, 8, 77), "compression"),
    "half a zip": (lambda root: bytes(packed(root, {}))[:300], "damaged"),
    "a zip bomb": (
        lambda root: bytes(packed(root, {"train/a/z.png": bytes(200 << 20)})),
        "unpacks to more than 100 times",
    ),
    "a tar bomb": (lambda root: tarred(root, "gz", z=128 << 20), "unpacks to more than 100 times"),
    "a damaged xz": (lambda root: tarred(root, "xz")[:150] + b"\xff" * 100, "damaged"),
    "half a gzip": (lambda root: tarred(root, "gz")[:200], "damaged"),
    "a wrong sum at the end of a gzip": (lambda root: wrong_sum(tarred(root, "gz")), "damaged"),
    "an entry before the beginning": (lambda root: before_the_beginning(packed(root, {})), "cannot be read"),
    "half a bzip2": (lambda root: tarred(root, "bz2")[:200], "damaged"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive(kind: str, tmp_path: Path) -> None:
    make, message = ARCHIVES[kind]
    (tmp_path / "odd.packed").write_bytes(make(folder(tmp_path / "own")))
    with pytest.raises(HarnessError, match=message):
        load(tmp_path / "odd.packed")


def test_an_entry_without_a_name_is_passed_over(tmp_path: Path) -> None:
    content = packed(folder(tmp_path / "own"), {"n": b""})
    for mark, place, name in ((b"PK\x01\x02", 28, 46), (b"PK\x03\x04", 26, 30)):
        at = content.rfind(mark)
        assert content[at + name : at + name + 1] == b"n"
        content[at + place] = 0  # the length of its name
        content[at + (30 if mark[2] == 1 else 28)] += 1  # what was the name is an extra field of it
    (tmp_path / "odd.packed").write_bytes(content)
    load(tmp_path / "odd.packed")


def test_no_entry_is_written_anywhere(tmp_path: Path) -> None:
    evil = (folder(tmp_path / "own") / "train" / "a" / "0.png").read_bytes()
    names = {"../../pwned/train/a/x.png": evil, f"{tmp_path}/train/a/abs.png": evil}
    (tmp_path / "odd.zip").write_bytes(packed(tmp_path / "own", names))
    before = sorted(tmp_path.rglob("*"))
    load(tmp_path / "odd.zip")
    after = [path for path in sorted(tmp_path.rglob("*")) if "cache" not in path.relative_to(tmp_path).parts]
    assert after == before


def head(*shape: int) -> bytes:
    return struct.pack(">BBBB", 0, 0, 8, len(shape)) + struct.pack(f">{len(shape)}I", *shape)


LABELS = head(20) + bytes(number % 2 for number in range(20))
ZEROS = b"zeros"  # made in the test itself: it takes 128 MB
IDX: dict[str, tuple[bytes, str]] = {
    "no pixels": (head(20, 0, 0), "it is empty"),
    "no pictures": (head(0, 8, 8), "it is empty"),
    "more than there can be": (
        head(2**31, 2**31 - 1, 2**31 - 1) + b"x",
        "which is 9903520305059670164485701632 bytes, but",
    ),
    "zeros without end": (ZEROS, "unpacks to more than 100 times"),
    "short": (head(20, 8, 8) + bytes(99), "1280 bytes, but has 99"),
    "nothing": (b"", "is not an IDX file"),
}


@pytest.mark.parametrize("kind", IDX)
def test_idx(kind: str, tmp_path: Path) -> None:
    content, message = IDX[kind]
    (tmp_path / "own").mkdir()
    for name in idx.FILES:
        packed_file = gzip.compress(LABELS if "labels" in name else content, 1)
        if content is ZEROS and name == idx.FILES[0]:
            packed_file = gzip.compress(head(20, 8, 8) + bytes(128 << 20))
        (tmp_path / "own" / f"{name}.gz").write_bytes(packed_file)
    metadata = request_for(idx.load_idx, Path("/nowhere"), path=str(tmp_path / "own"))
    with pytest.raises(HarnessError, match=message) as caught:
        idx.load_idx(metadata)
    assert "train-images" in str(caught.value)


def load_boxes(load: Callable[..., object], root: Path) -> object:
    return load(request_for(load, Path("/nowhere"), path=str(root / "own"), size=16))


def coco(**change: object) -> str:
    content: dict[str, object] = {
        "images": [{"id": 1, "file_name": "0.png", "width": 16, "height": 16}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 6, 7], "area": 42, "iscrowd": 0}],
    }
    return json.dumps(content | change)


COCO = {
    "a width that is not a number": coco(images=[{"id": 1, "file_name": "0.png", "width": float("nan"), "height": 16}]),
    "no width": coco(images=[{"id": 1, "file_name": "0.png", "width": 0, "height": 16}]),
    "an endless box": coco(annotations=[{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, float("inf"), 1]}]),
    "a box of three": coco(annotations=[{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1]}]),
    "too deep": "[" * 100_000,
    "no object": "[]",
    "no json": "{",
}


@pytest.mark.parametrize("kind", COCO)
def test_coco(kind: str, tmp_path: Path) -> None:
    for part in ("train", "val"):
        picture(tmp_path / "own" / part / "0.png", (16, 16))
        file = tmp_path / "own" / "annotations" / f"instances_{part}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(COCO[kind])
    with pytest.raises(HarnessError, match="instances_") as caught:
        load_boxes(boxes.load_coco, tmp_path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("content", "message"), [(b"0\n\xff\xfe\n", "not a list of names"), (None, "names: one has 20,971,520")]
)
def test_a_list_of_voc_that_is_none(content: bytes | None, message: str, tmp_path: Path) -> None:
    """A line of 20 MB does not become part of the message."""
    test_voc_without_boxes(tmp_path)
    with (tmp_path / "own" / "ImageSets" / "Main" / "train.txt").open("wb") as file:
        file.truncate(20 << 20) if content is None else file.write(content)
    with pytest.raises(HarnessError, match=message) as caught:
        load_boxes(boxes.load_voc, tmp_path)
    assert len(str(caught.value)) < 1000


def test_voc_without_boxes(tmp_path: Path) -> None:
    for name in ("Annotations", "ImageSets/Main"):
        (tmp_path / "own" / name).mkdir(parents=True)
    for number, part in enumerate(("train", "val", "test")):
        picture(tmp_path / "own" / "JPEGImages" / f"{number}.jpg", (16, 16))
        size = "<size><width>16</width><height>16</height><depth>3</depth></size>"
        (tmp_path / "own" / "Annotations" / f"{number}.xml").write_text(f"<annotation>{size}</annotation>")
        (tmp_path / "own" / "ImageSets" / "Main" / f"{part}.txt").write_text(f"{number}\n")
    with pytest.raises(HarnessError, match="box"):
        load_boxes(boxes.load_voc, tmp_path)


def test_a_list_names_nothing_outside_its_folder(tmp_path: Path) -> None:
    """Paths in a COCO file must not leave its folder."""
    for part in ("train", "val"):
        picture(tmp_path / "own" / part / "0.png", (16, 16))
    (tmp_path / "own" / "annotations").mkdir()
    for name in ("/dev/zero", "../../secret.png", "gone.png"):
        picture(tmp_path / "secret.png", (16, 16))
        for part in ("train", "val"):
            text = coco(images=[{"id": 1, "file_name": name, "width": 16, "height": 16}])
            (tmp_path / "own" / "annotations" / f"instances_{part}.json").write_text(text)
        with pytest.raises(HarnessError) as caught:
            load_boxes(boxes.load_coco, tmp_path)
        assert name in str(caught.value)


def test_a_listed_pipe_is_no_file(tmp_path: Path) -> None:
    folder(tmp_path / "own")
    (tmp_path / "own" / "train" / "a" / "0.png").unlink()
    os.mkfifo(tmp_path / "own" / "train" / "a" / "0.png")
    with open_tree(tmp_path / "own", "own") as tree, pytest.raises(HarnessError, match=r"own: .* is not a file"):
        tree.read("train/a/0.png")


def test_parquet_of_odd_names_and_endless_rows(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.parquet"))
    parquet.write_table(pa.table({"x": [1, 2]}), tmp_path / "x.parquet")
    (tmp_path / "x.parquet").rename(odd)
    assert tables.read_parquet(odd).num_rows == 2
    endless = pa.table({f"c{number}": pa.array([0] * 1_000_000, pa.int8()) for number in range(1)})
    with parquet.ParquetWriter(tmp_path / "endless.parquet", endless.schema, compression="zstd") as writer:
        for _ in range(3):
            writer.write_table(endless)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tables, "MOST_CELLS", 2_000_000)
        with pytest.raises(HarnessError, match="claims 3,000,000 rows"):
            tables.read_parquet(tmp_path / "endless.parquet")


@pytest.mark.parametrize("content", ["", "clip_id\tdrum\tmp3_path\n"])
def test_a_list_of_no_clips(content: str, tmp_path: Path) -> None:
    (tmp_path / "magnatagatune").mkdir()
    (tmp_path / "magnatagatune" / "annotations_final.csv").write_text(content)
    with pytest.raises(HarnessError, match="annotations_final"):
        audio_published.load_magnatagatune(request_for(audio_published.load_magnatagatune, tmp_path))


def test_a_head_line_without_end(tmp_path: Path) -> None:
    """The csv reader gives up in the head line already."""
    wide = b'"' + b"x" * 200_000 + b'"\n'
    with pytest.raises(HarnessError, match="here is not valid csv"):
        csi_csv.parse(wide, "here")
    with pytest.raises(HarnessError, match="here is not valid csv"):
        audiofolder.read_tags(wide, "here")
    (tmp_path / "magnatagatune").mkdir()
    (tmp_path / "magnatagatune" / "annotations_final.csv").write_bytes(wide)
    with pytest.raises(HarnessError, match="is not valid csv"):
        audio_published.load_magnatagatune(request_for(audio_published.load_magnatagatune, tmp_path))
