"""DANN: embeddings that hide their domain from a classifier."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.alignment.inputs import Adaptation, AdaptationBatch, classification
from methods.metadata import MethodMetadata, Uniform


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

    Ganin et al. 2016, section 4. The reversal's strength rises as 2/(1 + exp(−10·progress)) − 1. The domain term is the
    mean of the two domains' cross-entropies, so that unequal batches have equal weight.

    Args:
        feature_channels: F of the embedding.
        hidden: width of the domain classifier's two hidden layers.
        weight: of the domain term.
        strength: the reversal's strength at the end of the schedule.
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


METADATA = MethodMetadata(
    of=DANN,
    title="DANN",
    paper="Ganin, Ustinova, Ajakan, Germain, Larochelle, Laviolette, Marchand, Lempitsky: Domain-Adversarial Training "
    "of Neural Networks, JMLR 17, 2016, arXiv 1505.07818",
    summary="a domain classifier behind a gradient reversal: embeddings learn to hide their domain",
    required=("feature_channels",),
    search_space={"weight": Uniform(0.05, 5.0, log=True)},
    needs=("target_data",),
    diagnostics=("term_cross_entropy", "term_domain", "domain_accuracy"),
)
