"""Adversarial training: cross-entropy on images attacked by PGD."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.metadata import TaskMetadata
from harness.trial.contracts import Evaluation, StepResult
from harness.trial.options import option
from suites.tasks.augment import AugmentOptions
from suites.tasks.classification import Classification, ClassificationBatch
from suites.tasks.common import ImageBatches, evaluating, share_of

THREATS = ("linf", "l2")
STEPS = ("steepest", "sign")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdversarialOptions(AugmentOptions):
    """Options of the task ``adversarial``."""

    threat: str = option("linf", "norm of the ball around an image", choices=THREATS)
    radius: float = option(4 / 255, "radius of the ball, pixels in 0–1", low=0)
    attack_step: float = option(2 / 255, "length of a PGD step", low=0)
    attack_steps: int = option(10, "PGD steps in training", low=0)
    evaluation_step: float = option(2 / 255, "length of a PGD step in evaluation", low=0)
    evaluation_steps: int = option(10, "PGD steps in evaluation", low=1)
    attack_rule: str = option("steepest", "measure of a PGD step: the ball's norm, or each pixel", choices=STEPS)
    random_start: bool = option(True, "begin at a random point of the ball in training")
    evaluation_start: bool = option(True, "begin at a random point of the ball in evaluation")
    attacked_items: int = option(0, "test images that are attacked, evenly spaced; 0: all", low=0)


class Adversarial(Classification):
    """Training on the worst point of a ball around each image.

    Madry et al. 2018, equation 2.1. The network gets pixels in 0–1, not standardised: radii are in pixels. The attack
    runs the network in evaluation mode, so it leaves the running statistics of BatchNorm unchanged. Random starts
    come from the stream ``attack``, indexed by step, in evaluation by item.
    """

    metadata = TaskMetadata(
        name="adversarial",
        target="Adversarial",
        summary="adversarial training by PGD, scored by accuracy on clean and on attacked images",
        slots=("optimizer", "norm"),
        metrics=("standard-accuracy", "attacked-accuracy", "loss", "trivial.standard-accuracy"),
        reads=("images",),
        options=AdversarialOptions,
    )

    options: AdversarialOptions  # type: ignore[assignment]
    shares = False  # random starts are drawn for a whole batch

    def build(self) -> nn.Module:
        self.data = self.context.load_data()
        zeros, ones = torch.zeros(self.data.channels), torch.ones(self.data.channels)
        self.read_splits(lambda split: ImageBatches(split, zeros, ones, self.device, self.loader))
        self._check_pixels()
        self.model = self.context.build_model(self.facts).to(self.device)
        return self.model

    def _check_pixels(self) -> None:
        for name, split in self.data.splits.items():
            pixels = split.images
            if isinstance(pixels, np.ndarray) and pixels.dtype != np.uint8 and (pixels.min() < 0 or pixels.max() > 1):
                outside = f"pixels of '{name}' lie outside 0–1, which would cut the ball around them"
                raise HarnessError(f"adversarial: {outside}: set noise 0")

    def _mixed(self, generator: torch.Generator, taken: tuple[Tensor, Tensor]) -> ClassificationBatch:
        return ClassificationBatch(self.laid_out(taken[0]), taken[1], taken[1], 1.0)

    def attack(self, *, training: bool) -> PGD:
        """PGD with the recipe's options for training or for evaluation."""
        options = self.options
        length, steps, start = options.evaluation_step, options.evaluation_steps, options.evaluation_start
        if training:
            length, steps, start = options.attack_step, options.attack_steps, options.random_start
        return PGD(options.threat, options.radius, length, steps, start, options.attack_rule)

    def training_step(self, batch: ClassificationBatch, step: int) -> StepResult:
        generator = self.streams.torch("attack", step)
        with evaluating(self.model):
            moved = self.attack(training=True).perturb(self.model, batch.images, batch.labels, generator)
        return StepResult(F.cross_entropy(self.model(self.laid_out(moved)), batch.labels))

    def scores(self, split: str) -> Evaluation:
        """Accuracies in percent on clean and attacked images; outcomes by item."""
        part, chosen = self.splits[split], self._attacked(split)
        clean = self.outputs(self.model, split)
        chunks = enumerate(chosen.split(self.recipe.eval_batch))
        survived = torch.cat([self._survives(part, split, number, places) for number, places in chunks])
        metrics = {
            "standard-accuracy": share_of(clean.argmax(1) == part.labels),
            "attacked-accuracy": share_of(survived),
            "loss": float(F.cross_entropy(clean, part.labels)),
            "trivial.standard-accuracy": share_of(part.labels == self.majority),
        }
        items = self.data.splits[split].items[chosen.cpu().numpy()]
        return Evaluation(metrics, {"item": items, "correct": survived.cpu().numpy()})

    def _attacked(self, split: str) -> Tensor:
        count, most = len(self.splits[split]), self.options.attacked_items
        if split != "test" or not most or most >= count:
            return torch.arange(count, device=self.device)
        return (torch.arange(most, device=self.device) * count) // most

    def _survives(self, part: ImageBatches, split: str, number: int, places: Tensor) -> Tensor:
        images, labels = part.take(places)
        generator = self.streams.torch("attack", "evaluation", split, number)
        moved = self.attack(training=False).perturb(self.model, self.laid_out(images), labels, generator)
        return self.model(self.laid_out(moved)).argmax(1) == labels

    def mechanisms(self) -> dict[str, float]:
        """Shares right in 0–1 on validation, clean and under attack."""
        if not self.validated:
            return {}
        return {f"{name}_share": self.validated[f"{name}-accuracy"] / 100 for name in ("standard", "attacked")}


