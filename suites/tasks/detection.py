"""Object detection by CenterNet or SSD, scored by COCO's average precision."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.registry.metadata import TaskMetadata
from harness.trial.contracts import Artifact, Diagnostic, Evaluation, StepResult
from harness.trial.loading import FileRows, Loader, PendingBatch
from harness.trial.options import option
from methods.optimizers.diagnostics import WeightDiagnostic, roles_of
from suites.data.boxes import BoxedImages, BoxFiles, BoxSplit
from suites.models.detectors import SSD, CenterNet, default_boxes
from suites.tasks.augment import enlarged
from suites.tasks.common import ShuffledTask, evaluating
from suites.tasks.decoding import decode_square, full_scale, on_device
from suites.tasks.detection_losses import (
    Detection,
    Target,
    centernet_detections,
    centernet_loss,
    ssd_detections,
    ssd_loss,
)

AUGMENTATIONS = ("none", "flip", "zoom-flip")
SHOWN, SHOWN_SCORE = 8, 0.3  # test images in the picture, and the lowest score of a drawn box


@dataclass(frozen=True, slots=True)
class DetectionBatch:
    """Images (B, C, S, S), boxes in pixels and labels by image."""

    images: Tensor
    boxes: tuple[Target, ...]


class BoxBatches:
    """One split's images as normalised batches with their boxes."""

    def __init__(self, data: BoxedImages, split: BoxSplit, device: torch.device, loader: Loader | None = None) -> None:
        self.split, images = split, split.images
        self.files = images if isinstance(images, BoxFiles) else None
        self.in_files = self.files is not None
        self.images = None if isinstance(images, BoxFiles) else on_device(images, device)
        self.scale = full_scale(images)
        self.mean, self.std = (torch.tensor(x, device=device).view(1, -1, 1, 1) for x in (data.mean, data.std))
        self.first = np.searchsorted(split.places, np.arange(len(split) + 1))
        self.device, self.loader = device, loader or Loader(device)

    def __len__(self) -> int:
        return len(self.split)

    def take(self, places: Sequence[int]) -> DetectionBatch:
        """Images with their boxes, those of crowds omitted."""
        return self.loader.now(self.reading(places))

    def reading(self, places: Sequence[int]) -> PendingBatch[DetectionBatch]:
        finish, files = partial(self._made, places), self.files
        if files is None:
            return PendingBatch((), finish)
        size = files.size
        chosen = [files.paths[place] for place in places]
        rows = FileRows(chosen, lambda row, file: decode_square(file, size), (3, size, size))
        return PendingBatch((rows,), finish)

    def _made(self, places: Sequence[int], read: Tensor | None = None) -> DetectionBatch:
        if read is None:
            assert self.images is not None
            read = self.images[torch.tensor(places, device=self.device)]
        boxes = []
        for place in places:
            rows = np.arange(self.first[place], self.first[place + 1])
            rows = rows[~self.split.crowd[rows]]
            boxes.append((torch.tensor(self.split.boxes[rows]), torch.tensor(self.split.labels[rows])))
        return DetectionBatch((read.float() / self.scale).sub_(self.mean).div_(self.std), tuple(boxes))


def mirrored(batch: DetectionBatch, chosen: Tensor) -> DetectionBatch:
    """Mirror the ``chosen`` images (B,) and their boxes left to right."""
    side = batch.images.shape[-1]
    images = torch.where(chosen.to(batch.images.device)[:, None, None, None], batch.images.flip(-1), batch.images)
    boxes = []
    for flip, (corners, labels) in zip(chosen.tolist(), batch.boxes, strict=True):
        if flip:
            left, top, right, bottom = corners.unbind(1)
            corners = torch.stack([side - right, top, side - left, bottom], dim=1)
        boxes.append((corners, labels))
    return DetectionBatch(images, tuple(boxes))


