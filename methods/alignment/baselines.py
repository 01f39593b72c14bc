"""Baselines of KNN-MMD: source only, fine-tuning, DANN, Deep CORAL, global MMD."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.alignment.inputs import Adaptation, AdaptationBatch, classification
from methods.alignment.mk_mmd import ROOTS, SIGMAS, gaussian_kernels, mk_mmd_loss
from methods.checks import check_choice
from methods.metadata import MethodMetadata, Uniform
from methods.precision import widen


class SourceOnly(Adaptation):
    """Cross-entropy on the source alone."""

    name = "source-only"

    def terms(self, batch: AdaptationBatch) -> dict[str, Tensor]:
        """``cross_entropy``."""
        return {"cross_entropy": classification(batch.source_logits, batch.source_labels)}


class FineTune(Adaptation):
    """Cross-entropy on the source; from the share ``start`` of the training on the labelled shots too."""

    name = "fine-tune"
    needs = ("support_logits", "support_labels")

    def __init__(self, *, start: float = 0.8, keep_source: float = 0.0) -> None:
        super().__init__()
        if not 0 <= start <= 1 or keep_source < 0:
            raise ValueError(
                f"fine-tune: start must lie in [0, 1] and keep_source be at least 0, got {start} and {keep_source}"
            )
        self.start, self.keep_source = start, keep_source

    def terms(self, batch: AdaptationBatch) -> dict[str, Tensor]:
        """``cross_entropy`` of the source and ``support`` of the shots."""
        tuning = batch.progress >= self.start
        source = classification(batch.source_logits, batch.source_labels)
        support = classification(batch.require("support_logits"), batch.require("support_labels"))
        return {
            "cross_entropy": (self.keep_source if tuning else 1.0) * source,
            "support": (1.0 if tuning else 0.0) * support,
        }


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


def reverse_gradient(features: Tensor, strength: float) -> Tensor:
    """Return the features; multiply their gradient by −strength."""
    reversed_: Tensor = _Reversal.apply(features, strength)
    return reversed_


class DANN(Adaptation):
    """Source cross-entropy + weight·domain cross-entropy behind a gradient reversal.

    Ganin et al. 2016, section 4. The reversal's strength rises as ``strength``·(2/(1 + exp(−10·progress)) − 1). The
    domain term is the mean of the two domains' cross-entropies, so that unequal batches have equal weight. The domain
    classifier has two hidden layers of width ``hidden``.
    """

    name = "dann"
    needs = ("target_features",)

    def __init__(self, feature_channels: int, *, hidden: int = 64, weight: float = 1.0, strength: float = 1.0) -> None:
        super().__init__()
        self.weight, self.strength = weight, strength
        self.domain_classifier = nn.Sequential(
            nn.Linear(feature_channels, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def reversal(self, progress: float) -> float:
        """The reversal's strength at this share of the training."""
        return self.strength * (2 / (1 + math.exp(-10 * progress)) - 1)

    def terms(self, batch: AdaptationBatch) -> dict[str, Tensor]:
        """``cross_entropy`` and ``domain``."""
        strength = self.reversal(batch.progress)
        losses = []
        for features, is_target in ((batch.source_features, 0.0), (batch.require("target_features"), 1.0)):
            logits = self.domain_classifier(reverse_gradient(features, strength)).float()
            losses.append(F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, is_target)))
        return {
            "cross_entropy": classification(batch.source_logits, batch.source_labels),
            "domain": self.weight * 0.5 * (losses[0] + losses[1]),
        }

    def probe(self, batch: AdaptationBatch) -> dict[str, Tensor]:
        """``domain_accuracy`` (percent, mean over both domains; 50 is chance)."""
        source = self.domain_classifier(batch.source_features) < 0
        target = self.domain_classifier(batch.require("target_features")) > 0
        return {"domain_accuracy": 50 * (source.float().mean() + target.float().mean())}


def covariance(features: Tensor) -> Tensor:
    """Sample covariance (F, F) of rows; zero for a single row."""
    centred = features - features.mean(dim=0)
    with torch.autocast(features.device.type, enabled=False):
        return centred.T @ centred / max(1, features.shape[0] - 1)


