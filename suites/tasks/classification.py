"""Image classification: images to class logits, cross-entropy, top-1 accuracy."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.registry.metadata import TaskMetadata
from harness.trial.contracts import Evaluation, StepResult
from harness.trial.loading import PendingBatch
from harness.trial.options import option
from suites.tasks.augment import MixingOptions, mix_batch
from suites.tasks.common import ImageTask, calibrate_batch_norms, freeze_batch_norms, share_of
from suites.tasks.prediction_scores import class_items

# Enough images for the statistics of 64 channels; a whole pass over ImageNet would cost an epoch.
CALIBRATION_IMAGES = 2048

SCORES = ("top1-accuracy", "top5-accuracy", "loss", "trivial.top1-accuracy")
"""Metrics of ``score``."""


@dataclass(frozen=True, slots=True)
class ClassificationBatch:
    """Images (B, C, H, W), labels, mixed-in labels, weight of own label."""

    images: Tensor
    labels: Tensor
    mixed_labels: Tensor
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationOptions(MixingOptions):
    """Options of the task ``classification``."""

    label_smoothing: float = option(0.0, "share of the target spread over all classes", low=0, high=1)
    frozen_bn: bool = option(False, "BatchNorm with the statistics of the initial network throughout")


class Classification(ImageTask):
    """Cross-entropy on class labels.

    ``frozen_bn`` is the negative control of AdamP: BatchNorm layers run in evaluation mode for the whole training.
    Their statistics are those of the initial network on up to 2,048 training images without augmentation
    (``calibrate_batch_norms``), so activations start as normalised as otherwise, but a convolution's scale is no
    longer divided out and its weight is not scale-invariant. γ and β still learn.
    """

    metadata = TaskMetadata(
        name="classification",
        target="Classification",
        summary="image classification by cross-entropy, scored by top-1 accuracy",
        slots=("optimizer", "norm"),
        metrics=SCORES,
        reads=("images",),
        options=ClassificationOptions,
    )

    options: ClassificationOptions
    shares = True  # BatchNorm sees only its process's part

    def build(self) -> nn.Module:
        self.load_images()
        self.model = self.context.build_model(self.facts).to(self.device)
        if self.options.frozen_bn:
            calibrate_batch_norms(self.model, self.calibration(CALIBRATION_IMAGES))
            freeze_batch_norms(self.model)
        return self.model

    def readings(self, epoch: int) -> Iterator[PendingBatch[ClassificationBatch]]:
        train = self.splits["train"]
        for places, generator in self.shuffled(epoch):
            yield train.reading(places, self.options.augment, generator).then(partial(self._mixed, generator))

    def _mixed(self, generator: torch.Generator, taken: tuple[Tensor, Tensor]) -> ClassificationBatch:
        images, partner, weight = mix_batch(taken[0], generator, self.options)
        return ClassificationBatch(self.laid_out(images), taken[1], taken[1][partner], weight)

    def training_step(self, batch: ClassificationBatch, step: int) -> StepResult:
        """Cross-entropy of one batch, with mixed labels weighted like their images."""
        if self.options.frozen_bn:
            freeze_batch_norms(self.model)  # train() may have been called since
        logits = self.model(batch.images)
        smoothing = self.options.label_smoothing
        loss = F.cross_entropy(logits, batch.labels, label_smoothing=smoothing)
        if batch.weight < 1:
            other = F.cross_entropy(logits, batch.mixed_labels, label_smoothing=smoothing)
            loss = batch.weight * loss + (1 - batch.weight) * other
        return StepResult(loss)

    def scores(self, split: str) -> Evaluation:
        """Accuracies in percent, cross-entropy, the majority share, correctness by item."""
        return classified(self, self.model, split)


def classified(task: ImageTask, network: nn.Module, split: str) -> Evaluation:
    """A network's scores on a split; outcomes, classes and predictions by item."""
    labels, logits = task.splits[split].labels, task.outputs(network, split)
    predicted, data = logits.argmax(1).cpu().numpy(), task.data
    items = class_items(data.splits[split].items, predicted, labels.cpu().numpy(), data.classes)
    return Evaluation(score(logits, labels, task.majority), items)


def score(logits: Tensor, labels: Tensor, majority: int) -> dict[str, float]:
    """``SCORES`` of logits (N, classes) in percent; the dummy baseline predicts ``majority``."""
    metrics = {
        "top1-accuracy": share_of(logits.argmax(1) == labels),
        "loss": float(F.cross_entropy(logits, labels)),
        "trivial.top1-accuracy": share_of(labels == majority),
    }
    if logits.shape[1] >= 10:
        metrics["top5-accuracy"] = share_of((logits.topk(5, dim=1).indices == labels[:, None]).any(1))
    return metrics


METADATA = Classification.metadata
