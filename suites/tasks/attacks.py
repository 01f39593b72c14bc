"""Projected gradient descent on inputs within an l∞ or l2 ball (Madry et al. 2018, arXiv 1706.06083, section 2.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

THREATS = ("linf", "l2")


@dataclass(frozen=True, slots=True)
class PGD:
    """An untargeted attack on the cross-entropy; images are pixels in 0–1 and stay there.

    Attributes:
        threat: ``linf`` or ``l2``, the norm of the ball.
        radius: of the ball, in the units of the pixels (4/255, 80/255).
        step: length of a step in the same norm.
        steps: how many.
        random_start: begin at a uniform point of the ball instead of its centre.
    """

    threat: str
    radius: float
    step: float
    steps: int
    random_start: bool = True

    def perturb(
        self, logits: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, generator: Generator
    ) -> Tensor:
        """Images (B, C, H, W) within the ball around ``images`` that raise the cross-entropy of ``labels`` (B,).

        Args:
            logits: the network as it is attacked; its parameters get no gradient.
            images: clean pixels in 0–1.
            labels: true classes.
            generator: where the random start is drawn from, on the CPU.
        """
        moved = images
        if self.random_start:
            moved = (images + self._start(images, generator)).clamp(0, 1)
        for _ in range(self.steps):
            with torch.enable_grad():
                point = moved.detach().requires_grad_(True)
                loss = F.cross_entropy(logits(point), labels, reduction="sum")
                (gradient,) = torch.autograd.grad(loss, point)
            moved = (images + self.project(moved + self.step * self._direction(gradient) - images)).clamp(0, 1)
        return moved.detach()

    def project(self, shift: Tensor) -> Tensor:
        """The nearest point of the ball to a shift (B, C, H, W)."""
        if self.threat == "linf":
            return shift.clamp(-self.radius, self.radius)
        return shift * (self.radius / _lengths(shift)).clamp(max=1.0)

    def _direction(self, gradient: Tensor) -> Tensor:
        return gradient.sign() if self.threat == "linf" else gradient / _lengths(gradient)

    def _start(self, images: Tensor, generator: Generator) -> Tensor:
        if self.threat == "linf":
            drawn = torch.rand(images.shape, generator=generator).mul_(2).sub_(1).mul_(self.radius)
        else:
            drawn = torch.randn(images.shape, generator=generator)
            # u^(1/d) of a uniform u makes the radius that of a uniform point of a ball in d dimensions.
            share = torch.rand(len(images), generator=generator) ** (1 / images[0].numel())
            drawn = drawn / _lengths(drawn) * (self.radius * share)[:, None, None, None]
        return drawn.to(images.device, images.dtype)


def _lengths(batch: Tensor) -> Tensor:
    return batch.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
