"""Sources that are not loaded as data: nothing, and published weights that networks start from."""

from typing import Any

from harness.errors import HarnessError
from harness.trial.contracts import DataRequest


def load_nothing(request: DataRequest[Any]) -> None:
    """Load nothing, for tasks with known truth."""


def load_weights(request: DataRequest[Any]) -> None:
    """Refuse to load weights as data: models read them."""
    raise HarnessError(f"{request.name} contains weights: use it as 'weights:' of a dependency, not as data")
