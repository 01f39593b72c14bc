"""The page's two-dimensional toy: descent of −cos(w, w*) with momentum.

The page gives neither the starting angle nor the learning rate. At a fixed angle a single learning rate determines the
final norm for every momentum, so a printed norm calibrates the rate and the other printed norm tests it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

Buffer = Literal["released", "paper"]
ANGLE = 65.0
STEPS = 2000


@dataclass(frozen=True, slots=True)
class Path:
    """A descent: relative final norm and every ``1 − cos(w, w*)``."""

    norm: float
    gaps: tuple[float, ...]

    def settled(self, gap: float) -> int:
        """Steps after which ``1 − cos`` stays below ``gap``, else all."""
        over = [step for step, value in enumerate(self.gaps) if value >= gap]
        return over[-1] + 1 if over else 0


def descend(
    rate: float, momentum: float, *, projected: bool = False, buffer: Buffer = "paper", angle: float = ANGLE
) -> Path:
    """Descend from a unit vector ``angle`` degrees from w*, by SGD(P)."""
    from methods.optimizers.sgdp import SGDP

    start = math.radians(angle)
    w = torch.nn.Parameter(torch.tensor([[math.cos(start), math.sin(start)]], dtype=torch.float64))
    optimizer: torch.optim.Optimizer = torch.optim.SGD([w], lr=rate, momentum=momentum, foreach=False)
    if projected:
        optimizer = SGDP([w], lr=rate, momentum=momentum, buffer=buffer, eps=0.0)
    gaps = []
    for _ in range(STEPS):
        x, y = w.detach()[0].tolist()
        norm = math.hypot(x, y)
        gaps.append(1 - x / norm)
        # d(−x/‖w‖)/dw for w* = (1, 0)
        w.grad = torch.tensor([[-(y * y) / norm**3, x * y / norm**3]], dtype=torch.float64)
        optimizer.step()
    x, y = w.detach()[0].tolist()
    return Path(math.hypot(x, y), (*gaps, 1 - x / math.hypot(x, y)))


def final_norm(rate: float, momentum: float, angle: float = ANGLE) -> float:
    """``descend(...).norm`` without projection in plain floats, for calibrations."""
    start = math.radians(angle)
    x, y, bx, by = math.cos(start), math.sin(start), 0.0, 0.0
    for _ in range(STEPS):
        cube = math.hypot(x, y) ** 3
        bx = momentum * bx - y * y / cube
        by = momentum * by + x * y / cube
        x, y = x - rate * bx, y - rate * by
    return math.hypot(x, y)


def calibrate(momentum: float, norm: float, angle: float = ANGLE) -> float:
    """Find the rate of momentum descent to ``norm`` in [1e-3, 1] (ValueError)."""
    low, high = 1e-3, 1.0
    if not final_norm(low, momentum, angle) < norm < final_norm(high, momentum, angle):
        raise ValueError(f"no rate in [{low}, {high}] ends at the norm {norm} with momentum {momentum}")
    for _ in range(40):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if final_norm(middle, momentum, angle) < norm else (low, middle)
    return math.sqrt(low * high)
