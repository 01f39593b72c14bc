"""The page's two-dimensional toy: minimise −cos(w, w*) with momentum, with and without AdamP's projection.

The page gives neither the starting angle nor the learning rate. At one angle a single learning rate fixes the final
norm for every momentum, so a printed norm calibrates the rate and the other printed norm tests it.
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
    """A descent: the final norm as a ratio to the first, and ``1 − cos(w, w*)`` before each step and at the end."""

    norm: float
    gaps: tuple[float, ...]

    def settled(self, gap: float) -> int:
        """The steps after which ``1 − cos`` stays below ``gap``; infinity as one more than the steps taken."""
        over = [step for step, value in enumerate(self.gaps) if value >= gap]
        return over[-1] + 1 if over else 0


def descend(
    rate: float, momentum: float, *, projected: bool = False, buffer: Buffer = "paper", angle: float = ANGLE
) -> Path:
    """Gradient descent from a unit vector ``angle`` degrees away from w*, with ``torch.optim.SGD`` or our SGDP."""
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
    """``descend(...).norm`` without the projection, in plain floats, for the many runs of a calibration."""
    start = math.radians(angle)
    x, y, bx, by = math.cos(start), math.sin(start), 0.0, 0.0
    for _ in range(STEPS):
        cube = math.hypot(x, y) ** 3
        bx = momentum * bx - y * y / cube
        by = momentum * by + x * y / cube
        x, y = x - rate * bx, y - rate * by
    return math.hypot(x, y)


def calibrate(momentum: float, norm: float, angle: float = ANGLE) -> float:
    """The learning rate with which momentum descent ends at ``norm``, by bisection in 1e-3 to 1, else ValueError."""
    low, high = 1e-3, 1.0
    if not final_norm(low, momentum, angle) < norm < final_norm(high, momentum, angle):
        raise ValueError(f"no rate in [{low}, {high}] ends at the norm {norm} with momentum {momentum}")
    for _ in range(40):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if final_norm(middle, momentum, angle) < norm else (low, middle)
    return math.sqrt(low * high)
