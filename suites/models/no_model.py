"""No network: for programs with their own."""

from __future__ import annotations

from typing import Any

from torch import nn

from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest


def build(request: ModelRequest[Any]) -> nn.Module:
    """A module without parameters."""
    return nn.Identity()


METADATA = ModelMetadata(
    name="none", target="build", summary="no network: for programs with their own", source="none: nothing is computed"
)
