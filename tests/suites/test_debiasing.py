"""HSIC equals its formulas; biased images have their shares; ReBias updates in turn; published formats are read."""

import gzip
import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from task_lab import Cell, model_from, request_for, train
from torch.nn import functional as F

from harness.errors import HarnessError, MissingDataError
from harness.trial.contracts import StepResult
from suites.data import imagenet9
from suites.data.biased import TEXTURES, assign_bias, on_colours
from suites.data.idx import FILES, load_biased_mnist, load_idx, read_idx
from suites.models import rebias
from suites.models.rebias import BagBody
from suites.tasks.debiasing import cell_accuracy, gaussian_kernel, hsic

CELL = Cell(
    "suites.tasks.debiasing:debiasing",
    "suites.data.biased:biased-digits",
    "suites.models.rebias:rebias",
    {"batch_size": 50},
    {"rho": 0.5, "train": 600, "validation": 100, "noise": 0.0},
    {"widths": [8, 16], "kernel": 7, "biased_kernel": 1},
)
TEXTURED = replace(
    CELL,
    recipe={"batch_size": 40, "sigma_rule": "median", "cells": True, "cell_items": 2},
    data_keys={"bias": "texture", "rho": 0.9, "train": 400, "validation": 300},
    model_keys={"pair": "resnet-cifar", "widths": [4]},
)
CELLS = {"colour": CELL, "texture": TEXTURED}


def _kernels(count: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(count, 3, generator=generator, dtype=torch.double)
    right = left[:, :2] ** 2 + 0.3 * torch.randn(count, 2, generator=generator, dtype=torch.double)
    return gaussian_kernel(left, 1.0), gaussian_kernel(right, 0.7)


def test_kernel_equals_its_formula_pair_by_pair() -> None:
    points = torch.randn(5, 4, dtype=torch.double)
    kernel = gaussian_kernel(points, 1.3)
    for i in range(5):
        for j in range(5):
            expected = np.exp(-float((points[i] - points[j]).square().sum()) / (2 * 1.3**2))
            assert float(kernel[i, j]) == pytest.approx(expected, abs=1e-12)


def test_biased_estimator_is_the_trace_with_centring_matrices() -> None:
    left, right = _kernels()
    count = len(left)
    centre = torch.eye(count, dtype=torch.double) - 1 / count
    expected = torch.trace(left @ centre @ right @ centre) / (count - 1) ** 2
    assert float(hsic(left, right, "biased")) == pytest.approx(float(expected), rel=1e-10)


def test_unbiased_estimator_is_the_u_statistic_over_all_quadruples() -> None:
    """HSIC₁ = E[k_ij (l_ij + l_qr − 2 l_iq)] over distinct i, j, q, r (Song et al. 2012, equation 4)."""
    from itertools import permutations

    left, right = (kernel[:6, :6] for kernel in _kernels())
    terms = [
        float(left[i, j] * (right[i, j] + right[q, r] - 2 * right[i, q])) for i, j, q, r in permutations(range(6), 4)
    ]
    assert float(hsic(left, right)) == pytest.approx(np.mean(terms), rel=1e-9)
    with pytest.raises(ValueError, match="four items"):
        hsic(torch.eye(3), torch.eye(3))


def test_bias_is_the_own_of_a_share_rho_and_even_among_the_rest() -> None:
    labels = np.repeat(np.arange(10), 1000)
    draws = np.random.default_rng(0)
    for rho in (1.0, 0.99, 0.1, 0.0):
        bias = assign_bias(labels, rho, 10, draws)
        table = np.bincount(labels * 10 + bias, minlength=100).reshape(10, 10)
        assert (np.diag(table) == int(1000 * rho)).all()
        rest = table[~np.eye(10, dtype=bool)]
        assert rest.sum() == 10_000 - 10 * int(1000 * rho)
        if rho < 0.99:
            assert rest.max() - rest.min() <= 9


def test_colours_fill_the_background_and_leave_strokes_white() -> None:
    strokes = np.zeros((2, 4, 4), dtype=np.float32)
    strokes[:, 1] = 1
    painted = on_colours(strokes, np.array([0, 9]))
    assert (painted[:, :, 1] == 1).all()
    assert np.allclose(painted[0, :, 0, 0], (1, 0, 0))
    assert np.allclose(painted[1, :, 0, 0], 128 / 255)


@pytest.mark.parametrize("name", CELLS)
def test_splits_are_biased_as_named_and_share_the_test_strokes(name: str) -> None:
    data = CELLS[name].data_for(0)
    own = {split: float((data.groups[split][:, 0] == part.labels).mean()) for split, part in data.splits.items()}
    assert own["biased"] == 1
    assert own["hard"] == 0
    assert own["train"] == pytest.approx(CELLS[name].data_keys["rho"], abs=0.02)
    assert own["test"] == pytest.approx(1 / len(data.classes), abs=0.02)
    items = data.splits["test"].items
    assert (data.splits["biased"].items == items).all()
    assert not set(items) & set(data.splits["train"].items)
    assert len(data.classes) == (10 if name == "colour" else len(TEXTURES))


def _write_idx(path: Path, array: np.ndarray, packed: bool = False) -> None:
    """As the format's document has it: 0, 0, type 8, dimensions; sizes big-endian; bytes."""
    content = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(content) if not packed else path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))


