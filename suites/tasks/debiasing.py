"""Debiasing by ReBias: a target network that is kept independent of a biased one, scored on unbiased images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.cards import TaskCard
from harness.trial.contracts import Evaluation, Probe, StepResult
from harness.trial.options import option
from methods.optimizers.probes import WeightProbe, roles_of
from suites.data.biased import BiasedImages
from suites.models.rebias import RebiasPair
from suites.tasks.augment import AugmentOptions
from suites.tasks.common import ImageBatch, ImageTask, evaluating, share_of

SIGMAS, ESTIMATORS = ("fixed", "median"), ("unbiased", "biased")
# Of the training batches, in the released code's sigma_update_sampling_rate.
SIGMA_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class DebiasingOptions(AugmentOptions):
    """Options of the task ``debiasing``."""

    independence: float = option(1.0, "λ_f, weight of HSIC in the target's loss", low=0)
    dependence: float = option(1.0, "λ_g, weight of −HSIC in the biased network's loss", low=0)
    biased_updates: int = option(1, "of the biased network before one of the target", low=0)
    sigma: float = option(1.0, "width of both kernels where fixed", low=1e-6)
    sigma_rule: str = option("fixed", "median: of the features' distances, each epoch", choices=SIGMAS)
    estimator: str = option("unbiased", "of HSIC", choices=ESTIMATORS)
    cells: bool = option(False, "unbiased accuracy: mean over cells of class and bias instead of items")
    cell_items: int = option(10, "items that a cell needs to count", low=1)


class Debiasing(ImageTask):
    """ReBias (Bahng et al., ICML 2020, equation 4), its two minimisations in turn on each batch as released:

    the biased network g on CE(g) − λ_g·HSIC(f, g), then the target f on CE(f) + λ_f·HSIC(f, g), on pooled features with
    Gaussian kernels. f's features are computed once a batch: the first update leaves f alone. With both weights 0 it
    is a plain training of f (g is then not updated).
    """

    card = TaskCard(
        name="debiasing",
        target="Debiasing",
        summary="ReBias: accuracy on images whose bias says nothing of the class",
        slots=("optimizer",),
        metrics=("unbiased-accuracy", "biased-accuracy", "imagenet-a-accuracy", "loss", "trivial.unbiased-accuracy"),
        reads=("biased-images",),
        options=DebiasingOptions,
    )

    options: DebiasingOptions
    data: BiasedImages
    least_batch = 4
    model: RebiasPair

    def build(self) -> nn.Module:
        """Load the images, build both networks; a model that is no pair is refused (HarnessError)."""
        self.load_images()
        model = self.context.build_model(self.facts).to(self.device)
        if not isinstance(model, RebiasPair):
            raise HarnessError("debiasing: the model must be a pair of networks: model {name: rebias}")
        self.model = model
        self.sigmas = (self.options.sigma,) * 2
        return self.model

    @property
    def plain(self) -> bool:
        """Whether the target is trained without the biased network."""
        return self.options.independence == 0 and self.options.dependence == 0

    def optimize(self, batch: ImageBatch, step: int, update: Callable[[StepResult], None]) -> StepResult:
        """The biased network's updates, then the target's."""
        if self.options.sigma_rule == "median" and step % self.steps_per_epoch() == 0 and not self.plain:
            self.sigmas = self.median_distances(step // self.steps_per_epoch())
        features = self.model.target.features(batch.images)
        if not self.plain:
            for _ in range(self.options.biased_updates):
                update(self.biased_step(batch, features.detach()))
        result = self._target_step(batch, features)
        update(result)
        return result

    def training_step(self, batch: ImageBatch, step: int) -> StepResult:
        """The target's loss with the biased network as it is."""
        return self._target_step(batch, self.model.target.features(batch.images))

    def biased_step(self, batch: ImageBatch, features: Tensor) -> StepResult:
        """The biased network's loss, given the target's features (B, D) without gradient."""
        own = self.model.biased.features(batch.images)
        dependence = self._hsic(features, own)
        loss = F.cross_entropy(self.model.biased.head(own), batch.labels)
        return StepResult(loss - self.options.dependence * dependence)

    def _target_step(self, batch: ImageBatch, features: Tensor) -> StepResult:
        loss = F.cross_entropy(self.model.target.head(features), batch.labels)
        if self.plain:
            return StepResult(loss)
        with torch.no_grad():
            other = self.model.biased.features(batch.images)
        dependence = self._hsic(features, other)
        return StepResult(loss + self.options.independence * dependence, {"hsic": dependence.detach()})

    def _hsic(self, target: Tensor, biased: Tensor) -> Tensor:
        kernels = gaussian_kernel(target.float(), self.sigmas[0]), gaussian_kernel(biased.float(), self.sigmas[1])
        return hsic(*kernels, self.options.estimator)

    @torch.no_grad()
    def median_distances(self, epoch: int) -> tuple[float, float]:
        """σ of the target's and the biased kernel: median distance of features on a quarter of an epoch's batches.

        As released the distances of an item to itself are among them, and features are those of training mode.
        """
        distances: tuple[list[Tensor], list[Tensor]] = ([], [])
        for batch in islice(self.batches(epoch), int(SIGMA_SHARE * self.steps_per_epoch()) + 1):
            for network, own in zip((self.model.target, self.model.biased), distances, strict=True):
                own.append(squared_distances(network.features(batch.images).float()).flatten())
        target, biased = (max(float(torch.cat(own).median().sqrt()), 1e-6) for own in distances)
        return target, biased

    def scores(self, split: str) -> Evaluation:
        """Accuracies of the target in percent; ``test`` also on the biased and, where there is one, the hard split."""
        logits, labels = self.outputs(self.model.target, split), self.splits[split].labels
        correct = logits.argmax(1) == labels
        metrics = {
            "unbiased-accuracy": self._unbiased(split, correct),
            "loss": float(F.cross_entropy(logits, labels)),
            "trivial.unbiased-accuracy": self._unbiased(split, labels == self.majority),
        }
        if split == "test":
            metrics["biased-accuracy"] = self.accuracy(self.model.target, "biased")
            if "hard" in self.splits:
                metrics["imagenet-a-accuracy"] = self.accuracy(self.model.target, "hard")
        return Evaluation(metrics, {"item": self.data.splits[split].items, "correct": correct.cpu().numpy()})

    def _unbiased(self, split: str, correct: Tensor) -> float:
        if not self.options.cells:
            return share_of(correct)
        labels, groups = self.data.splits[split].labels, self.data.groups[split]
        return cell_accuracy(correct.cpu().numpy(), labels, groups, self.options.cell_items)

    def probe(self, model: nn.Module) -> Probe | None:
        """Norms, angular updates and projected shares of the target's weights, on its own updates."""
        return TargetProbe(self.model.target)

    def mechanisms(self) -> dict[str, float]:
        """Whether the bias is there to be taken: shares right in 0–1, of either network, on biased and unbiased images.

        On test images that look like the training's (``biased``) and on validation images without bias.
        """
        networks = {"target": self.model.target, "biased_network": self.model.biased}
        splits = {"biased": "biased", "unbiased": "validation" if "validation" in self.splits else "test"}
        with evaluating(self.model):
            return {
                f"{name}_{bias}_share": self.accuracy(network, split) / 100
                for name, network in networks.items()
                for bias, split in splits.items()
            }

    def state(self) -> dict[str, Any]:
        """The widths of the kernels."""
        return {"sigmas": list(self.sigmas)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.sigmas = (float(state["sigmas"][0]), float(state["sigmas"][1]))


class TargetProbe(WeightProbe):
    """Asked on every update of a probed step, it passes over the biased network's: there the target has no gradient."""

    def __init__(self, target: nn.Module) -> None:
        super().__init__(target.named_parameters(), roles_of(target))
        self.target = target

    def before_step(self) -> None:
        """Measure where the target has gradients."""
        self.asked = any(parameter.grad is not None for parameter in self.target.parameters())
        if self.asked:
            super().before_step()

    def after_step(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """Quantities of the target's update, else nothing."""
        return super().after_step(optimizer) if self.asked else {}


def cell_accuracy(correct: np.ndarray, labels: np.ndarray, groups: np.ndarray, least: int) -> float:
    """Unbiased accuracy in percent: over each grouping the mean accuracy of cells (class, group), then their mean.

    Args:
        correct: (N,) whether each item is right.
        labels: (N,) classes.
        groups: (N, R) bias of each item under R groupings (texture clusters), as in the released evaluator.
        least: items that a cell needs to count; where none has so many, HarnessError.
    """
    means = []
    for grouping in groups.T:
        cells = labels * (int(grouping.max()) + 1) + grouping
        counts = np.bincount(cells)
        right = np.bincount(cells, weights=correct.astype(np.float64))
        enough = counts >= least
        if not enough.any():
            raise HarnessError(f"debiasing: no cell of class and bias holds {least} items; lower cell_items")
        means.append(float((right[enough] / counts[enough]).mean()))
    return 100 * float(np.mean(means))


def squared_distances(features: Tensor) -> Tensor:
    """(N, N) squared Euclidean distances of features (N, …)."""
    flat = features.flatten(1)
    products = flat @ flat.T
    lengths = products.diagonal()
    return (lengths[:, None] + lengths[None, :] - 2 * products).clamp_min(0)


def gaussian_kernel(features: Tensor, sigma: float | Tensor) -> Tensor:
    """(N, N) kernel exp(−‖x − x'‖²/(2σ²)) of features (N, …)."""
    return torch.exp(-squared_distances(features) / (2 * sigma**2))


def hsic(left: Tensor, right: Tensor, estimator: str = "unbiased") -> Tensor:
    """Hilbert–Schmidt independence criterion of kernel matrices (N, N); 0 in expectation where items are independent.

    ``biased`` is tr(KHLH)/(N−1)² (Gretton et al. 2005, equation 9), ``unbiased`` is HSIC₁ of Song et al. 2012,
    equation 5, on kernels with zeroed diagonals. The released ReBias code subtracts the *vector* of the diagonal from
    every row instead; for kernels of diagonal 1 that takes 1 from every entry, which the centring takes out again, so
    both give one value. The unbiased estimator wants four items at least (ValueError).
    """
    count = len(left)
    if estimator == "biased":
        left, right = (kernel - kernel.mean(0, keepdim=True) for kernel in (left, right))
        return (left * right.T).sum() / (count - 1) ** 2
    if estimator != "unbiased":
        raise ValueError(f"no estimator '{estimator}'; valid: {', '.join(ESTIMATORS)}")
    if count < 4:
        raise ValueError(f"the unbiased estimator of HSIC needs four items, got {count}")
    hole = 1 - torch.eye(count, device=left.device, dtype=left.dtype)
    left, right = left * hole, right * hole
    together = (left * right.T).sum()
    apart = left.sum() * right.sum() / ((count - 1) * (count - 2))
    rows = left.sum(0) @ right.sum(0)
    return (together + apart - 2 * rows / (count - 2)) / (count * (count - 3))


CARD = Debiasing.card
