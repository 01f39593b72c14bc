"""User images: flat and nested folders split at random, and the layouts of Hugging Face's data sets."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from task_lab import read_own, sizes

from harness.errors import HarnessError
from suites.data.imagefolder import list_images
from suites.data.types import Images

FOLDER, HUB = "suites.data.imagefolder:imagefolder", "suites.data.hub_images:huggingface"


pytestmark = pytest.mark.usefixtures("own_cache")


def read(path: Path, seed: int = 0, layout: str = FOLDER, **keys: Any) -> Images:
    return read_own(layout, path, seed, **keys)


def pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)


def write(root: Path, folders: Sequence[str], each: int = 10) -> Path:
    for place, folder in enumerate(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            Image.fromarray(pixels(100 * place + number)).save(root / folder / f"{number}.png")
    return root


# flat and nested folders


def test_a_flat_folder_is_split_at_random_and_every_class_alike(tmp_path: Path) -> None:
    root = write(tmp_path / "own", ("cat", "dog", "emu"), 20)
    data = read(root)
    assert data.classes == ("cat", "dog", "emu")
    assert sizes(data) == {"train": 42, "validation": 6, "test": 12}
    assert all(np.bincount(part.labels).tolist() == [len(part) // 3] * 3 for part in data.splits.values())
    items = np.concatenate([part.items for part in data.splits.values()])
    assert sorted(items.tolist()) == list(range(60))
    again, other = read(root), read(root, 1)
    assert all(np.array_equal(data.splits[name].items, again.splits[name].items) for name in data.splits)
    assert not np.array_equal(data.splits["test"].items, other.splits["test"].items)
    test = data.splits["test"]
    for image, label, item in zip(test.images, test.labels, test.items, strict=True):
        name = sorted(str(number) for number in range(20))[item % 20]
        np.testing.assert_array_equal(image, pixels(100 * int(label) + int(name)).transpose(2, 0, 1))


def test_the_split_may_be_asked_for_in_shares_or_counts(tmp_path: Path) -> None:
    root = write(tmp_path / "own", ("cat", "dog"))
    assert sizes(read(root, split={"validation": 4, "test": 0.3})) == {"train": 10, "validation": 4, "test": 6}
    assert sizes(read(root, split={"test": 0.5})) == {"train": 10, "test": 10}
    assert sizes(read(root, validation=3)) == {"train": 13, "validation": 3, "test": 4}
    with pytest.raises(HarnessError, match="set 'validation' or 'split"):
        read(root, validation=3, split={"val": 0.1})
    with pytest.raises(HarnessError, match="split: unknown name 'tset'; did you mean 'test'"):
        read(root, split={"tset": 0.1})


@pytest.mark.parametrize("word", ["val", "validation", "valid"])
def test_val_and_validation_are_one_word(tmp_path: Path, word: str) -> None:
    root = write(tmp_path / "own", tuple(f"{split}/{name}" for split in ("train", word, "test") for name in "ab"))
    assert sizes(read(root)) == {"train": 20, "validation": 20, "test": 20}


def test_what_folders_do_not_hold_out_may_be_drawn_from_training(tmp_path: Path) -> None:
    root = write(tmp_path / "own", ("train/a", "train/b", "test/a", "test/b"))
    assert sizes(read(root, split={"validation": 0.2})) == {"train": 16, "validation": 4, "test": 20}
    with pytest.raises(HarnessError, match="has its own test; remove 'test'"):
        read(root, split={"test": 0.2})
    only = write(tmp_path / "only", ("train/a", "train/b"))
    assert sizes(read(only, split={"test": 0.25})) == {"train": 15, "test": 5}
    with pytest.raises(HarnessError, match="to score on"):
        read(only)


@pytest.mark.parametrize(
    ("class_from", "classes"),
    [
        ("path", ("cyrillic/be", "greek/alpha", "greek/beta")),
        ("first", ("cyrillic", "greek")),
        ("last", ("alpha", "be", "beta")),
    ],
)
@pytest.mark.parametrize("splits", [("train", "test"), ("",)])
def test_nested_folders_name_a_class(
    tmp_path: Path, class_from: str, classes: tuple[str, ...], splits: tuple[str, ...]
) -> None:
    nested = ("greek/alpha", "greek/beta", "cyrillic/be")
    root = write(tmp_path / "own", tuple(f"{split}/{name}".strip("/") for split in splits for name in nested), 6)
    data = read(root, class_from=class_from)
    assert data.classes == classes
    assert sum(sizes(data).values()) == 18 * len(splits)


def test_a_class_may_have_a_splits_name_and_an_archives_top_folder_is_passed_over() -> None:
    flat = list_images(["top/train/0.png", "top/plane/1.png", "top/plane/2.jpg", "top/notes.txt"], "own")
    assert (flat.classes, flat.parts.tolist()) == (("plane", "train"), [-1, -1, -1])
    split = list_images(["top/train/test/0.png", "top/test/test/1.png"], "own")
    assert (split.classes, split.parts.tolist()) == (("test",), [0, 2])


def test_images_beside_the_class_folders_are_left_out_and_said(tmp_path: Path) -> None:
    root = write(tmp_path / "own", ("a", "b"))
    Image.fromarray(pixels(0)).save(root / "preview.png")
    with pytest.warns(UserWarning, match=r"1 images outside class folders are ignored: preview\.png"):
        assert sum(sizes(read(root)).values()) == 20


@pytest.mark.parametrize("folders", [("cat",), (".",)])
def test_one_folder_is_no_data_set(tmp_path: Path, folders: tuple[str, ...]) -> None:
    with pytest.raises(HarnessError, match=r"a single class; expected <split>/<class>/<name> .* or <class>/<name>"):
        read(write(tmp_path / "own", folders))


# Hugging Face's layouts


def png(number: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels(number)).save(out, "PNG")
    return out.getvalue()


def write_parquet(file: Path, numbers: Sequence[int], names: Sequence[str] | None, key: str = "label") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": png(number), "path": f"{number}.png"} for number in numbers]
    table = pa.table({"image": images, key: [number % 2 for number in numbers], "id": list(numbers)})
    if names is not None:
        features = {"image": {"_type": "Image"}, key: {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, file)


def test_parquet_files_give_images_and_the_names_of_their_labels(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    write_parquet(root / "data" / "train-00000-of-00002.parquet", range(6), ("zebra", "ant"))
    write_parquet(root / "data" / "train-00001-of-00002.parquet", range(6, 10), ("zebra", "ant"))
    write_parquet(root / "data" / "test-00000-of-00001.parquet", range(20, 24), ("zebra", "ant"))
    data = read(root, layout=HUB)
    assert data.classes == ("zebra", "ant")
    assert sizes(data) == {"train": 10, "test": 4}
    np.testing.assert_array_equal(data.splits["test"].images[1], pixels(21).transpose(2, 0, 1))
    assert data.splits["test"].labels.tolist() == [0, 1, 0, 1]
    assert sizes(read(root, layout=HUB, split={"validation": 0.2})) == {"train": 8, "validation": 2, "test": 4}


def test_a_label_that_is_no_class_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "hub" / "data" / "train-00000-of-00001.parquet", range(6), ("zebra", "ant"))
    write_parquet(tmp_path / "hub" / "data" / "test-00000-of-00001.parquet", range(4), ("zebra",))
    with pytest.raises(HarnessError, match=r"test-.*parquet, row 2: the label 1 is not one of the 1 classes"):
        read(tmp_path / "hub", layout=HUB)


def test_one_parquet_file_is_split_at_random_and_splits_may_be_folders(tmp_path: Path) -> None:
    write_parquet(tmp_path / "all.parquet", range(20), None)
    data = read(tmp_path / "all.parquet", layout=HUB)
    assert data.classes == ("0", "1")
    assert sizes(data) == {"train": 14, "validation": 2, "test": 4}
    write_parquet(tmp_path / "hub" / "default" / "train" / "0000.parquet", range(6), None)
    write_parquet(tmp_path / "hub" / "default" / "test" / "0000.parquet", range(6, 10), None)
    data = read(tmp_path / "hub", layout=HUB)
    assert sizes(data) == {"train": 6, "test": 4}
    np.testing.assert_array_equal(data.splits["test"].images[0], pixels(6).transpose(2, 0, 1))


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
@pytest.mark.parametrize("place", ["beside", "above"])
def test_metadata_names_files_and_labels(tmp_path: Path, name: str, place: str) -> None:
    root = tmp_path / "hub"
    rows: dict[str, list[tuple[str, str]]] = {}
    for split, count in (("train", 6), ("validation", 2), ("test", 4)):
        write(root, (split,), count)
        folder, prefix = (root / split, "") if place == "beside" else (root, f"{split}/")
        rows.setdefault(str(folder), []).extend((f"{prefix}{n}.png", ["cat", "dog"][n % 2]) for n in range(count))
    for folder, pairs in rows.items():
        lines = [f"{file},{label}" for file, label in pairs]
        text = "\n".join(["file_name,kind", *lines])
        if name.endswith("jsonl"):
            text = "\n".join(json.dumps({"file_name": file, "kind": label}) for file, label in pairs)
        (Path(folder) / name).write_text(text)
    data = read(root, layout=HUB)
    assert data.classes == ("cat", "dog")
    assert sizes(data) == {"train": 6, "validation": 2, "test": 4}
    assert data.splits["test"].labels.tolist() == [0, 1, 0, 1]
    np.testing.assert_array_equal(data.splits["test"].images[3], pixels(3).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("metadata.csv", ["file_name,kind", "0.png,cat", "9.png,dog"], r"metadata\.csv:3: .*9\.png does not exist"),
        ("metadata.csv", ["file_name,kind", "0.png,cat", "1.png,"], r"metadata\.csv:3: 'kind' is empty"),
        ("metadata.csv", ["file_name,kind,place", "0.png,cat,x"], "set label: NAME; there are kind, place"),
        ("metadata.csv", ["file_name,kind", "0.png,cat"], "1 images of 1 classes; at least two are needed"),
        ("metadata.jsonl", ["file_name,kind"], r"metadata\.jsonl:1: not valid JSON"),
        ("notes.txt", [], "neither Parquet files .* nor a metadata.csv .* use the layout imagefolder"),
    ],
)
def test_an_error_in_metadata_has_its_place(tmp_path: Path, name: str, rows: list[str], message: str) -> None:
    root = write(tmp_path / "hub", ("train",), 4)
    (root / "train" / name).write_text("\n".join(rows))
    with pytest.raises(HarnessError, match=message) as refused:
        read(root, layout=HUB, split={"test": 0.5})
    assert "\n" not in str(refused.value)


def test_columns_may_be_named_and_a_wrong_name_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "all.parquet", range(8), None, key="kind")
    message = "the column of the labels is not clear; set label: NAME; there are kind, id"
    with pytest.raises(HarnessError, match=message):
        read(tmp_path / "all.parquet", layout=HUB)
    assert read(tmp_path / "all.parquet", layout=HUB, label="kind").classes == ("0", "1")
    with pytest.raises(HarnessError, match="lacks the column 'kidn'; did you mean 'kind'"):
        read(tmp_path / "all.parquet", layout=HUB, label="kidn")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(HarnessError, match=r"bad\.parquet is not a readable Parquet file"):
        read(tmp_path / "bad.parquet", layout=HUB)