def _mnist(root: Path, train: int = 60, test: int = 20) -> np.ndarray:
    draws = np.random.default_rng(0)
    folder = root / "mnist"
    folder.mkdir(parents=True)
    images = draws.integers(0, 256, (train, 28, 28), dtype=np.uint8) * (draws.random((train, 28, 28)) < 0.2)
    _write_idx(folder / FILES[0], images.astype(np.uint8), packed=True)
    _write_idx(folder / FILES[1], np.resize(np.arange(10, dtype=np.uint8), train))
    _write_idx(folder / FILES[2], images[:test].astype(np.uint8))
    _write_idx(folder / FILES[3], np.resize(np.arange(10, dtype=np.uint8), test), packed=True)
    return images


def test_idx_files_are_read_plain_and_gzipped(tmp_path: Path) -> None:
    images = _mnist(tmp_path)
    data = load_idx(request_for(load_idx, tmp_path, validation=10, path="mnist"))
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 50, "validation": 10, "test": 20}
    part = data.splits["train"]
    assert (part.images[:, 0] == images[part.items]).all()
    assert (part.labels == part.items % 10).all()


def test_biased_mnist_colours_every_pixel_that_is_zero(tmp_path: Path) -> None:
    images = _mnist(tmp_path)
    data = load_biased_mnist(request_for(load_biased_mnist, tmp_path, validation=10, bias="colour", rho=0.5, size=28))
    part = data.splits["train"]
    white = part.images.transpose(0, 2, 3, 1)[images[part.items] > 0]
    assert (white == 1).all()
    assert data.mean == (0.5, 0.5, 0.5)
    small = load_biased_mnist(request_for(load_biased_mnist, tmp_path, validation=10, rho=0.5, size=14)).splits["train"]
    blocks = part.images.reshape(len(part), 3, 14, 2, 14, 2).mean(axis=(3, 5))
    assert np.allclose(small.images, blocks, atol=1e-6)
    with pytest.raises(HarnessError, match="does not divide 28"):
        load_biased_mnist(request_for(load_biased_mnist, tmp_path, validation=10, bias="colour", rho=0.5, size=13))


def test_biased_mnist_on_textures_has_nine_digits_in_grey(tmp_path: Path) -> None:
    images = _mnist(tmp_path)
    data = load_biased_mnist(request_for(load_biased_mnist, tmp_path, validation=10, bias="texture", rho=0.5, size=28))
    part = data.splits["train"]
    assert part.images.shape[1:] == (1, 28, 28)
    assert len(data.mean) == len(data.std) == 1
    assert data.classes == tuple("012345678")
    assert 0 < part.labels.max() < 9
    assert (part.images[:, 0][images[part.items] > 0] == 1).all()
    grey = part.images[:, 0][images[part.items] == 0]
    assert 0 <= grey.min() < 0.1
    assert 0.6 < grey.max() <= 0.7 + 1e-6


