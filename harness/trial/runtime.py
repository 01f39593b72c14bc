"""What a training needs from outside: where to find its parts, where to compute and write, when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from harness.trial.options import NoOptions
from harness.vocabulary import Kind


@dataclass(frozen=True, slots=True)
class Component:
    """A method, task, data source or model, imported: its class or function and the record of its options.

    A method takes its hyper-parameters as they are and has no such record.
    """

    target: Callable[..., Any]
    options: type[Any] = NoOptions


class Components(Protocol):
    """Finds what a spec names; the registry does (``harness.registry.load``)."""

    def __call__(self, kind: Kind, name: str) -> Component:
        """The ``method``, ``task``, ``data`` source or ``model`` of that name."""
        ...


def _unheard(step: int, steps: int, loss: float) -> None:
    """Nobody listens to the heartbeat."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where a trial runs.

    Attributes:
        folder: where it writes checkpoints, artifacts and its product.
        device: where it computes.
        components: finds the methods, task, data source and model that the spec names.
        data_root: the folder that holds data sets.
        beat: is told (steps done, steps in all, loss) about once a second.
        deadline: of ``time.monotonic()``; checked between steps.
        prerequisites: folders or files of the products that it starts from, by name.
        keep_product: whether another trial starts from its weights.
        checkpoint_seconds: at least so long between two checkpoints.
    """

    folder: Path
    device: torch.device
    components: Components
    data_root: Path
    beat: Callable[[int, int, float], None] = _unheard
    deadline: float = math.inf
    prerequisites: Mapping[str, Path] = field(default_factory=dict)
    keep_product: bool = False
    checkpoint_seconds: float = 60.0
