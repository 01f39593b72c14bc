"""Debiasing by ReBias: a target network kept independent of a biased one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.metadata import TaskMetadata
from harness.trial.contracts import Diagnostic, Evaluation, StepResult
from harness.trial.options import option
from methods.optimizers.diagnostics import WeightDiagnostic, roles_of
from suites.data.biased import BiasedImages
from suites.models.rebias import RebiasPair
from suites.tasks.augment import AugmentOptions
from suites.tasks.common import ImageBatch, ImageTask, evaluating, share_of

SIGMAS, ESTIMATORS = ("fixed", "median"), ("unbiased", "biased")
# Share of the training batches, from the released code's sigma_update_sampling_rate.
SIGMA_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class DebiasingOptions(AugmentOptions):
    """Options of the task ``debiasing``."""

    independence: float = option(1.0, "λ_f, weight of HSIC in the target's loss", low=0)
    dependence: float = option(1.0, "λ_g, weight of −HSIC in the biased network's loss", low=0)
    biased_updates: int = option(1, "updates of the biased network per update of the target", low=0)
    sigma: float = option(1.0, "width of both kernels with the fixed rule", low=1e-6)
    sigma_rule: str = option("fixed", "median: of the features' distances, each epoch", choices=SIGMAS)
    estimator: str = option("unbiased", "estimator of HSIC", choices=ESTIMATORS)
    cells: bool = option(False, "unbiased accuracy: mean over pairs of class and bias instead of items")
    cell_items: int = option(10, "fewest items of a counted pair of class and bias", low=1)


class Debiasing(ImageTask):
    """ReBias (Bahng et al., ICML 2020, equation 4): two minimisations in turn.

    On each batch, as released, first the biased network g on CE(g) − λ_g·HSIC(f, g), then the target f on
    CE(f) + λ_f·HSIC(f, g), on pooled features with Gaussian kernels. f's features are computed once a batch. With both
    weights 0 it is plain training of f.
    """

    metadata = TaskMetadata(
        name="debiasing",
        target="Debiasing",
        summary="ReBias: accuracy on images whose bias is independent of the class",
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
        self.load_images()
        model = self.context.build_model(self.facts).to(self.device)
        if not isinstance(model, RebiasPair):
            raise HarnessError("debiasing: the model must be a pair of networks: model {name: rebias}")
        self.model = model
        self.sigmas = (self.options.sigma,) * 2
        return self.model

    @property
    def plain(self) -> bool:
        """True if the target is trained without the biased network."""
        return self.options.independence == 0 and self.options.dependence == 0

    def optimize(self, batch: ImageBatch, step: int, update: Callable[[StepResult], None]) -> StepResult:
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
        """The target's loss with the biased network unchanged."""
        return self._target_step(batch, self.model.target.features(batch.images))

    def biased_step(self, batch: ImageBatch, features: Tensor) -> StepResult:
        """The biased network's loss, from the target's detached features (B, D)."""
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
        """Median distances of features on a quarter epoch: the kernels' σ, in training mode as released."""
        distances: tuple[list[Tensor], list[Tensor]] = ([], [])
        for batch in islice(self.batches(epoch), int(SIGMA_SHARE * self.steps_per_epoch()) + 1):
            for network, own in zip((self.model.target, self.model.biased), distances, strict=True):
                own.append(squared_distances(network.features(batch.images).float()).flatten())
        target, biased = (max(float(torch.cat(own).median().sqrt()), 1e-6) for own in distances)
        return target, biased

    def scores(self, split: str) -> Evaluation:
        """Accuracies of the target in percent; ``test`` includes biased and hard splits."""
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

    def probe(self, model: nn.Module) -> Diagnostic | None:
        return TargetDiagnostic(self.model.target)

    def mechanisms(self) -> dict[str, float]:
        """Shares right in 0–1 of both networks, on biased (test) and unbiased (validation) images."""
        networks = {"target": self.model.target, "biased_network": self.model.biased}
        splits = {"biased": "biased", "unbiased": "validation" if "validation" in self.splits else "test"}
        with evaluating(self.model):
            return {
                f"{name}_{bias}_share": self.accuracy(network, split) / 100
                for name, network in networks.items()
                for bias, split in splits.items()
            }

    def state(self) -> dict[str, list[float]]:
        return {"sigmas": list(self.sigmas)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.sigmas = (float(state["sigmas"][0]), float(state["sigmas"][1]))


class TargetDiagnostic(WeightDiagnostic):
    """Diagnostics of the target's updates; the biased network's updates are skipped."""

    def __init__(self, target: nn.Module) -> None:
        super().__init__(target.named_parameters(), roles_of(target))
        self.target = target

    def before_step(self) -> None:
        self.active = any(parameter.grad is not None for parameter in self.target.parameters())
        if self.active:
            super().before_step()

    def after_step(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        return super().after_step(optimizer) if self.active else {}


def cell_accuracy(correct: np.ndarray, labels: np.ndarray, groups: np.ndarray, least: int) -> float:
    """Unbiased accuracy in percent: mean over groupings (N, R) of the mean accuracy of a pair of class and group.

    A pair counts with ``least`` items, as in the released evaluator; HarnessError if none does.
    """
    means = []
    for grouping in groups.T:
        pairs = labels * (int(grouping.max()) + 1) + grouping
        counts = np.bincount(pairs)
        right = np.bincount(pairs, weights=correct.astype(np.float64))
        enough = counts >= least
        if not enough.any():
            raise HarnessError(f"debiasing: no pair of class and bias has {least} items; lower cell_items")
        means.append(float((right[enough] / counts[enough]).mean()))
    return 100 * float(np.mean(means))


def squared_distances(features: Tensor) -> Tensor:
    """Squared Euclidean distances (N, N) of features (N, …)."""
    flat = features.flatten(1)
    products = flat @ flat.T
    lengths = products.diagonal()
    return (lengths[:, None] + lengths[None, :] - 2 * products).clamp_min(0)


def gaussian_kernel(features: Tensor, sigma: float | Tensor) -> Tensor:
    """Kernel exp(−‖x − x'‖²/(2σ²)), (N, N), of features (N, …)."""
    return torch.exp(-squared_distances(features) / (2 * sigma**2))


def hsic(left: Tensor, right: Tensor, estimator: str = "unbiased") -> Tensor:
    """Hilbert–Schmidt independence criterion of kernel matrices (N, N).

    0 in expectation for independent items. ``biased`` is tr(KHLH)/(N−1)² (Gretton et al. 2005, equation 9),
    ``unbiased`` is HSIC₁ of Song et al. 2012, equation 5, on kernels with zeroed diagonals; it needs four items
    (ValueError). The released ReBias code subtracts the *vector* of the diagonal instead; the centring removes it.
    """
    count = len(left)
    if estimator == "biased":
        left, right = (kernel - kernel.mean(0, keepdim=True) for kernel in (left, right))
        return (left * right.T).sum() / (count - 1) ** 2
    if estimator != "unbiased":
        raise ValueError(f"unknown estimator '{estimator}'; valid: {', '.join(ESTIMATORS)}")
    if count < 4:
        raise ValueError(f"the unbiased estimator of HSIC needs four items, got {count}")
    hole = 1 - torch.eye(count, device=left.device, dtype=left.dtype)
    left, right = left * hole, right * hole
    together = (left * right.T).sum()
    apart = left.sum() * right.sum() / ((count - 1) * (count - 2))
    rows = left.sum(0) @ right.sum(0)
    return (together + apart - 2 * rows / (count - 2)) / (count * (count - 3))


METADATA = Debiasing.metadata