def coral_loss(source: Tensor, target: Tensor) -> Tensor:
    """‖cov(source) − cov(target)‖²_F/(4F²), a scalar; Sun, Saenko 2016 (arXiv 1607.01719).

    Samples are (N, F) and (M, F), computed in float32 or wider.
    """
    difference = covariance(widen(source)) - covariance(widen(target))
    return difference.square().sum() / (4 * source.shape[1] ** 2)


class DeepCORAL(Adaptation):
    """Source cross-entropy + weight·CORAL loss of the embeddings."""

    name = "deep-coral"
    needs = ("target_features",)

    def __init__(self, *, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def terms(self, batch: AdaptationBatch) -> dict[str, Tensor]:
        """``cross_entropy`` and ``coral``."""
        return {
            "cross_entropy": classification(batch.source_logits, batch.source_labels),
            "coral": self.weight * coral_loss(batch.source_features, batch.require("target_features")),
        }


class GlobalMMD(Adaptation):
    """Source cross-entropy + weight·MK-MMD(source, target); ``sigmas`` and ``root`` as there."""

    name = "mmd"
    needs = ("target_features",)

    def __init__(self, *, weight: float = 2.0, sigmas: Sequence[float] = SIGMAS, root: str = "guarded") -> None:
        super().__init__()
        check_choice(self.name, "root", root, ROOTS)
        self.weight, self.sigmas, self.root = weight, tuple(sigmas), root

    def terms(self, batch: AdaptationBatch) -> dict[str, Tensor]:
        """``cross_entropy`` and ``global``."""
        whole = mk_mmd_loss(batch.source_features, batch.require("target_features"), self.sigmas, self.root)
        return {
            "cross_entropy": classification(batch.source_logits, batch.source_labels),
            "global": self.weight * whole,
        }

    def probe(self, batch: AdaptationBatch) -> dict[str, Tensor]:
        """``global_mmd`` and ``mean_kernel`` between the domains."""
        source, target = widen(batch.source_features), widen(batch.require("target_features"))
        return {
            "global_mmd": mk_mmd_loss(source, target, self.sigmas),
            "mean_kernel": gaussian_kernels(source, target, self.sigmas).mean(),
        }


METADATA = (
    MethodMetadata(
        of=SourceOnly,
        title="source only",
        paper="the usual classification loss",
        summary="cross-entropy on the labelled source, nothing else",
        diagnostics=("term_cross_entropy",),
    ),
    MethodMetadata(
        of=FineTune,
        title="fine-tuning on the shots",
        paper="common practice; no paper",
        summary="training on the source, then on the few labelled target items",
        search_space={"start": Uniform(0.5, 0.95)},
        needs=("support_set",),
        diagnostics=("term_cross_entropy", "term_support"),
    ),
    MethodMetadata(
        of=DANN,
        title="DANN",
        paper="Ganin, Ustinova, Ajakan, Germain, Larochelle, Laviolette, Marchand, Lempitsky: Domain-Adversarial "
        "Training of Neural Networks, JMLR 17, 2016, arXiv 1505.07818",
        summary="a domain classifier behind a gradient reversal: embeddings learn to hide their domain",
        required=("feature_channels",),
        search_space={"weight": Uniform(0.05, 5.0, log=True)},
        needs=("target_data",),
        diagnostics=("term_cross_entropy", "term_domain", "domain_accuracy"),
    ),
    MethodMetadata(
        of=DeepCORAL,
        title="Deep CORAL",
        paper="Sun, Saenko: Deep CORAL: Correlation Alignment for Deep Domain Adaptation, ECCV workshops 2016, "
        "arXiv 1607.01719",
        summary="second moments of source and target embeddings made equal",
        search_space={"weight": Uniform(0.1, 100.0, log=True)},
        needs=("target_data",),
        diagnostics=("term_cross_entropy", "term_coral"),
    ),
    MethodMetadata(
        of=GlobalMMD,
        title="MMD (global)",
        paper="Gretton, Borgwardt, Rasch, Schölkopf, Smola: A Kernel Two-Sample Test, JMLR 13, 2012; in training: "
        "Long, Cao, Wang, Jordan: Learning Transferable Features with Deep Adaptation Networks, ICML 2015, "
        "arXiv 1502.02791",
        summary="the distributions of source and target embeddings drawn together, whatever their classes",
        options={"root": ROOTS},
        search_space={"weight": Uniform(0.1, 10.0, log=True)},
        needs=("target_data",),
        diagnostics=("term_cross_entropy", "term_global", "global_mmd", "mean_kernel"),
    ),
)
