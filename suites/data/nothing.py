"""The empty data source, for tasks with known truth."""

from __future__ import annotations

from typing import Any

from harness.trial.contracts import DataRequest


def load(request: DataRequest[Any]) -> None:
    """Load nothing."""
