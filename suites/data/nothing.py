"""The empty data source, for tasks whose truth is in their recipe."""

from __future__ import annotations

from typing import Any

from harness.trial.contracts import DataRequest


def load(request: DataRequest[Any]) -> None:
    """There is nothing to load."""