def test_damaged_idx_files_are_refused(tmp_path: Path) -> None:
    _mnist(tmp_path)
    path = tmp_path / "mnist" / FILES[2]
    whole = path.read_bytes()
    for content, message in (
        (whole[:-1], "but has 15679"),
        (b"\x00\x01" + whole[2:], "is not an IDX file"),
        (whole[:2] + b"\x0d" + whole[3:], "type 0x0d"),
        (whole[:3] + b"\x01" + whole[4:], "1 dimensions"),
    ):
        path.write_bytes(content)
        with pytest.raises(HarnessError, match=message):
            read_idx(path, 3, "idx")
    packed = tmp_path / "mnist" / (FILES[0] + ".gz")
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(HarnessError, match="damaged"):
        read_idx(tmp_path / "mnist" / FILES[0], 3, "idx")
    with pytest.raises(MissingDataError):
        read_idx(tmp_path / "nothing", 3, "idx")


def _imagenet9(root: Path) -> list[str]:
    from PIL import Image

    rows = []
    for name, members in imagenet9.MEMBERS.items():
        for wnid in members:
            for folder, file in (("imagenet/train", f"{wnid}_1.JPEG"), ("imagenet/val", f"ILSVRC2012_val_{wnid}.JPEG")):
                (root / folder / wnid).mkdir(parents=True)
                Image.new("RGB", (12, 10)).save(root / folder / wnid / file)
            rows.append(f"{wnid}/ILSVRC2012_val_{wnid}.JPEG,{name},{len(rows) % 9},0,1")
    (root / "imagenet-a" / "n01641577").mkdir(parents=True)
    Image.new("RGB", (12, 10)).save(root / "imagenet-a" / "n01641577" / "0.123_x_ _y_0.9.jpg")
    (root / "imagenet9").mkdir()
    lines = [",".join(imagenet9.COLUMNS), *rows]
    (root / "imagenet9" / imagenet9.CSV).write_text("\n".join(lines) + "\n")
    return lines


def test_imagenet9_joins_classes_and_reads_the_published_clusters(tmp_path: Path) -> None:
    lines = _imagenet9(tmp_path)
    request = request_for(imagenet9.load, tmp_path, size=8, resize=8)
    data = imagenet9.load(request)
    assert data.classes[:3] == ("dog", "cat", "frog")
    assert len(data.splits["train"]) == len(data.splits["test"]) == 42
    assert data.splits["hard"].labels.tolist() == [2]
    assert data.groups["test"].shape == (42, 3)
    assert sorted(data.groups["test"][:, 0].tolist()) == sorted(number % 9 for number in range(42))
    file = tmp_path / "imagenet9" / imagenet9.CSV
    for damaged, message in (
        (lines[:-1], "lacks it"),
        (["a,b", *lines[1:]], "columns"),
        ([lines[0], lines[1].replace(",0,0,1", ",x,0,1"), *lines[2:]], "not a number"),
        ([lines[0], lines[1].replace("dog", "cat"), *lines[2:]], "states 'cat'"),
    ):
        file.write_text("\n".join(damaged) + "\n")
        with pytest.raises(HarnessError, match=message):
            imagenet9.load(request)
    file.unlink()
    with pytest.raises(MissingDataError):
        imagenet9.load(request)


def test_the_two_updates_move_one_network_each() -> None:
    task = CELL.build(0)
    model = task.build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    moved: list[set[str]] = []

    def update(result: StepResult) -> None:
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        optimizer.zero_grad(set_to_none=True)
        result.loss.backward()
        optimizer.step()
        moved.append({n.split(".")[0] for n, p in model.named_parameters() if not torch.equal(before[n], p)})

    model.train()
    task.optimize(next(iter(task.batches(0))), 0, update)
    assert moved == [{"biased"}, {"target"}]


def test_losses_are_cross_entropy_and_hsic_with_their_signs() -> None:
    task = replace(CELL, recipe={**CELL.recipe, "independence": 2.0, "dependence": 3.0}).build(0)
    model = task.build()
    batch = next(iter(task.batches(0)))
    target, biased = model.target.features(batch.images), model.biased.features(batch.images)
    value = hsic(gaussian_kernel(target, 1.0), gaussian_kernel(biased, 1.0))
    expected = F.cross_entropy(model.biased.head(biased), batch.labels) - 3 * value
    assert torch.allclose(task.biased_step(batch, target.detach()).loss, expected, atol=1e-6)
    expected = F.cross_entropy(model.target.head(target), batch.labels) + 2 * value
    assert torch.allclose(task.training_step(batch, 0).loss, expected, atol=1e-6)


