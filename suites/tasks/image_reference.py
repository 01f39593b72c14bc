"""Deviation of batch statistics in an image network: PowerNorm's comparison.

Shen et al. (ICML 2020, arXiv 2003.07845) compare a Transformer with a ResNet20 on CIFAR-10, both with BatchNorm. The
image network here is small and trains on scikit-learn's digits, which adds two seconds to a training.
"""

from __future__ import annotations

from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.trial.seeds import Streams
from suites.data.digits import CLASSES, read_digits
from suites.models.cnn import ConvNet
from suites.tasks.norm_diagnostic import SETTLED, distance

STEPS, BATCH, RATE, MOMENTUM = 300, 64, 0.1, 0.9
WIDTHS, STRIDES = (16, 32, 32), (1, 2, 1)


def image_deviation(streams: Streams) -> float:
    """Median distance of batch statistics from the running ones.

    Distances of mean and variance as in ``NormDiagnostic``, over norms and the last nine tenths of 300 steps of 64
    images, SGD with a cosine schedule, on the CPU with draws from ``streams``.
    """
    pixels, digits = read_digits()
    images, labels = torch.tensor(pixels)[:, None], torch.tensor(digits)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(streams.number("init", "image-reference") % 2**63)
        network = ConvNet(1, CLASSES, WIDTHS, STRIDES)
    away: list[float] = []
    recording = False

    def look(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if recording:
            rows = inputs[0].detach().movedim(1, -1).flatten(0, -2)
            variance, mean = torch.var_mean(rows, 0, correction=0)
            running = torch.stack([norm.running_mean, norm.running_var])
            away.append(float(distance(torch.stack([mean, variance]), running).mean()))

    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.register_forward_pre_hook(look)
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    draws = streams.torch("order", "image-reference")
    for step in range(STEPS):
        recording = step >= SETTLED * STEPS
        chosen = torch.randint(len(images), (BATCH,), generator=draws)
        optimizer.zero_grad()
        F.cross_entropy(network(images[chosen]), labels[chosen]).backward()
        optimizer.step()
        schedule.step()
    return median(away)
