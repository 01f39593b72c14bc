"""Folders of images: archives, splits, the cache, damaged copies."""

import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from task_lab import Cell, read_own, sizes

from harness.errors import HarnessError
from suites.data import imagefolder
from suites.data.archive import SourcePath
from suites.data.cache import cached
from suites.data.types import Images

FOLDER = "suites.data.imagefolder:imagefolder"


pytestmark = pytest.mark.usefixtures("own_cache")


def write_images(
    root: Path, classes: int = 3, each: int = 4, splits: tuple[str, ...] = ("train", "val", "test")
) -> Path:
    draws = np.random.default_rng(0)
    for split in splits:
        for label in range(classes):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(each):
                pixels = draws.integers(0, 256, (6, 6, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def images(path: Path, seed: int = 0, **keys: object) -> Images:
    return read_own(FOLDER, path, seed, **keys)


def zipped(root: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(root.rglob("*.png"), reverse=True):
            archive.write(file, f"above/{file.relative_to(root)}")
    return target


def tarred(root: Path, target: Path) -> Path:
    with tarfile.open(target, "w:gz") as archive:
        archive.add(root, "above")
    return target


def tarred_here(root: Path, target: Path) -> Path:
    """As ``tar c .`` writes names, ``./train/…``, and as some programs do, ``train//…``: both were a KeyError."""
    with tarfile.open(target, "w") as archive:
        for number, file in enumerate(sorted(root.rglob("*.png"))):
            name = f"./{file.relative_to(root)}"
            archive.add(file, name if number % 2 else name.replace("/", "//"))
    return target


@pytest.mark.parametrize("pack", [zipped, tarred, tarred_here])
def test_an_archive_reads_as_its_folder(tmp_path: Path, pack: Callable[[Path, Path], Path]) -> None:
    root = write_images(tmp_path / "own")
    plain, packed = images(root), images(pack(root, tmp_path / "own.packed"))
    assert plain.classes == packed.classes == ("class0", "class1", "class2")
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(plain.splits[name].images, packed.splits[name].images)
        np.testing.assert_array_equal(plain.splits[name].labels, packed.splits[name].labels)
    first = np.asarray(Image.open(root / "train" / "class0" / "0.png")).transpose(2, 0, 1)
    np.testing.assert_array_equal(plain.splits["train"].images[0], first)


def test_without_a_test_folder_the_validation_folder_is_the_test(tmp_path: Path) -> None:
    root = write_images(tmp_path / "own", splits=("train", "val"))
    data, other = images(root, validation=5), images(root, 1, validation=5)
    assert sizes(data) == {"train": 7, "validation": 5, "test": 12}
    assert not set(data.splits["train"].items) & set(data.splits["validation"].items)
    assert set(other.splits["validation"].items) != set(data.splits["validation"].items)


def test_by_class_no_class_is_in_two_splits(tmp_path: Path) -> None:
    root = write_images(tmp_path / "own", classes=7)
    data = images(root, split_by="class", train_classes=3, validation_classes=1)
    classes = {name: set(part.labels.tolist()) for name, part in data.splits.items()}
    assert [len(classes[name]) for name in ("train", "validation", "test")] == [3, 1, 3]
    assert set.union(*classes.values()) == set(range(7))
    assert sum(len(part) for part in data.splits.values()) == 7 * 12


def test_chosen_classes_are_read_alone_and_numbered_anew(tmp_path: Path) -> None:
    root = write_images(tmp_path / "own", classes=5)
    place = SourcePath("own", root, "made here")
    everything, listing = imagefolder.read(place, 0)
    some, chosen = imagefolder.of_classes(everything, listing, ["class4", "class1"], "own")
    assert chosen.classes == ("class1", "class4")
    assert sorted(set(chosen.labels.tolist())) == [0, 1]
    for number, name in enumerate(chosen.classes):
        old = listing.classes.index(name)
        np.testing.assert_array_equal(some[chosen.labels == number], everything[listing.labels == old])
    with pytest.raises(HarnessError, match=r"own: unknown class 'class9'; .*class1"):
        imagefolder.of_classes(everything, listing, ["class9"], "own")


def test_images_of_several_sizes_want_a_size(tmp_path: Path) -> None:
    root = write_images(tmp_path / "own")
    Image.new("L", (9, 20)).save(root / "test" / "class1" / "wide.png")
    with pytest.raises(HarnessError, match=r"wide.png is 9×20, others are 6×6; set size"):
        images(root)
    data = images(root, size=5)
    assert data.splits["test"].images.shape == (13, 3, 5, 5)


def test_the_cache_is_used_and_a_damaged_one_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(write_images(tmp_path / "own"), tmp_path / "own.zip")
    before = images(archive).splits["train"].images
    decoded = list((tmp_path / "cache" / "decoded").iterdir())
    assert len(decoded) == 1
    with monkeypatch.context() as patched:
        patched.setattr(imagefolder, "decode", lambda *_: pytest.fail("decoded again"))
        np.testing.assert_array_equal(images(archive).splits["train"].images, before)
    file = decoded[0] / "images.npy"
    file.write_bytes(file.read_bytes()[:-50])
    np.testing.assert_array_equal(images(archive).splits["train"].images, before)
    assert sorted(path.name for path in archive.parent.iterdir()) == ["cache", "own", "own.zip"]


def test_another_content_is_not_taken_from_the_cache(tmp_path: Path) -> None:
    root = write_images(tmp_path / "own")
    before = np.array(images(root).splits["test"].images)
    file = root / "test" / "class0" / "0.png"
    Image.new("RGB", (6, 6), (1, 2, 3)).save(file)
    os.utime(file, ns=(1, 1))
    assert not np.array_equal(images(root).splits["test"].images, before)


def test_two_writers_of_one_entry_leave_one(tmp_path: Path) -> None:
    def slow() -> dict[str, np.ndarray]:
        # While this one works, another process finishes the same entry.
        cached(("key",), ("a",), lambda: {"a": np.arange(3)})
        return {"a": np.arange(3)}

    np.testing.assert_array_equal(cached(("key",), ("a",), slow)["a"], [0, 1, 2])
    assert len(list((tmp_path / "cache" / "decoded").iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file"))
    with pytest.raises(HarnessError, match="HARNESS_CACHE"):
        cached(("key",), ("a",), lambda: {"a": np.arange(3)})


def test_damaged_archives_and_images_are_refused(tmp_path: Path) -> None:
    root = write_images(tmp_path / "own")
    archive = zipped(root, tmp_path / "own.zip")
    whole = archive.read_bytes()
    (tmp_path / "short.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(HarnessError, match="damaged"):
        images(tmp_path / "short.zip")
    place = whole.find(b"IDAT") + 8
    (tmp_path / "flipped.zip").write_bytes(whole[:place] + b"\xff\xff\xff\xff" + whole[place + 4 :])
    with pytest.raises(HarnessError, match=r"damaged|decoded"):
        images(tmp_path / "flipped.zip")
    (root / "train" / "class0" / "0.png").write_bytes(b"no picture")
    with pytest.raises(HarnessError, match=r"class0/0.png is not an image"):
        images(root)


ROOT = Path(os.environ.get("HARNESS_DATA", ""))
has = pytest.mark.skipif(not os.environ.get("HARNESS_DATA"), reason="HARNESS_DATA is not set")


@pytest.mark.full
@pytest.mark.data
@has
def test_the_real_sets_read_as_their_homes_describe_them() -> None:
    cifar = Cell("", "suites.data.imagefolder:cifar100-subset-100", "").data_for(0, ROOT)
    expected = {"train": (9000, 3, 32, 32), "validation": (1000, 3, 32, 32), "test": (3000, 3, 32, 32)}
    assert {name: part.images.shape for name, part in cifar.splits.items()} == expected
    assert set(np.bincount(cifar.splits["test"].labels)) == {30}
    grocery = Cell("", "suites.data.imagefolder:grocery64", "").data_for(0, ROOT)
    assert len(grocery.classes) == 81
    assert sum(len(part) for part in grocery.splits.values()) == 5421
    for name, classes in {"cifar100-animals": 45, "cifar100-vehicles": 10, "clothing64": 10}.items():
        splits = Cell("", f"suites.data.imagefolder:{name}", "").data_for(0, ROOT).splits
        parts = [set(part.labels.tolist()) for part in splits.values()]
        assert len(set.union(*parts)) == sum(map(len, parts)) == classes
    wiki = Cell("", "suites.data.tokens:wikitext2-heldout", "").data_for(0, ROOT)
    # 245,569 and 217,646 tokens with <eos>, as the published WikiText-2 is counted.
    assert len(wiki.splits["train"]) == 245_569
    assert len(wiki.splits["validation"]) + len(wiki.splits["test"]) == 217_646
    capped = Cell("", "suites.data.tokens:wikitext2-heldout", "", data_keys={"held_out": 5000}).data_for(0, ROOT)
    for split in ("validation", "test"):
        assert capped.splits[split].tolist() == wiki.splits[split][:5000].tolist()
        assert capped.documents[split].max() < 5000