def test_without_weights_it_is_a_plain_training_of_the_target() -> None:
    task = replace(CELL, recipe={**CELL.recipe, "independence": 0.0, "dependence": 0.0}).build(0)
    train(task, 3)
    fresh = CELL.build(0).build()
    same = [torch.equal(a, b) for a, b in zip(task.model.biased.parameters(), fresh.biased.parameters(), strict=True)]
    assert all(same)


def test_the_median_rule_follows_the_features_and_is_restored() -> None:
    task = TEXTURED.build(0)
    train(task, 1)
    first = task.sigmas
    assert first != (1.0, 1.0)
    assert task.state() == {"sigmas": list(first)}
    other = TEXTURED.build(0)
    other.build()
    other.restore(task.state())
    assert other.sigmas == first


def test_probe_passes_over_the_biased_networks_updates() -> None:
    task = CELL.build(0)
    model = task.build()
    probe = task.probe(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    seen: list[dict[str, float]] = []

    def update(result: StepResult) -> None:
        optimizer.zero_grad(set_to_none=True)
        result.loss.backward()
        probe.before_step()
        optimizer.step()
        seen.append(probe.after_step(optimizer))

    model.train()
    task.optimize(next(iter(task.batches(0))), 0, update)
    assert seen[0] == {}
    assert seen[1]["projected_share.conv"] == 1.0
    assert seen[1]["angular_update.conv"] > 0


def test_cell_accuracy_weighs_cells_alike_and_drops_small_ones() -> None:
    labels = np.array([0] * 10 + [1] * 10)
    groups = np.array([0] * 9 + [1] + [1] * 10)[:, None]
    correct = np.array([True] * 9 + [False] + [False] * 5 + [True] * 5)
    assert cell_accuracy(correct, labels, groups, 1) == pytest.approx(100 * (1 + 0 + 0.5) / 3)
    assert cell_accuracy(correct, labels, groups, 5) == pytest.approx(75)
    twice = np.concatenate([groups, np.zeros_like(groups)], axis=1)
    assert cell_accuracy(correct, labels, twice, 5) == pytest.approx((75 + 70) / 2)
    with pytest.raises(HarnessError, match="lower cell_items"):
        cell_accuracy(correct, labels, groups, 50)


def test_bagnet_sees_small_patches_only_and_resnet18_has_its_size() -> None:
    """BagNet18's released widths and strides: a pixel reaches a feature through 3×3 stem and one 3×3 block."""
    body = BagBody(3, (4, 4, 4, 4), (2, 2, 2, 1), (1, 0, 0, 0)).eval()
    assert len(body.blocks) == 8  # of two convolutions each, with stem and logits 18 layers
    image = torch.randn(1, 3, 64, 64, requires_grad=True)
    maps = body(image)
    maps[0, :, maps.shape[2] // 2, maps.shape[3] // 2].sum().backward()
    touched = image.grad.abs().sum((0, 1)).nonzero()
    assert int((touched.amax(0) - touched.amin(0)).max()) + 1 <= 5
    with torch.device("meta"):
        pair = model_from(rebias.build, {"channels": 3, "classes": 1000}, pair="resnet18", widths=[16])
    assert sum(p.numel() for p in pair.target.parameters()) == 11_689_512  # torchvision's resnet18
    logits = pair(torch.empty(1, 3, 224, 224, device="meta"))
    assert logits.shape == (1, 1000)
    assert pair.biased(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 1000)


@pytest.mark.full
@pytest.mark.data
@pytest.mark.skipif("HARNESS_DATA" not in os.environ, reason="HARNESS_DATA is not set")
def test_biased_mnist_from_the_published_files() -> None:
    root = Path(os.environ["HARNESS_DATA"])
    data = load_biased_mnist(request_for(load_biased_mnist, root, size=14, validation=500, test=1000))
    part = data.splits["train"]
    assert len(part) == 59_500
    assert part.images.shape[1:] == (3, 14, 14)
    denied = (data.groups["train"][:, 0] != part.labels).sum()
    assert 59 <= denied <= 70  # a thousandth, rounded up class by class
