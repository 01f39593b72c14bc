"""Published weights that networks start from; ``sources/weights.yaml`` lists them."""

from __future__ import annotations

from typing import Any

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest


def load(request: DataRequest[Any]) -> None:
    """Refuse to load weights as data: models read them.

    Raises:
        HarnessError: always.
    """
    raise HarnessError(f"{request.name} contains weights: use it as 'weights:' of a dependency, not as data")