def zoomed(batch: DetectionBatch, windows: Tensor) -> DetectionBatch:
    """Enlarge windows (B, 3) (left, top, side in shares); drop boxes with centres outside."""
    side = batch.images.shape[-1]
    left, top, share = windows.unbind(1)
    images = enlarged(batch.images, torch.stack([top, left, share, share], dim=1), padding="zeros")
    boxes = []
    for (x, y, size), (corners, labels) in zip(windows.tolist(), batch.boxes, strict=True):
        moved = (corners - side * torch.tensor([x, y, x, y])) / size
        centre = (moved[:, :2] + moved[:, 2:]) / 2
        kept = ((centre > 0) & (centre < side)).all(dim=1)
        boxes.append((moved[kept].clamp(0, side), labels[kept]))
    return DetectionBatch(images, tuple(boxes))


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionOptions:
    """Options of the task ``detection``."""

    detections: int = option(100, "largest number of boxes an image", low=1)
    smallest_box: float = option(0.2, "size of ssd's default boxes on the first map, in sides", low=0.01)
    largest_box: float = option(0.9, "size of ssd's default boxes on the last map, in sides", low=0.01)
    augment: str = option("none", "augmentation of training images", choices=AUGMENTATIONS)


class ObjectDetection(ShuffledTask):
    """Boxes and classes by CenterNet's or SSD's loss; ``zoom-flip`` takes windows of 60–140 % of the side."""

    metadata = TaskMetadata(
        name="detection",
        target="ObjectDetection",
        summary="object detection by CenterNet or SSD, scored by COCO's average precision",
        slots=("optimizer",),
        metrics=("average-precision", "average-precision-50", "trivial.average-precision"),
        reads=("boxes",),
        options=DetectionOptions,
    )

    options: DetectionOptions
    data: BoxedImages
    splits: dict[str, BoxBatches]

    def build(self) -> nn.Module:
        self.data = self.context.load_data()
        self.read_splits(lambda split: BoxBatches(self.data, split, self.device, self.loader))
        facts = {"classes": len(self.data.classes), "channels": self.data.channels, "size": self.data.size}
        self.model = self.context.build_model(facts).to(self.device)
        if isinstance(self.model, SSD):
            probe = torch.zeros(1, self.data.channels, self.data.size, self.data.size, device=self.device)
            with evaluating(self.model):
                sides = self.model.map_sides(probe)
            self.defaults = default_boxes(sides, self.options.smallest_box, self.options.largest_box).to(self.device)
        elif not isinstance(self.model, CenterNet):
            raise HarnessError("detection: the model must be a detector: model {name: detector}")
        return self.model

    def readings(self, epoch: int) -> Iterator[PendingBatch[DetectionBatch]]:
        for places, generator in self.shuffled(epoch):
            reading = self.splits["train"].reading(places.tolist())
            yield reading.then(partial(self._augmented, generator=generator))

    def _augmented(self, batch: DetectionBatch, generator: torch.Generator) -> DetectionBatch:
        if self.options.augment == "none":
            return batch
        if self.options.augment == "zoom-flip":
            share = 0.6 + 0.8 * torch.rand(len(batch.images), generator=generator)
            place = torch.rand(2, len(batch.images), generator=generator) * (1 - share)
            batch = zoomed(batch, torch.stack([place[0], place[1], share], dim=1))
        return mirrored(batch, torch.rand(len(batch.images), generator=generator) < 0.5)

    def training_step(self, batch: DetectionBatch, step: int) -> StepResult:
        outputs = self.model(batch.images)
        if isinstance(self.model, SSD):
            return StepResult(ssd_loss(outputs, batch.boxes, self.defaults, self.data.size))
        return StepResult(centernet_loss(outputs, batch.boxes, CenterNet.stride))

    def detect(self, images: Tensor) -> list[Detection]:
        """Boxes in pixels, scores and classes per image."""
        outputs = tuple(part.float() for part in self.model(images))
        most = self.options.detections
        if isinstance(self.model, SSD):
            return ssd_detections((outputs[0], outputs[1]), self.defaults, most, self.data.size)
        return centernet_detections((outputs[0], outputs[1], outputs[2]), most, CenterNet.stride)

    def scores(self, split: str) -> Evaluation:
        """Average precision in 0–100 (overlaps .50–.95, and .50); the baseline is the mean training box."""
        part, classes = self.splits[split], len(self.data.classes)
        chunks = torch.arange(len(part)).split(self.recipe.eval_batch)
        taken = self.loader.ahead(part.reading(places.tolist()) for places in chunks)
        detections = [detection for batch in taken for detection in self.detect(batch.images)]
        whole, half = average_precision(part.split, detections, classes)
        trivial, _ = average_precision(part.split, [self._usual()] * len(part), classes)
        scores = {"average-precision": whole, "average-precision-50": half, "trivial.average-precision": trivial}
        return Evaluation(scores)

    def _usual(self) -> Detection:
        train = self.data.splits["train"]
        label = int(np.bincount(train.labels).argmax()) if len(train.labels) else 0
        box = train.boxes.mean(axis=0) if len(train.boxes) else np.zeros(4, dtype=np.float32)
        return torch.tensor(box)[None], torch.ones(1), torch.tensor([label])

    def artifacts(self) -> list[Artifact]:
        from suites.tasks.pictures import as_pixels, save_rows, with_boxes

        part = self.splits["test"]
        batch = part.take(list(range(min(SHOWN, len(part)))))
        with evaluating(self.model):
            detections = self.detect(batch.images)
        pairs = []
        pictures = as_pixels(batch.images, part.mean, part.std)
        for image, true, (boxes, scores, labels) in zip(pictures, batch.boxes, detections, strict=True):
            sure = (scores >= SHOWN_SCORE).cpu()
            names = [[self.data.classes[int(label)] for label in drawn] for drawn in (true[1], labels.cpu()[sure])]
            left = with_boxes(image, true[0].numpy(), names[0], true=True)
            pairs.append((left, with_boxes(image, boxes.cpu()[sure].numpy(), names[1], true=False)))
        rows = [[*left, *right] for left, right in zip(pairs[::2], pairs[1::2], strict=False)]
        path = save_rows(rows, self.context.folder / "detections.png")
        caption = f"test images with their true boxes (dashed), then the detections scored {SHOWN_SCORE} and above"
        return [Artifact("detections", "picture", path, caption)]

    def probe(self, model: nn.Module) -> Diagnostic | None:
        """As usual, but a head's last convolution has the role ``linear``: no norm is behind it."""
        assert isinstance(model, CenterNet | SSD)
        last = {id(parameter) for layer in model.outputs() for parameter in layer.parameters()}
        named, roles = dict(model.named_parameters()), roles_of(model)
        roles |= {name: "linear" for name in roles if id(named[name]) in last}
        return WeightDiagnostic(named.items(), roles)


