"""Do holes shift statistics, and does RN-L find them? Measured on fixed validation images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from suites.models.inpainting import PLACES, Generator
from suites.tasks.common import LatestProbe, evaluating

ALIVE = (0.01, 0.99)


class RegionProbe(LatestProbe):
    """Asked on every update of a probed step, it measures after the generator's.

    Args:
        generator: whose norms are read.
        forward: passes fixed images through it.
        random_region: whether the overlap of a random region of equal share is reported instead of RN-L's own.
    """

    def __init__(self, generator: Generator, forward: Callable[[], object], random_region: bool) -> None:
        super().__init__()
        self.generator, self.forward, self.random_region = generator, forward, random_region
        self.asked = False

    def before_step(self) -> None:
        """Is this the generator's update?"""
        self.asked = next(self.generator.parameters()).grad is not None

    def after_step(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """The quantities of ``measure`` after the generator's update, else nothing."""
        if not self.asked:
            return {}
        self.last = self.measure()
        return self.last

    def measure(self) -> dict[str, float]:
        """Quantities of the network as it is; those of RN-L only where there are such layers.

        ``mean_shift.first`` and ``std_ratio.first`` are of the first norm's input: the hole's mean against the valid
        region's in deviations of the latter, and the ratio of deviations. ``mean_shift`` is the mean over the encoder's
        other norms: what the first has left. ``rnl_share`` is the mean share of positions in RN-L's region,
        ``rnl_alive`` the share of layers in which it lies between 0.01 and 0.99, ``rnl_iou`` the mean overlap with
        the hole or, where larger, the overlap with the rest: no layer is told which of the two its region is.
        """
        with evaluating(self.generator), recording(self.generator):
            self.forward()
            layers = {place: [_numbers(norm) for norm in self.generator.norms_at(place)] for place in PLACES}
        first, *others = layers["encoder"]
        result = {f"{name}.first": first[name] for name in ("mean_shift", "std_ratio") if name in first}
        for name in ("mean_shift", "std_ratio"):
            values = [layer[name] for layer in others if name in layer]
            if values:
                result[name] = sum(values) / len(values)
        learned = [layer for place in PLACES for layer in layers[place] if "region_share" in layer]
        if learned:
            shares = [layer["region_share"] for layer in learned]
            result["rnl_share"] = sum(shares) / len(shares)
            result["rnl_alive"] = sum(ALIVE[0] < share < ALIVE[1] for share in shares) / len(shares)
            result["rnl_iou"] = sum(self._overlap(layer) for layer in learned) / len(learned)
        return result

    def _overlap(self, layer: Mapping[str, float]) -> float:
        share, hole = layer["region_share"], layer["hole_share"]
        if self.random_region:
            return max(random_overlap(share, hole), random_overlap(share, 1 - hole))
        return max(layer["hole_iou"], layer["valid_iou"])


def random_overlap(share: float, target: float) -> float:
    """Expected intersection over union of a random region with another region, both as shares of all positions."""
    both = share * target
    return both / max(share + target - both, 1e-12)


def _numbers(norm: nn.Module) -> dict[str, float]:
    diagnostics: Callable[[], Mapping[str, Any]] | None = getattr(norm, "diagnostics", None)
    return {} if diagnostics is None else {name: float(value) for name, value in diagnostics().items()}


@contextmanager
def recording(model: nn.Module) -> Iterator[None]:
    """Norms record what their ``diagnostics`` report."""
    layers = [part for part in model.modules() if hasattr(part, "record")]
    for layer in layers:
        layer.record = True
    try:
        yield
    finally:
        for layer in layers:
            layer.record = False
