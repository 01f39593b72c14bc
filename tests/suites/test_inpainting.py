"""Inpainting: the task's contract, its metrics against the field's library, its data as published, its networks."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from task_lab import Cell, info_of, request_for
from torch import Tensor

from harness.errors import HarnessError, MissingDataError
from harness.trial.contracts import ModelRequest, Slot, StepResult
from methods.norms import BatchNormImage, RegionNormBasic, RegionNormLearned
from suites.data import gratings, imagepairs, inpainting_published
from suites.data.imagepairs import ImagePairs, MaskFiles, PairSplit
from suites.data.types import ImageFiles
from suites.models import inpainting as networks
from suites.tasks.decoding import decode_mask
from suites.tasks.inpainting import Inpainting, PairBatches, random_overlap
from suites.tasks.inpainting_metrics import eight_bits, fill_diffusion, fill_mean, item_scores, summarise

RN = {
    "encoder": Slot("region-basic", RegionNormBasic, {}),
    "blocks": Slot("region-learned", RegionNormLearned, {}),
    "decoder": Slot("region-learned", RegionNormLearned, {}),
}
BN = {"all": Slot("batch-image", BatchNormImage, {"statistics": "batch"})}
DATA = {"size": 16, "train": 32, "validation": 8, "test": 8, "masks": 16, "frequency": 1.5}


def made(norms: dict[str, Slot] = RN, discriminator: int = 0, data: Any = None, **own: Any) -> Inpainting:
    """The task, built, on pictures of 16 pixels."""
    recipe = {"steps": 4, "batch_size": 8, "eval_batch": 4, "adversarial": 0.0, **own}
    model = {"width": 4, "blocks": 1, "discriminator_width": discriminator}
    parts = ("suites.tasks.inpainting:inpainting", "suites.data.gratings:gratings")
    cell = Cell(*parts, "suites.models.inpainting:rn-inpainting", recipe, DATA, model, norms)
    task: Inpainting = cell.build(0, data=data)
    task.build()
    return task


SIXTY_FOUR = ImagePairs(
    {
        name: PairSplit(
            np.random.default_rng(1).integers(0, 256, (8, 3, 64, 64), dtype=np.uint8),
            gratings.blobs(np.random.default_rng(2), 8, 64, 0.2, 0.5),
            np.arange(8),
        )
        for name in ("train", "validation", "test")
    }
)


def test_the_discriminator_moves_by_its_own_loss_and_the_generator_leaves_it_alone() -> None:
    task = made(data=SIXTY_FOUR, discriminator=2, adversarial=0.1)
    assert [group.get("lr_scale") for group in task.parameter_groups(task.model)] == [None, 0.1]
    generator, discriminator = task.model.generator, task.model.discriminator
    assert discriminator is not None
    seen: list[tuple[bool, bool]] = []

    def update(result: StepResult) -> None:
        for parameter in task.model.parameters():
            parameter.grad = None
        result.loss.backward()
        networks_moved = [any(p.grad is not None for p in item.parameters()) for item in (generator, discriminator)]
        seen.append((networks_moved[0], networks_moved[1]))

    task.optimize(next(task.batches(0)), 0, update)
    assert seen == [(False, True), (True, False)]
    assert all(p.requires_grad for p in task.model.parameters())


def test_loss_is_l1_of_the_composite_over_the_mean_of_the_mask() -> None:
    task = made()
    batch = next(task.batches(0))
    prediction = task.model(batch.images * (1 - batch.holes) + batch.holes, batch.holes)
    expected = ((prediction - batch.images).abs() * batch.holes).mean() / batch.holes.mean()
    torch.testing.assert_close(task.training_step(batch, 0).loss, expected)


def test_trivial_predictors_need_no_training_and_know_no_network() -> None:
    task = made(predictor="diffusion")
    assert not task.trains
    scores = task.evaluate("test").metrics
    assert scores["hole-psnr"] == pytest.approx(scores["diffusion.hole-psnr"])
    scores = made(predictor="mean").evaluate("test").metrics
    assert scores["psnr"] == pytest.approx(scores["trivial.psnr"])


def test_one_picture_per_trial(tmp_path: Path) -> None:
    task = made()
    task.context = replace(task.context, folder=tmp_path)
    (artifact,) = task.artifacts()
    with Image.open(artifact.path) as picture:
        assert picture.size == (48, 64)
        assert np.asarray(picture).std() > 10
    assert artifact.path.stat().st_size < 50_000


def test_probe_measures_shift_and_regions() -> None:
    task = made()
    probe = task.probe(task.model)
    result = probe.measure()  # type: ignore[attr-defined]
    assert result["mean_shift.first"] > 0.1
    assert {"mean_shift", "mean_shift.blocks", "rnl_share", "rnl_alive", "rnl_iou"} <= set(result)
    assert not any(getattr(part, "record", False) for part in task.model.modules())
    plain = made(norms=BN)
    of_plain = plain.probe(plain.model).measure()  # type: ignore[union-attr]
    assert "rnl_iou" not in of_plain
    assert of_plain["mean_shift.blocks"] > 0
    # Alone and among others an image is filled differently, except where nothing is pooled.
    assert task.mechanisms()["batch_mates"] > 1e-4
    paper = {name: Slot(slot.name, slot.factory, {"statistics": "paper"}) for name, slot in RN.items()}
    assert made(norms=paper).mechanisms()["batch_mates"] < 1e-4


def test_overlap_of_a_random_region() -> None:
    draws = torch.rand(2, 200_000, generator=torch.Generator().manual_seed(0))
    region, hole = draws[0] < 0.3, draws[1] < 0.4
    drawn = float((region & hole).sum() / (region | hole).sum())
    assert random_overlap(0.3, 0.4) == pytest.approx(drawn, abs=0.01)


def pair(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(3, 3, 24, 28, generator=generator)
    hole = (torch.rand(3, 1, 24, 28, generator=generator) < 0.4).float()
    return torch.lerp(truth, torch.rand(truth.shape, generator=generator), hole), truth, hole


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_scikit_images(seed: int) -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    composite, truth, hole = pair(seed)
    ours = item_scores(composite, truth, hole)
    for number, (a, b) in enumerate(zip(eight_bits(composite), eight_bits(truth), strict=True)):
        a8, b8 = ((255 * x).round().byte().permute(1, 2, 0).numpy() for x in (a, b))
        similar = metrics.structural_similarity(a8, b8, win_size=11, channel_axis=2, data_range=255)
        assert float(ours["ssim"][number]) == pytest.approx(similar, abs=1e-9)
        assert float(ours["psnr"][number]) == pytest.approx(metrics.peak_signal_noise_ratio(b8, a8), abs=1e-9)


def test_hole_scores_and_bins() -> None:
    composite, truth, hole = pair(9)
    scores = item_scores(composite, truth, hole)
    # Outside the hole nothing differs, so the two PSNR differ by the hole's share alone.
    share = hole.double().mean((1, 2, 3))
    torch.testing.assert_close(scores["psnr"] - scores["hole-psnr"], -10 * share.log10())
    torch.testing.assert_close(scores["l1"], scores["hole-l1"] * share)
    binned = summarise(scores, torch.tensor([0.1, 0.11, 0.55]))
    assert binned["hole-psnr_0-10"] == pytest.approx(float(scores["hole-psnr"][0]))
    assert binned["hole-l1_10-20"] == pytest.approx(float(scores["hole-l1"][1]))
    assert "hole-psnr_20-30" not in binned


def test_diffusion_continues_a_slope_and_mean_does_not() -> None:
    slope = torch.linspace(0, 1, 32).expand(1, 3, 32, 32).contiguous()
    hole = torch.zeros(1, 1, 32, 32)
    hole[..., 8:24, 8:24] = 1
    assert float((fill_diffusion(slope, hole) - slope).abs().max()) < 0.02
    filled_in = fill_mean(slope, hole)
    assert float((filled_in - 0.5).abs()[..., 8:24, 8:24].max()) < 1e-3
    assert torch.equal(filled_in * (1 - hole), slope * (1 - hole))


def test_generated_holes_have_the_ratios_asked_for() -> None:
    masks = gratings.blobs(np.random.default_rng(0), 50, 32, 0.2, 0.5).mean((1, 2, 3))
    assert 0.199 < masks.min() < 0.25
    assert 0.45 < masks.max() < 0.501


@pytest.mark.parametrize(("size", "valid"), [(16, True), (18, False)])
def test_sides_are_divisible_by_four(size: int, valid: bool) -> None:
    options = networks.GeneratorOptions(width=2, blocks=1, mask_channel=True, discriminator_width=0)
    request = ModelRequest(options, {"size": size}, BN)
    if not valid:
        with pytest.raises(HarnessError, match="divisible by 4"):
            networks.build(request)
        return
    out = networks.build(request)(torch.rand(2, 3, size, size), torch.zeros(2, 1, size, size))
    assert out.shape == (2, 3, size, size)
    assert 0 <= float(out.min()) <= float(out.max()) <= 1


def test_published_network_has_three_rnb_and_eighteen_rnl_and_a_patch_of_seventy_pixels() -> None:
    with torch.device("meta"):
        model = networks.build(ModelRequest(networks.GeneratorOptions(), {"size": 256}, RN))
    kinds = [type(part) for part in model.modules()]
    assert (kinds.count(RegionNormBasic), kinds.count(RegionNormLearned)) == (3, 18)
    model = networks.PatchDiscriminator(1).eval()
    image = torch.rand(1, 3, 128, 128, requires_grad=True)
    out = model(image)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    rows = (image.grad.abs().sum((0, 1, 3)) > 0).nonzero()
    assert int(rows.max() - rows.min()) + 1 == 70


def photograph(path: Path, size: tuple[int, int] = (40, 32), colour: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour, 0, 0)).save(path)


def mask(path: Path, white: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((32, 32), dtype=np.uint8)
    pixels[:, :8] = 255
    Image.fromarray(pixels if white else 255 - pixels).save(path)


def pairs_folder(root: Path) -> Path:
    for number in range(6):
        photograph(root / "train" / f"{number // 2:04d}_{number:04d}.png", colour=number)
        photograph(root / "val" / f"{number:04d}_{number:04d}.png")
        mask(root / "masks_train" / f"{number}.png")
    mask(root / "masks_val" / "0.png")
    return root


def load_pairs(root: Path, **keys: Any) -> ImagePairs:
    return imagepairs.load_folder(request_for(imagepairs.load_folder, Path(), path=str(root), size=16, **keys))


def test_imagepairs_split_by_photograph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    data = load_pairs(pairs_folder(tmp_path / "data"), validation=1)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 4, "validation": 2, "test": 6}
    held = set((data.splits["validation"].items // 2).tolist())
    assert len(held) == 1
    assert not held & set((data.splits["train"].items // 2).tolist())
    masks = data.splits["test"].masks
    assert isinstance(masks, np.ndarray)
    assert masks.mean() == pytest.approx(0.25)


def test_imagepairs_refuse_what_they_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    root = pairs_folder(tmp_path / "data")
    with pytest.raises(HarnessError, match="none of 3 photographs"):
        load_pairs(root, validation=3)
    (root / "masks_val" / "0.png").write_bytes(b"no image")
    with pytest.raises(HarnessError, match="not a mask"):
        load_pairs(root)
    (root / "masks_val" / "0.png").unlink()
    with pytest.raises(HarnessError, match="masks_test"):
        load_pairs(root)


def published(root: Path, name: str, **keys: Any) -> ImagePairs:
    info = info_of("suites.data.inpainting_published", name)
    load: Callable[..., ImagePairs] = getattr(inpainting_published, info.target)
    return load(request_for(load, root, name, size=16, **keys))


def published_folder(root: Path) -> Path:
    """Places365-standard small images, CelebA's list (a file and 0, 1 or 2 a line) and the masks' two archives."""
    for number in range(3):
        photograph(root / "places2" / "data_256" / "a" / "abbey" / f"0000000{number}.jpg")
        photograph(root / "celeba" / "img_align_celeba" / f"00000{number}.jpg")
        photograph(root / "paris-streetview" / "paris_train_original" / f"48.8_2.3_90_-00{number}.JPG")
    photograph(root / "places2" / "val_256" / "Places365_val_00000001.jpg")
    photograph(root / "paris-streetview" / "paris_eval_gt" / "001_im.png")
    (root / "celeba" / "list_eval_partition.txt").write_text("000000.jpg 0\n000001.jpg 1\n000002.jpg 2\n")
    for folder in inpainting_published.MASKS.values():
        mask(root / "irregular-masks" / Path(folder).relative_to("irregular-masks") / "00000.png")
    return root


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("places2", {"train": 2, "validation": 1, "test": 1}),
        ("celeba", {"train": 1, "validation": 1, "test": 1}),
        ("paris-streetview", {"train": 2, "validation": 1, "test": 1}),
    ],
)
def test_published_folders(name: str, counts: dict[str, int], tmp_path: Path) -> None:
    data = published(published_folder(tmp_path), name, validation=1)
    assert {split: len(part) for split, part in data.splits.items()} == counts
    batch = PairBatches(data.splits["test"], torch.device("cpu")).take(torch.tensor([0]), torch.tensor([0]))
    assert batch.images.shape == (1, 3, 16, 16)
    assert float(batch.holes.mean()) == pytest.approx(0.25)


def test_published_folders_that_are_damaged(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError):
        published(tmp_path, "places2")
    root = published_folder(tmp_path)
    (root / "celeba" / "list_eval_partition.txt").write_text("000000.jpg 3\n")
    with pytest.raises(HarnessError, match="expected a file name and 0, 1 or 2"):
        published(root, "celeba")
    (root / "celeba" / "list_eval_partition.txt").write_text("000009.jpg 0\n")
    with pytest.raises(HarnessError, match="not in img_align_celeba"):
        published(root, "celeba")


def test_masks_of_either_polarity(tmp_path: Path) -> None:
    mask(tmp_path / "white.png")
    mask(tmp_path / "black.png", white=False)
    assert decode_mask(tmp_path / "white.png", 16, True).mean() == 0.25
    assert np.array_equal(decode_mask(tmp_path / "white.png", 16, True), decode_mask(tmp_path / "black.png", 16, False))
    files = MaskFiles(ImageFiles((tmp_path / "white.png",), 16, 16))
    assert len(files) == 1
    (tmp_path / "white.png").write_bytes(b"")
    with pytest.raises(HarnessError, match="not a mask"):
        decode_mask(tmp_path / "white.png", 16, True)


def test_coco_crops_as_stored() -> None:
    root = os.environ.get("HARNESS_DATA")
    if not root or not (Path(root) / "coco-crops" / "coco_crops128.zip").exists():
        pytest.skip("HARNESS_DATA has no coco-crops/coco_crops128.zip")
    data = imagepairs.load_folder(request_for(imagepairs.load_folder, Path(root), "coco-crops"))
    assert sum(len(split) for split in data.splits.values()) == 1220
    masks = data.splits["test"].masks
    assert isinstance(masks, np.ndarray)
    ratios = masks.mean((1, 2, 3))
    assert 0.02 < ratios.min() < ratios.max() < 0.6
