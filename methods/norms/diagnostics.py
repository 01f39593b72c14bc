"""Cheap diagnostics of a norm's inputs, recorded while ``record`` is true.

The mechanism checks of the suites read them. Nothing is recorded inside compiled code.
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

KEPT = 64
"""Number of recorded steps pooled by the quantiles."""

DECAY = 0.9
"""Decay of the recorder's own running averages, as in PowerNorm's released code."""


class Deviations:
    """Distances of a batch's moments from their running values, per channel.

    The moments are mean, variance and mean square. The mean's distance is in standard deviations, the others are
    relative. The reference is the norm's own running statistic if it has one, otherwise an average over the recorded
    steps (decay 0.9), so that norms without statistics are comparable: record consecutive steps then.
    """

    names = ("mean", "variance", "mean_square")

    def __init__(self) -> None:
        self._average: Tensor | None = None
        self._seen: deque[Tensor] = deque(maxlen=KEPT)

    @torch.no_grad()
    def observe(self, values: Tensor, weight: Tensor | None, references: dict[str, Tensor]) -> None:
        """Record one batch.

        Args:
            values: inputs of the normalization, (N, C) after flattening all dimensions but the last.
            weight: 1 for rows that count, 0 for others, (N, 1) likewise; None counts all.
            references: the norm's running values before this step, (C,) by a name of ``names``.
        """
        values = values.detach().float().flatten(0, -2)
        if weight is not None:
            values = values[weight.flatten() > 0]
        if values.shape[0] == 0:
            return
        variance, mean = torch.var_mean(values, 0, correction=0)
        batch = torch.stack((mean, variance, variance + mean.square()))
        if self._average is None:
            self._average = batch
            if not references:
                return
        running = self._average.clone()
        for name, value in references.items():
            running[self.names.index(name)] = value.float()
        scale = torch.stack((running[1].sqrt(), running[1], running[2])).clamp(min=1e-12)
        self._seen.append((batch - running).abs() / scale)
        self._average = torch.lerp(self._average, batch, 1 - DECAY)

    def summary(self) -> dict[str, Tensor]:
        """Median and 99th percentile over channels and recorded steps (tensors without dimensions)."""
        if not self._seen:
            return {}
        seen = torch.stack(tuple(self._seen))
        result: dict[str, Tensor] = {}
        for row, name in enumerate(self.names):
            median, high = torch.quantile(seen[:, row].flatten(), seen.new_tensor((0.5, 0.99)))
            result[f"batch_{name}_deviation_median"] = median
            result[f"batch_{name}_deviation_p99"] = high
        return result


class RegionShift:
    """Distance between the hole's and the valid region's statistics (last recorded batch)."""

    def __init__(self) -> None:
        self._last: dict[str, Tensor] = {}

    @torch.no_grad()
    def observe(self, x: Tensor, hole: Tensor) -> None:
        """Record one batch.

        Args:
            x: input of the normalization, (B, C, H, W).
            hole: 1 in the hole, 0 elsewhere, (B, 1, H, W).
        """
        rows = x.detach().float().movedim(1, -1).flatten(0, -2)
        inside = hole.flatten() > 0
        self._last = {"hole_share": inside.float().mean()}
        if inside.sum() < 2 or (~inside).sum() < 2:
            return
        hole_variance, hole_mean = torch.var_mean(rows[inside], 0, correction=0)
        valid_variance, valid_mean = torch.var_mean(rows[~inside], 0, correction=0)
        deviation = valid_variance.sqrt().clamp(min=1e-12)
        self._last["mean_shift"] = ((hole_mean - valid_mean).abs() / deviation).mean()
        self._last["std_ratio"] = (hole_variance.sqrt() / deviation).mean()

    def summary(self) -> dict[str, Tensor]:
        """Shift in standard deviations and ratio of deviations, means over channels."""
        return dict(self._last)


DEVIATIONS = tuple(
    f"batch_{quantity}_deviation_{level}" for quantity in Deviations.names for level in ("median", "p99")
)
"""Names of the quantities in ``Deviations.summary``."""
