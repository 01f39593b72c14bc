"""Surroundings of a training: its parts, its device and folder, its deadline."""

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
    """An imported method, task, data source or model: its class or function and the record of its options.

    A method takes its hyper-parameters as they are and has the empty record.
    """

    target: Callable[..., Any]
    options: type[Any] = NoOptions


class Components(Protocol):
    """Finds the parts that a spec names; the registry does (``harness.registry.load``)."""

    def __call__(self, kind: Kind, name: str) -> Component:
        """Return the ``method``, ``task``, ``data`` source or ``model`` of that name."""


def _unheard(step: int, steps: int, loss: float) -> None:
    """Nobody listens to the heartbeat."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """Surroundings of one trial.

    Attributes:
        components: finds the methods, task, data source and model that the spec names.
        beat: receives (steps done, steps in all, loss) about once a second.
        deadline: of ``time.monotonic()``; checked between steps.
        ``prerequisites``: folders or files of the weights that it starts from, by name.
        keep_product: another trial starts from its weights.
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