def average_precision(split: BoxSplit, detections: Sequence[Detection], classes: int) -> tuple[float, float]:
    """COCO's average precision (.50–.95, and at .50) in 0–100, by faster-coco-eval."""
    from faster_coco_eval import COCO, COCOeval_faster  # type: ignore[import-untyped]

    truth: dict[str, list[dict[str, object]]] = {
        "images": [{"id": image} for image in range(len(split))],
        "categories": [{"id": number, "name": str(number)} for number in range(classes)],
        "annotations": [
            {
                "id": place + 1,
                "image_id": int(split.places[place]),
                "category_id": int(split.labels[place]),
                "bbox": _as_coco(box),
                "area": float((box[2] - box[0]) * (box[3] - box[1])),
                "iscrowd": int(split.crowd[place]),
            }
            for place, box in enumerate(split.boxes)
        ],
    }
    rows = [
        {"image_id": image, "category_id": label, "bbox": _as_coco(box), "score": score}
        for image, (boxes, scores, labels) in enumerate(detections)
        for box, score, label in zip(boxes.cpu().numpy(), scores.tolist(), labels.tolist(), strict=True)
    ]
    if not rows or not truth["annotations"]:
        return 0.0, 0.0
    reference = COCO(truth)
    run = COCOeval_faster(reference, reference.loadRes(rows), "bbox", print_function=lambda *_: None)
    run.evaluate()
    run.accumulate()
    run.summarize()
    return 100 * max(float(run.stats[0]), 0.0), 100 * max(float(run.stats[1]), 0.0)


def _as_coco(box: np.ndarray) -> list[float]:
    left, top, right, bottom = (float(edge) for edge in box)
    return [left, top, right - left, bottom - top]


METADATA = ObjectDetection.metadata
