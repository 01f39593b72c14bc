"""The empty data source, for tasks whose truth is in their recipe."""

from __future__ import annotations

from typing import Any

from harness.registry.cards import DataCard
from harness.trial.contracts import DataRequest


def load(request: DataRequest[Any]) -> None:
    """There is nothing to load."""


CARD = DataCard(
    name="nothing",
    target="load",
    summary="no data: for the synthetic task, whose truth is in its recipe",
    origin="generated",
    content="nothing",
    layout="none",
    home="this project",
    licence="MIT",
    version="1",
)
