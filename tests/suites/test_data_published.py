"""Published formats: tiny fixtures that follow each format's own document, and one damaged copy of each.

Documents: https://www.cs.toronto.edu/~kriz/cifar.html; the README files of CUB-200-2011, Stanford Online Products and
the In-Shop benchmark; the fields of cars_annos.mat as its devkit lists them.
"""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from task_lab import Cell, train

from harness.errors import HarnessError, MissingDataError
from suites.data.cifar import unpickle
from suites.data.types import ImageFiles, Images

CIFAR10, CIFAR100 = "suites.data.cifar:cifar10", "suites.data.cifar:cifar100"
SETS = "suites.data.retrieval_sets:"


pytestmark = pytest.mark.usefixtures("own_cache")


def load(source: str, root: Path, seed: int = 0, **keys: object) -> Images:
    data = Cell("", source, "", data_keys=keys).data_for(seed, root)
    assert isinstance(data, Images)
    return data


def picture(path: Path, width: int = 20, height: int = 16, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (shade % 256, 40, 200)).save(path)


def write_cifar100(root: Path, train_items: int = 12) -> Path:
    """Python 2 protocol, as published: bytes rows of red, green, blue planes."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    draws = np.random.default_rng(0)
    for name, items in (("train", train_items), ("test", 6)):
        values = {
            "filenames": [f"{n}.png" for n in range(items)],
            "batch_label": f"{name}ing batch 1 of 1",
            "fine_labels": [n % 3 for n in range(items)],
            "coarse_labels": [0] * items,
            "data": draws.integers(0, 256, (items, 3072), dtype=np.uint8),
        }
        (folder / name).write_bytes(pickle.dumps(values, protocol=2))
    names = {"fine_label_names": ["apple", "bear", "can"], "coarse_label_names": ["all"]}
    (folder / "meta").write_bytes(pickle.dumps(names, protocol=2))
    return folder


def test_cifar100_rows_are_planes_of_red_green_blue(tmp_path: Path) -> None:
    folder = write_cifar100(tmp_path)
    data = load(CIFAR100, tmp_path)
    assert data.classes == ("apple", "bear", "can")
    raw = pickle.loads((folder / "test").read_bytes())["data"][4]
    np.testing.assert_array_equal(data.splits["test"].images[4, 2, 1], raw[2048 + 32 : 2048 + 64])
    assert data.splits["train"].labels.tolist() == [n % 3 for n in range(12)]
    part = load(CIFAR100, tmp_path, validation=5)
    assert not set(part.splits["train"].items) & set(part.splits["validation"].items)
    assert len(part.splits["train"]) == 7


def test_cifar10_joins_its_five_batches_and_reads_the_archive(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        values = {"data": np.full((2, 3072), number, dtype=np.uint8), "labels": [number % 2, 1], "batch_label": name}
        (folder / name).write_bytes(pickle.dumps(values, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["cat", "dog"], "num_vis": 3072}, protocol=2))
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    data = load(CIFAR10, tmp_path)
    assert data.splits["train"].images[:, 0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert data.splits["test"].images[:, 0, 0, 0].tolist() == [5, 5]


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("echo harm",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"data": Harmful()}), r"needs posix\.system"),
        (pickle.dumps({"data": io.BytesIO(b"x")}), "needs _io.BytesIO"),
        (b"\x80\x02}q\x00(", "not a published CIFAR pickle"),
        (b"", "not a published CIFAR pickle"),
        (pickle.dumps([1, 2]), "contains a list"),
    ],
)
def test_a_pickle_that_asks_for_more_than_arrays_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        unpickle(content, "fixture")


def test_damaged_and_missing_cifar_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="harness data fetch cifar100"):
        load(CIFAR100, tmp_path)
    folder = write_cifar100(tmp_path)
    values = pickle.loads((folder / "train").read_bytes())
    (folder / "train").write_bytes(pickle.dumps({**values, "data": values["data"][:, :100]}, protocol=2))
    with pytest.raises(HarnessError, match=r"expected uint8 \(N, 3072\)"):
        load(CIFAR100, tmp_path)
    (folder / "train").write_bytes(pickle.dumps({"data": values["data"]}, protocol=2))
    with pytest.raises(HarnessError, match="fine_labels"):
        load(CIFAR100, tmp_path)


def write_imagenet(root: Path, each: int = 3) -> None:
    for split in ("train", "val"):
        for label, wnid in enumerate(("n01440764", "n01443537")):
            for number in range(each):
                picture(root / "imagenet" / split / wnid / f"{split}_{number}.JPEG", shade=100 * label)


IMAGENET = "suites.data.imagenet:imagenet"


def test_imagenet_trains_end_to_end_from_its_folders(tmp_path: Path) -> None:
    write_imagenet(tmp_path)
    recipe = {"batch_size": 4, "augment": "imagenet", "cutmix": 1.0, "eval_batch": 4}
    data = {"size": 8, "resize": 10}
    cell = Cell("suites.tasks.classification:classification", IMAGENET, "suites.models.cnn:bn-cnn", recipe, data)
    task = cell.build(0, tmp_path)
    _, losses = train(task, 2)
    assert np.isfinite(losses).all()
    assert set(task.evaluate("test").metrics) >= {"top1-accuracy", "loss"}
    assert task.evaluate("validation").metrics == {}
    assert task.evaluate("test").items["item"].tolist() == [6, 7, 8, 9, 10, 11]


def test_imagenet_is_cut_at_the_centre_for_evaluation(tmp_path: Path) -> None:
    from suites.tasks.common import ImageBatches, channel_statistics

    for split in ("train", "val"):
        folder = tmp_path / "imagenet" / split / "n01440764"
        folder.mkdir(parents=True)
        ramp = np.broadcast_to(np.arange(0, 240, 10, dtype=np.uint8)[None, :, None], (16, 24, 3))
        Image.fromarray(np.ascontiguousarray(ramp)).save(folder / "ramp.png")
    data = load(IMAGENET, tmp_path, size=8, resize=16)
    batches = ImageBatches(data.splits["test"], *channel_statistics(data), torch.device("cpu"))
    images, _ = batches.take(torch.tensor([0]))
    shown = (images * batches.std + batches.mean)[0, 0, 0] * 255
    torch.testing.assert_close(shown, torch.arange(80.0, 160.0, 10.0), atol=1e-3, rtol=0)


def test_imagenet_refuses_other_classes_missing_folders_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="imagenet/train"):
        load(IMAGENET, tmp_path)
    write_imagenet(tmp_path)
    broken = tmp_path / "imagenet" / "val" / "n01440764" / "val_0.JPEG"
    broken.write_bytes(broken.read_bytes()[:40])
    cell = Cell(
        "suites.tasks.classification:classification",
        IMAGENET,
        "suites.models.cnn:bn-cnn",
        {"batch_size": 4},
        {"size": 8, "resize": 8},
    )
    task = cell.build(0, tmp_path)
    task.build()
    with pytest.raises(HarnessError, match=r"val_0\.JPEG is not an image"):
        task.evaluate("test")
    (tmp_path / "imagenet" / "val" / "n09999999").mkdir()
    with pytest.raises(HarnessError, match="2 class folders"):
        load(IMAGENET, tmp_path)


def write_cub(root: Path) -> Path:
    folder = root / "CUB_200_2011"
    names = ["001.Albatross", "002.Auklet", "003.Bunting", "004.Cardinal"]
    files = [f"{name}/{name[4:]}_{number}.jpg" for name in names for number in (1, 2)]
    for place, file in enumerate(files):
        picture(folder / "images" / file, shade=30 * place)
    lines = {
        "images": [f"{place} {file}" for place, file in enumerate(files, 1)],
        "image_class_labels": [f"{place} {(place + 1) // 2}" for place in range(1, 9)],
        "train_test_split": [f"{place} {place % 2}" for place in range(1, 9)],
        "classes": [f"{number} {name}" for number, name in enumerate(names, 1)],
    }
    for name, rows in lines.items():
        (folder / f"{name}.txt").write_text("\n".join(rows) + "\n")
    return folder


def write_cars(root: Path) -> Path:
    from scipy.io import savemat

    folder = root / "cars196"
    folder.mkdir(parents=True)
    fields = ["relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test"]
    annotations = np.zeros((1, 8), dtype=[(name, object) for name in fields])
    for place in range(8):
        file = f"car_ims/{place + 1:06d}.jpg"
        picture(folder / file, shade=30 * place)
        annotations[0, place] = (file, 1, 1, 10, 10, place // 2 + 1, place % 2)
    names = np.array([["Acura RL 2012", "Audi TT 2011", "BMW M3 2012", "Fiat 500 2012"]], dtype=object)
    savemat(folder / "cars_annos.mat", {"annotations": annotations, "class_names": names})
    return folder


def write_inshop(root: Path) -> Path:
    folder = root / "inshop"
    rows = []
    for item, statuses in (
        (1, ("train", "train")),
        (2, ("train", "train")),
        (7, ("query", "gallery")),
        (9, ("query", "gallery", "gallery")),
    ):
        for number, status in enumerate(statuses):
            file = f"img/MEN/Denim/id_{item:08d}/{number:02d}_1_front.jpg"
            picture(folder / file, shade=20 * item + number)
            rows.append(f"{file}  id_{item:08d}  {status}")
    head = [str(len(rows)), "image_name item_id evaluation_status"]
    (folder / "list_eval_partition.txt").write_text("\n".join(head + rows) + "\n")
    return folder


def write_sop(root: Path) -> Path:
    folder = root / "Stanford_Online_Products"
    place = 0
    for split, classes in (("train", (1, 2)), ("test", (3, 4))):
        rows = ["image_id class_id super_class_id path"]
        for number in classes:
            for shot in range(2):
                place += 1
                file = f"bicycle_final/{number}_{shot}.JPG"
                picture(folder / file, shade=20 * place)
                rows.append(f"{place} {number} 1 {file}")
        (folder / f"Ebay_{split}.txt").write_text("\n".join(rows) + "\n")
    return folder


WRITERS = {"cub": write_cub, "cars196": write_cars, "inshop": write_inshop, "sop": write_sop}
CLASSES = {"cub": 4, "cars196": 4, "inshop": 4, "sop": 4}


@pytest.mark.parametrize("name", WRITERS)
def test_a_published_retrieval_set_splits_by_class_and_trains(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    data = load(SETS + name, tmp_path, size=8, resize=10)
    train_classes, test_classes = (set(data.splits[split].labels.tolist()) for split in ("train", "test"))
    assert len(data.classes) == CLASSES[name]
    assert len(train_classes) == len(test_classes) == 2
    assert not train_classes & test_classes
    files = [part.images for part in data.splits.values()]
    assert all(isinstance(part, ImageFiles) and all(path.is_file() for path in part.paths) for part in files)
    cell = Cell(
        "suites.tasks.retrieval:retrieval",
        SETS + name,
        "suites.models.embedding:embedding",
        {"batch_size": 4, "augment": "imagenet"},
        {"size": 8, "resize": 10},
        {"widths": [4], "dimension": 4},
    )
    task = cell.build(0, tmp_path)
    _, losses = train(task, 2)
    assert np.isfinite(losses).all()
    assert 0 <= task.evaluate("test").metrics["recall-at-1"] <= 100


def test_in_shop_queries_are_compared_with_the_gallery(tmp_path: Path) -> None:
    write_inshop(tmp_path)
    data = load(SETS + "inshop", tmp_path, size=8, resize=10)
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 4, "test": 2, "gallery": 3}
    cell = Cell(
        "suites.tasks.retrieval:retrieval",
        SETS + "inshop",
        "suites.models.embedding:embedding",
        {"batch_size": 4},
        {"size": 8, "resize": 10},
        {"widths": [4], "dimension": 4},
    )
    task = cell.build(0, tmp_path)
    task.build()
    # One of the first query's three candidates is right, two of the second's: (1/3 + 2/3)/2.
    assert task.evaluate("test").metrics["trivial.recall-at-1"] == pytest.approx(50.0)


def test_cub_uses_the_first_half_of_the_classes_and_not_its_own_split(tmp_path: Path) -> None:
    write_cub(tmp_path)
    data = load(SETS + "cub", tmp_path, size=8, resize=10)
    names = {data.classes[label] for label in data.splits["train"].labels}
    assert names == {"001.Albatross", "002.Auklet"}
    assert len(data.splits["train"]) == 4


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("cub", "CUB_200_2011/images.txt", "1 a.jpg extra\n", r"images.txt:1 has 3 columns, expected 2"),
        ("cub", "CUB_200_2011/images.txt", "1 a.jpg\n", "do not list the same images"),
        ("cub", "CUB_200_2011/classes.txt", "1 only\n", "class 2 is not in"),
        ("cars196", "cars196/cars_annos.mat", "junk", "not the published annotation file"),
        ("inshop", "inshop/list_eval_partition.txt", "1\nhead\na.jpg id_1 trial\n", "has the status 'trial'"),
        (
            "inshop",
            "inshop/list_eval_partition.txt",
            "2\nhead\na.jpg id_1 train\nb.jpg id_1 query\n",
            "1 of them shared",
        ),
        (
            "sop",
            "Stanford_Online_Products/Ebay_test.txt",
            "image_id class_id super_class_id path\n1 2 3\n",
            "3 columns",
        ),
    ],
)
def test_damaged_lists_are_refused(tmp_path: Path, name: str, file: str, content: str, message: str) -> None:
    WRITERS[name](tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(HarnessError, match=message):
        load(SETS + name, tmp_path)
