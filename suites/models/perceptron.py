"""Networks over feature vectors: a linear model, and a multi-layer perceptron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import option


class Perceptron(nn.Module):
    """Linear layers, each but the last with optional norm, ReLU and dropout."""

    def __init__(self, features: int, outputs: int, hidden: tuple[int, ...], dropout: float, norm: str) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = features
        for width in hidden:
            layers.append(nn.Linear(before, width, bias=norm == "none"))
            if norm != "none":
                layers.append(nn.BatchNorm1d(width) if norm == "batch" else nn.LayerNorm(width))
            layers.append(nn.ReLU())
            if dropout:
                layers.append(nn.Dropout(dropout))
            before = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(before, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """(B, features) to (B, outputs)."""
        return self.head(self.body(features))


@dataclass(frozen=True, slots=True, kw_only=True)
class PerceptronOptions:
    """Options of the model ``mlp``."""

    hidden: tuple[int, ...] = option((64, 64), "width of each hidden layer")
    dropout: float = option(0.0, "dropout after each hidden layer", low=0, high=0.95)
    norm: str = option("none", "norm of each hidden layer", choices=("none", "batch", "layer"))


def build_perceptron(request: ModelRequest[PerceptronOptions]) -> Perceptron:
    """Build the network for ``facts``: ``features`` and ``outputs``."""
    options, facts = request.options, request.facts
    return Perceptron(int(facts["features"]), int(facts["outputs"]), options.hidden, options.dropout, options.norm)


def build_linear(request: ModelRequest[Any]) -> Perceptron:
    """One linear layer for ``facts``: ``features`` and ``outputs``."""
    return Perceptron(int(request.facts["features"]), int(request.facts["outputs"]), (), 0.0, "none")


METADATA = (
    ModelMetadata(
        name="mlp",
        target="build_perceptron",
        summary="a multi-layer perceptron over feature vectors",
        source="Rumelhart, Hinton and Williams, Learning representations by back-propagating errors, Nature 1986",
        options=PerceptronOptions,
    ),
    ModelMetadata(
        name="linear",
        target="build_linear",
        summary="one linear layer over feature vectors: logistic or least-squares regression by gradients",
        source="Cox, The regression analysis of binary sequences, JRSS B 1958",
    ),
)
