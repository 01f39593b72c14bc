"""Published formats: tiny copies that follow each format's own document, and damaged ones.

Documents: https://www.cs.toronto.edu/~kriz/cifar.html; the README files of CUB-200-2011, SOP and the In-Shop benchmark;
the fields of cars_annos.mat as its devkit lists them.
"""

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

from harness.errors import HarnessError
from suites.data.cifar import CIFAR100 as CIFAR100_LAYOUT
from suites.data.cifar import unpickle
from suites.data.types import Images
from suites.fixtures import images
from suites.fixtures.images import write_cifar
from suites.fixtures.published import WRITERS

CIFAR10, CIFAR100 = "suites.data.cifar:cifar10", "suites.data.cifar:cifar100"
SETS = "suites.data.retrieval_sets:"
CLASSIFICATION = "suites.tasks.classification:classification"


pytestmark = pytest.mark.usefixtures("own_cache")


def load(source: str, root: Path, seed: int = 0, **keys: object) -> Images:
    data = Cell("", source, "", data_keys=keys).data_for(seed, root)
    assert isinstance(data, Images)
    return data


def test_cifar100_rows_are_planes_of_red_green_blue(tmp_path: Path) -> None:
    write_cifar(tmp_path, CIFAR100_LAYOUT, 100)
    data = load(CIFAR100, tmp_path)
    raw = pickle.loads((tmp_path / "cifar-100-python" / "test").read_bytes())
    np.testing.assert_array_equal(data.splits["test"].images[1, 2, 1], raw["data"][1][2048 + 32 : 2048 + 64])
    assert data.splits["test"].labels.tolist() == raw["fine_labels"]
    part = load(CIFAR100, tmp_path, validation=1)
    assert sorted([*part.splits["train"].items, *part.splits["validation"].items]) == [0, 1, 2, 3]


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


@pytest.mark.parametrize(
    ("change", "message"),
    [({"data": np.zeros((4, 100), np.uint8)}, r"expected uint8 \(N, 3072\)"), ({"fine_labels": None}, "fine_labels")],
)
def test_damaged_cifar_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_cifar(tmp_path, CIFAR100_LAYOUT, 100)
    file = tmp_path / "cifar-100-python" / "train"
    file.write_bytes(pickle.dumps({**pickle.loads(file.read_bytes()), **change}))
    with pytest.raises(HarnessError, match=message):
        load(CIFAR100, tmp_path)


IMAGENET = "suites.data.imagenet:imagenet"


def test_imagenet_trains_end_to_end_from_its_folders(tmp_path: Path) -> None:
    images.write_imagenet(tmp_path)
    recipe = {"batch_size": 4, "augment": "imagenet", "cutmix": 1.0, "eval_batch": 4}
    data = {"size": 8, "resize": 10}
    cell = Cell(CLASSIFICATION, IMAGENET, "suites.models.cnn:bn-cnn", recipe, data)
    task = cell.build(0, tmp_path)
    _, losses = train(task, 2)
    assert np.isfinite(losses).all()
    assert set(task.evaluate("test").metrics) >= {"top1-accuracy", "loss"}
    assert task.evaluate("validation").metrics == {}
    assert task.evaluate("test").items["item"].tolist() == [4, 5]


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


def test_imagenet_refuses_other_classes_and_damaged_files(tmp_path: Path) -> None:
    images.write_imagenet(tmp_path)
    broken = tmp_path / "imagenet" / "val" / "n00000000" / "val_0.JPEG"
    broken.write_bytes(broken.read_bytes()[:40])
    cell = Cell(CLASSIFICATION, IMAGENET, "suites.models.cnn:bn-cnn", {"batch_size": 4}, {"size": 8, "resize": 8})
    task = cell.build(0, tmp_path)
    task.build()
    with pytest.raises(HarnessError, match=r"val_0\.JPEG is not an image"):
        task.evaluate("test")
    (tmp_path / "imagenet" / "val" / "n09999999").mkdir()
    with pytest.raises(HarnessError, match="1000 class folders"):
        load(IMAGENET, tmp_path)


def retrieval(name: str, **recipe: Any) -> Cell:
    return Cell(
        "suites.tasks.retrieval:retrieval",
        SETS + name,
        "suites.models.embedding:embedding",
        {"batch_size": 4, **recipe},
        {"size": 8, "resize": 10},
        {"widths": [4], "dimension": 4},
    )


@pytest.mark.parametrize("name", ["cub", "cars196", pytest.param("inshop", marks=pytest.mark.full), "sop"])
def test_a_published_retrieval_set_splits_by_class_and_trains(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    task = retrieval(name, augment="imagenet").build(0, tmp_path)
    _, losses = train(task, 2)
    assert np.isfinite(losses).all()
    assert 0 <= task.evaluate("test").metrics["recall-at-1"] <= 100
    splits = load(SETS + name, tmp_path, size=8, resize=10).splits
    assert not set(splits["train"].labels.tolist()) & set(splits["test"].labels.tolist())


def test_in_shop_queries_are_compared_with_the_gallery(tmp_path: Path) -> None:
    WRITERS["inshop"](tmp_path)
    task = retrieval("inshop").build(0, tmp_path)
    task.build()
    # two of the four candidates of each query are right
    assert task.evaluate("test").metrics["trivial.recall-at-1"] == pytest.approx(50.0)


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
