"""Boxes, targets and losses against written-out ones; COCO's and VOC's layouts; average precision; learning."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from task_lab import DETECTION, model_from, options_for, request_for
from torch.nn import functional as F
from torchvision.ops import box_convert, box_iou

from harness.errors import HarnessError, MissingDataError
from harness.trial.contracts import DataRequest, ModelRequest
from suites.data import boxes as sources
from suites.data.boxes import BoxSplit
from suites.models import detectors
from suites.models.detectors import SSD, CenterNet, default_boxes
from suites.tasks import detection_losses as losses
from suites.tasks.detection import DetectionBatch, average_precision, mirrored, zoomed

BOXED = replace(DETECTION, model_keys={**DETECTION.model_keys, "kind": "ssd", "extra": 16})
CELLS = {"centernet": DETECTION, "ssd": BOXED}


def _random_boxes(count: int, seed: int = 0, size: float = 32) -> torch.Tensor:
    draws = torch.rand(count, 4, generator=torch.Generator().manual_seed(seed)) * size
    return torch.cat([torch.minimum(draws[:, :2], draws[:, 2:]), torch.maximum(draws[:, :2], draws[:, 2:]) + 1], 1)


def test_suppression_is_greedy_within_each_class() -> None:
    boxes, classes = _random_boxes(30), torch.arange(30) % 2
    scores = torch.rand(30, generator=torch.Generator().manual_seed(2)).round(decimals=1)
    overlap = box_iou(boxes, boxes)
    for threshold in (0.1, 0.3, 0.6):
        kept: list[int] = []
        for place in scores.argsort(descending=True, stable=True).tolist():
            rivals = [other for other in kept if classes[other] == classes[place]]
            if all(overlap[place, other] <= threshold for other in rivals):
                kept.append(place)
        assert losses.suppress(boxes, scores, classes, threshold).tolist() == kept


@pytest.mark.parametrize(("height", "width"), [(10.0, 10.0), (5.0, 20.0), (30.0, 7.0)])
def test_within_the_radius_shifted_boxes_overlap_enough(height: float, width: float) -> None:
    reach = losses.radius(height, width, 0.7)
    true = torch.tensor([[0.0, 0.0, width, height]])
    worst = 1.0
    for first in (-reach, 0.0, reach):
        for second in (-reach, 0.0, reach):
            moved = torch.tensor([[first, first, width + second, height + second]])
            worst = min(worst, float(box_iou(true, moved)))
    assert worst >= 0.7 - 1e-4
    assert worst < 0.75  # and no smaller than needed


def test_heat_maps_peak_at_the_centres_of_their_class() -> None:
    boxes = torch.tensor([[4.0, 8.0, 12.0, 20.0], [20.0, 20.0, 30.0, 26.0]])
    heat, places, sizes, offsets = losses.centre_targets([(boxes, torch.tensor([1, 0]))], 3, 8, 4)
    assert heat.shape == (1, 3, 8, 8)
    assert (heat == 1).nonzero().tolist() == [[0, 0, 5, 6], [0, 1, 3, 2]]
    assert float(heat[0, 2].max()) == 0
    assert places.tolist() == [[0, 3, 2], [0, 5, 6]]
    assert torch.allclose(sizes, torch.tensor([[2.0, 3.0], [2.5, 1.5]]))
    assert torch.allclose(offsets, torch.tensor([[0.0, 0.5], [0.25, 0.75]]))


def test_focal_loss_equals_equation_1_cell_by_cell() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 3, 3, generator=generator)
    heat = 0.9 * torch.rand(2, 2, 3, 3, generator=generator)
    heat[0, 1, 1, 1] = heat[1, 0, 2, 0] = 1
    total = 0.0
    for share, wanted in zip(logits.sigmoid().flatten().tolist(), heat.flatten().tolist(), strict=True):
        if wanted == 1:
            total += (1 - share) ** 2 * np.log(share)
        else:
            total += (1 - wanted) ** 4 * share**2 * np.log(1 - share)
    assert float(losses.focal(logits, heat)) == pytest.approx(-total / 2, rel=1e-5)


def test_centernet_reads_back_its_own_targets() -> None:
    boxes = torch.tensor([[4.0, 8.0, 12.0, 20.0], [20.0, 20.0, 30.0, 26.0]])
    labels = torch.tensor([1, 0])
    heat, places, sizes, offsets = losses.centre_targets([(boxes, labels)], 2, 8, 4)
    logits = torch.logit(heat.clamp(1e-4, 1 - 1e-4))
    maps = torch.zeros(2, 1, 2, 8, 8)
    for source, (values, target) in enumerate(((sizes, maps[0]), (offsets, maps[1]))):
        assert source in (0, 1)
        target[places[:, 0], :, places[:, 1], places[:, 2]] = values
    result, scores, classes = losses.centernet_detections((logits, maps[0], maps[1]), 2, 4)[0]
    order = classes.argsort(descending=True)
    assert torch.allclose(result[order], boxes, atol=1e-4)
    assert classes[order].tolist() == [1, 0]
    assert float(scores.min()) > 0.99
    perfect = losses.centernet_loss((logits, maps[0], maps[1]), [(boxes, labels)], 4)
    worse = losses.centernet_loss((logits, maps[0] + 1, maps[1]), [(boxes, labels)], 4)
    assert float(worse - perfect) == pytest.approx(0.1 * 2, abs=1e-4)


def test_default_boxes_rise_in_size_and_cover_the_image() -> None:
    boxes = default_boxes([4, 2], 0.2, 0.6)
    assert boxes.shape == (4 * (16 + 4), 4)
    assert boxes[:4, 2].tolist() == pytest.approx([0.2, 0.2 * 2**0.5, 0.2 / 2**0.5, (0.2 * 0.6) ** 0.5])
    assert boxes[-4, 2:].tolist() == pytest.approx([0.6, 0.6])
    assert boxes[0, :2].tolist() == pytest.approx([0.125, 0.125])
    assert boxes[4, :2].tolist() == pytest.approx([0.375, 0.125])  # columns first


def test_matching_gives_every_box_a_default_box_and_offsets_are_undone() -> None:
    defaults = default_boxes([8, 4], 0.3, 0.6)
    boxes, labels = _random_boxes(5, 3, 0.8).clamp(max=1), torch.arange(5)
    boxes = torch.cat([boxes[:, :2] * 0.5, boxes[:, :2] * 0.5 + 0.3], dim=1)
    classes, wanted = losses.match(defaults, boxes, labels)
    assert set(classes[classes > 0].tolist()) == {1, 2, 3, 4, 5}
    shared = box_iou(box_convert(defaults, "cxcywh", "xyxy"), boxes)
    favourites = shared.argmax(dim=0)
    plain = torch.ones(len(defaults), dtype=torch.bool)
    plain[favourites] = False
    assert ((shared.max(dim=1).values > 0.5) == (classes > 0))[plain].all()
    assert torch.allclose(losses.decode(losses.encode(wanted, defaults), defaults), wanted, atol=1e-5)
    none, _ = losses.match(defaults, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    assert int(none.sum()) == 0


def test_ssd_loss_takes_the_hardest_three_negatives_a_positive() -> None:
    defaults = default_boxes([4], 0.5, 0.5)
    box, label = torch.tensor([[8.0, 8.0, 24.0, 24.0]]), torch.tensor([0])
    classes, wanted = losses.match(defaults, box / 32, label)
    logits = torch.randn(1, len(defaults), 3, generator=torch.Generator().manual_seed(0))
    offsets = losses.encode(wanted, defaults)[None]
    each = F.cross_entropy(logits[0], classes, reduction="none")
    count = int((classes > 0).sum())
    negatives = each[classes == 0].sort(descending=True).values[: 3 * count]
    expected = float((each[classes > 0].sum() + negatives.sum()) / count)
    assert float(losses.ssd_loss((logits, offsets), [(box, label)], defaults, 32)) == pytest.approx(expected, rel=1e-5)
    moved = offsets + 2.0 * (classes > 0)[None, :, None]
    more = float(losses.ssd_loss((logits, moved), [(box, label)], defaults, 32)) - expected
    assert more == pytest.approx(4 * 1.5, rel=1e-4)  # smooth L1 of 2 is 1.5, four numbers


def test_mirrored_boxes_follow_their_pixels() -> None:
    images = torch.zeros(2, 1, 8, 8)
    images[:, 0, 2:4, 1:3] = 1
    boxes = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    batch = mirrored(DetectionBatch(images, ((boxes, torch.tensor([0])),) * 2), torch.tensor([True, False]))
    for image, (result, _) in zip(batch.images, batch.boxes, strict=True):
        left, top, right, bottom = (int(edge) for edge in result[0])
        assert float(image[0, top:bottom, left:right].mean()) == 1
        assert float(image.sum()) == 4
    with pytest.raises(ValueError, match="longer"):
        mirrored(batch, torch.tensor([True]))


def test_zoomed_boxes_follow_their_pixels_and_those_outside_go() -> None:
    images = torch.zeros(1, 1, 16, 16)
    images[0, 0, 0:4, 4:8] = 1
    boxes = torch.tensor([[4.0, 0.0, 8.0, 4.0], [12.0, 12.0, 16.0, 16.0]])
    batch = zoomed(DetectionBatch(images, ((boxes, torch.tensor([1, 0])),)), torch.tensor([[0.0, 0.0, 0.5]]))
    result, labels = batch.boxes[0]
    assert result.tolist() == [[8.0, 0.0, 16.0, 8.0]]
    assert labels.tolist() == [1]
    assert float(batch.images[0, 0, 1:7, 9:15].mean()) == pytest.approx(1)


def _split(seed: int = 0, count: int = 12, classes: int = 3) -> BoxSplit:
    draws = np.random.default_rng(seed)
    places = np.sort(draws.integers(0, count, 30))
    boxes = _random_boxes(30, seed).numpy()
    crowd = np.zeros(30, dtype=bool)
    labels = draws.integers(0, classes, 30)
    return BoxSplit(np.zeros((count, 1, 32, 32)), boxes, labels, places, crowd, np.arange(count))


def test_average_precision_is_100_for_the_truth_and_0_for_nothing() -> None:
    split = _split()
    result = []
    for image in range(len(split)):
        rows = split.places == image
        result.append((torch.tensor(split.boxes[rows]), torch.ones(int(rows.sum())), torch.tensor(split.labels[rows])))
    assert average_precision(split, result, 3) == pytest.approx((100, 100))
    nothing = (torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))
    assert average_precision(split, [nothing] * len(split), 3) == (0, 0)


def test_average_precision_equals_torchmetrics_on_random_boxes() -> None:
    from torchmetrics.detection import MeanAveragePrecision

    split = _split(1)
    draws = torch.Generator().manual_seed(0)
    result, predictions, truth = [], [], []
    for image in range(len(split)):
        rows = split.places == image
        boxes = torch.tensor(split.boxes[rows])
        moved = boxes + torch.randn(boxes.shape, generator=draws)
        moved[:, 2:] = torch.maximum(moved[:, 2:], moved[:, :2] + 0.5)
        noisy = torch.cat([moved, _random_boxes(3, image)])
        scores = torch.rand(len(noisy), generator=draws)
        labels = torch.cat([torch.tensor(split.labels[rows]), torch.tensor([0, 1, 2])])
        result.append((noisy, scores, labels))
        predictions.append({"boxes": noisy, "scores": scores, "labels": labels})
        truth.append({"boxes": boxes, "labels": torch.tensor(split.labels[rows])})
    # Its own thresholds are rounded to float32, which moves a recall of exactly 0.1 below the threshold 0.1.
    metric = MeanAveragePrecision(
        backend="faster_coco_eval",
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
    )
    metric.update(predictions, truth)
    expected = metric.compute()
    ours = average_precision(split, result, 3)
    assert ours == pytest.approx((100 * float(expected["map"]), 100 * float(expected["map_50"])), abs=1e-3)
    assert 0 < ours[0] < ours[1] < 100


def test_crowds_are_neither_hits_nor_misses() -> None:
    boxes = np.array([[0, 0, 10, 10], [12, 12, 30, 30]], dtype=np.float32)
    split = BoxSplit(
        np.zeros((1, 1, 32, 32)), boxes, np.array([0, 0]), np.array([0, 0]), np.array([False, True]), np.array([0])
    )
    result = (torch.tensor([[0.0, 0, 10, 10], [14, 14, 28, 28]]), torch.tensor([0.5, 0.9]), torch.tensor([0, 0]))
    assert average_precision(split, [result], 1)[0] == pytest.approx(100)


def _picture(path: Path, width: int, height: int) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (200, 10, 10)).save(path)


def _coco(root: Path) -> dict[str, Any]:
    data = {
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 40, "height": 20},
            {"id": 9, "file_name": "b.jpg", "width": 10, "height": 10},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "bbox": [10, 5, 20, 10], "area": 200, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 40, 20], "area": 800, "iscrowd": 1},
            {"id": 3, "image_id": 7, "category_id": 3, "bbox": [5, 5, 0, 4], "area": 0, "iscrowd": 0},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}],
    }
    for split in ("train", "val"):
        _picture(root / "own" / split / "a.jpg", 40, 20)
        _picture(root / "own" / split / "b.jpg", 10, 10)
        file = root / "own" / "annotations" / f"instances_{split}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(data))
    return data


def _request(load: Callable[..., Any], root: Path) -> DataRequest[Any]:
    return request_for(load, root, path="own", size=32)


def test_coco_boxes_are_scaled_to_the_square(tmp_path: Path) -> None:
    data = _coco(tmp_path)
    with pytest.warns(UserWarning, match="2 boxes without area"):
        result = sources.load_coco(_request(sources.load_coco, tmp_path))
    assert result.classes == ("car", "dog")  # by rising id
    assert result.dropped == 2
    part = result.splits["train"]
    assert part.images.shape == (2, 3, 32, 32)
    assert part.boxes.tolist() == [[8, 8, 24, 24], [0, 0, 32, 32]]
    assert part.labels.tolist() == [1, 0]
    assert part.crowd.tolist() == [False, True]
    assert part.places.tolist() == [0, 0]
    file = tmp_path / "own" / "annotations" / "instances_val.json"
    for key in ("images", "categories", "annotations"):
        file.write_text(json.dumps({name: value for name, value in data.items() if name != key}))
        with pytest.raises(HarnessError, match="not a COCO instances file"):
            sources.load_coco(_request(sources.load_coco, tmp_path))
    bad = {**data, "annotations": [{**data["annotations"][0], "category_id": 99}]}
    file.write_text(json.dumps(bad))
    with pytest.raises(HarnessError, match="99"):
        sources.load_coco(_request(sources.load_coco, tmp_path))
    file.write_text("{")
    with pytest.raises(HarnessError, match="instances_val"):
        sources.load_coco(_request(sources.load_coco, tmp_path))
    file.unlink()
    with pytest.raises(HarnessError, match="expected annotations"):
        sources.load_coco(_request(sources.load_coco, tmp_path))


@pytest.mark.parametrize("name", CELLS)
def test_a_single_test_image_is_scored(name: str, tmp_path: Path) -> None:
    """Detection failed where the test set is one picture."""
    data = _coco(tmp_path)
    file = tmp_path / "own" / "annotations" / "instances_val.json"
    file.write_text(json.dumps({**data, "images": data["images"][:1]}))
    result = sources.load_coco(_request(sources.load_coco, tmp_path))
    assert len(result.splits["test"]) == 1
    task = replace(CELLS[name], recipe={**DETECTION.recipe, "batch_size": 1}).build(0, data=result)
    task.build()
    for _ in range(2):
        scores = task.evaluate("test").metrics
        assert scores
        assert all(0 <= value <= 100 for value in scores.values())


def test_coco2017_reads_images_from_their_files(tmp_path: Path) -> None:
    data = _coco(tmp_path)
    root = tmp_path / "coco2017"
    for part in ("train2017", "val2017"):
        for name, sides in (("a.jpg", (40, 20)), ("b.jpg", (10, 10))):
            _picture(root / part / name, *sides)
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(data))
    result = sources.load_coco2017(request_for(sources.load_coco2017, tmp_path, size=32))
    assert len(result.splits["train"]) == 1  # the image without boxes teaches nothing
    assert len(result.splits["test"]) == 2
    task = replace(DETECTION, recipe={"batch_size": 1}).build(0, data=result)
    task.build()
    batch = next(iter(task.batches(0)))
    assert batch.images.shape == (1, 3, 32, 32)
    assert batch.boxes[0][1].tolist() == [1]
    with pytest.raises(MissingDataError):
        sources.load_coco2017(request_for(sources.load_coco2017, tmp_path / "nothing", size=32))


XML = """<annotation><filename>{name}.jpg</filename><size><width>40</width><height>20</height><depth>3</depth></size>
<object><name>dog</name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>
<bndbox><xmin>11</xmin><ymin>6</ymin><xmax>30</xmax><ymax>15</ymax></bndbox></object>
<object><name>person</name><difficult>1</difficult>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>40</xmax><ymax>20</ymax></bndbox></object>
<object><name>dog</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>5</xmax><ymax>9</ymax></bndbox></object>
</annotation>"""


def test_voc_boxes_count_from_one_with_both_ends_inside(tmp_path: Path) -> None:
    root = tmp_path / "own" / "VOC2012"
    for split, names in (("train", ("2008_1", "2008_2")), ("val", ("2008_3",))):
        (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            _picture(root / "JPEGImages" / f"{name}.jpg", 40, 20)
            (root / "Annotations").mkdir(exist_ok=True)
            (root / "Annotations" / f"{name}.xml").write_text(XML.format(name=name))
    # what the devkit's per-class lists look like: no split
    (root / "ImageSets" / "Main" / "dog_train.txt").write_text("2008_1  1\n2008_2 -1\n")
    with pytest.warns(UserWarning, match="3 boxes without area"):
        result = sources.load_voc(_request(sources.load_voc, tmp_path))
    assert result.classes == ("dog", "person")
    assert {name: len(part) for name, part in result.splits.items()} == {"train": 2, "test": 1}
    part = result.splits["test"]
    assert part.boxes.tolist() == [[8, 8, 24, 24], [0, 0, 32, 32]]
    assert part.crowd.tolist() == [False, True]
    file = root / "Annotations" / "2008_3.xml"
    whole = file.read_text()
    for damaged, message in (
        (whole[:-5], "not a VOC annotation"),
        (whole.replace("<ymax>15</ymax>", ""), "lacks bndbox/ymax"),
        (whole.replace("<width>40</width>", "<width>0</width>"), "not a VOC annotation"),
    ):
        file.write_text(damaged)
        with pytest.raises(HarnessError, match=message):
            sources.load_voc(_request(sources.load_voc, tmp_path))
    file.unlink()
    with pytest.raises(HarnessError, match=r"2008_3\.xml is missing"):
        sources.load_voc(_request(sources.load_voc, tmp_path))


def test_pasted_digits_fill_their_boxes() -> None:
    data = replace(DETECTION, data_keys={**DETECTION.data_keys, "noise": 0.0}).data_for(0)
    part = data.splits["train"]
    for place, (left, top, right, bottom) in zip(part.places, part.boxes.astype(int), strict=True):
        window = part.images[place, 0, top:bottom, left:right]
        assert window.max() > 0.5
        assert (window > 0.3).any(0)[[0, -1]].all()
        assert (window > 0.3).any(1)[[0, -1]].all()


def test_detectors_have_the_shapes_of_their_papers_and_normed_heads() -> None:
    with torch.device("meta"):
        center = model_from(detectors.build, {"channels": 3, "classes": 80}, backbone="resnet18", head=64)
        heat, sizes, offsets = center(torch.empty(1, 3, 512, 512, device="meta"))
        assert (heat.shape, sizes.shape, offsets.shape) == ((1, 80, 128, 128), (1, 2, 128, 128), (1, 2, 128, 128))
        keys = {"kind": "ssd", "backbone": "vgg16-bn", "head": 256, "maps": 6, "extra": 256}
        ssd = model_from(detectors.build, {"channels": 3, "classes": 80}, **keys).eval()
        assert ssd.map_sides(torch.empty(1, 3, 300, 300, device="meta"))[0] == 37  # conv4_3 of 300 pixels
    for model in (center, ssd):
        normed = sum(isinstance(part, torch.nn.BatchNorm2d) for part in model.modules())
        convs = sum(isinstance(part, torch.nn.Conv2d | torch.nn.ConvTranspose2d) for part in model.modules())
        assert convs == normed + len(model.outputs())
    with pytest.raises(HarnessError, match="needs the backbone"):
        model_from(detectors.build, {"channels": 3, "classes": 2}, **{**keys, "kind": "centernet"})
    with pytest.raises(HarnessError, match="3 channels"):
        model_from(detectors.build, {"channels": 1, "classes": 2}, **keys)


@pytest.mark.parametrize("kind", ["centernet", "ssd"])
def test_a_pretrained_backbone_is_taken_over(tmp_path: Path, kind: str) -> None:
    from safetensors.torch import save_file

    from suites.models.cnn import ConvNet

    classifier = ConvNet(1, 10, [8, 16, 16], [1, 2, 2])
    save_file(classifier.state_dict(), tmp_path / "product.safetensors")
    options = options_for(detectors.build, kind=kind, widths=[8, 16, 16], pretrained=True)
    request = ModelRequest(options, {"channels": 1, "classes": 2}, prerequisites={"backbone": tmp_path})
    model = detectors.build(request)
    assert isinstance(model, CenterNet | SSD)
    assert torch.equal(model.body[0].weight, classifier.body[0].weight)
    with pytest.raises(MissingDataError):
        detectors.build(replace(request, prerequisites={}))


def test_probe_counts_the_last_convolutions_as_linear() -> None:
    task = DETECTION.build(0)
    model = task.build()
    probe = task.probe(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model.train()
    task.training_step(next(iter(task.batches(0))), 0).loss.backward()
    probe.before_step()
    optimizer.step()
    seen = probe.after_step(optimizer)
    assert seen["projected_share.conv"] == 1.0
    assert seen["projected_share.linear"] < 1.0


DATA = pytest.mark.skipif("HARNESS_DATA" not in os.environ, reason="HARNESS_DATA is not set")


@pytest.mark.full
@pytest.mark.data
@DATA
def test_blood_cells_and_coco_photographs() -> None:
    root = Path(os.environ["HARNESS_DATA"])
    with pytest.warns(UserWarning, match="2 boxes without area"):
        cells = sources.load_voc(request_for(sources.load_voc, root, "bccd", size=64))
    assert cells.classes == ("Platelets", "RBC", "WBC")
    assert sum(len(part) for part in cells.splits.values()) == 364
    assert sum(len(part.boxes) for part in cells.splits.values()) == 4888 - 2
    photographs = sources.load_coco(request_for(sources.load_coco, root, "coco128", size=64))
    assert len(photographs.classes) == 80
    assert sum(len(part.boxes) for part in photographs.splits.values()) + photographs.dropped == 1827
