"""Models without layers: one number, and none for programs with their own."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import option


class Scalar(nn.Module):
    """One parameter w of shape (1,); ``forward`` returns it."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([start]) + 0.01 * torch.randn(1))

    def forward(self) -> Tensor:
        """The parameter, shape (1,)."""
        return self.weight


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarOptions:
    """Options of the model ``scalar``."""

    start: float = option(0.0, "start of the number, up to noise of sd 0.01")


def build_scalar(request: ModelRequest[ScalarOptions]) -> nn.Module:
    """Build a scalar that starts near ``start``."""
    return Scalar(request.options.start)


def build_none(request: ModelRequest[Any]) -> nn.Module:
    """A module without parameters."""
    return nn.Identity()


METADATA = (
    ModelMetadata(
        name="scalar",
        target="build_scalar",
        summary="one number: for the synthetic task",
        source="none",
        options=ScalarOptions,
    ),
    ModelMetadata(
        name="none",
        target="build_none",
        summary="no network: for programs with their own",
        source="none: nothing is computed",
    ),
)
