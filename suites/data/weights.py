"""Weights that networks start from, as they are published; ``sources/weights.yaml`` lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.trial.contracts import DataRequest


def load(request: DataRequest[Any]) -> None:
    """Weights are read by the model that starts from them, not as data.

    Raises:
        HarnessError: always.
    """
    raise HarnessError(f"{request.name} holds weights: name it as 'weights:' of a prerequisite, not as data")