@dataclass(frozen=True, slots=True)
class PGD:
    """Projected gradient descent on inputs within a ball (Madry et al. 2018, section 2.1).

    An untargeted attack on the cross-entropy; images are pixels in 0–1 and stay there. ``threat`` (``linf`` or ``l2``)
    is the norm of the ball, ``radius`` is in the units of the pixels (4/255, 80/255). The ``rule`` ``steepest`` steps
    along the ball's own steepest direction (the sign, or the normalised gradient); ``sign`` along the sign of the
    gradient for every ball, with ``step`` per pixel, and only then projects.
    """

    threat: str
    radius: float
    step: float
    steps: int
    random_start: bool = True
    rule: str = "steepest"

    def perturb(
        self, logits: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, generator: Generator
    ) -> Tensor:
        """Move images (B, C, H, W) within the ball to raise the cross-entropy; random starts are drawn on the CPU."""
        moved = images
        if self.random_start:
            moved = (images + self._start(images, generator)).clamp(0, 1)
        for _ in range(self.steps):
            with torch.enable_grad():
                point = moved.detach().requires_grad_(True)
                loss = F.cross_entropy(logits(point), labels, reduction="sum")
                (gradient,) = torch.autograd.grad(loss, point)
            moved = (images + self.project(moved + self.step * self._direction(gradient) - images)).clamp(0, 1)
        return moved.detach()

    def project(self, shift: Tensor) -> Tensor:
        """Project a shift (B, C, H, W) onto the ball."""
        if self.threat == "linf":
            return shift.clamp(-self.radius, self.radius)
        return shift * (self.radius / _lengths(shift)).clamp(max=1.0)

    def _direction(self, gradient: Tensor) -> Tensor:
        by_sign = self.threat == "linf" or self.rule == "sign"
        return gradient.sign() if by_sign else gradient / _lengths(gradient)

    def _start(self, images: Tensor, generator: Generator) -> Tensor:
        if self.threat == "linf":
            drawn = torch.rand(images.shape, generator=generator).mul_(2).sub_(1).mul_(self.radius)
        else:
            drawn = torch.randn(images.shape, generator=generator)
            # u^(1/d) of a uniform u makes the radius that of a uniform point of a ball in d dimensions.
            share = torch.rand(len(images), generator=generator) ** (1 / images[0].numel())
            drawn = drawn / _lengths(drawn) * (self.radius * share)[:, None, None, None]
        return drawn.to(images.device, images.dtype)


def _lengths(batch: Tensor) -> Tensor:
    return batch.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]


METADATA = Adversarial.metadata
