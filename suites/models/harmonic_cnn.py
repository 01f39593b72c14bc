"""Harmonic CNN: learned harmonic filters before a convolutional network (Won et al., ICASSP 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import option

LOWEST = 24  # MIDI number of C1, 32.7 Hz
# Equivalent rectangular bandwidth = α·f + β (Glasberg & Moore 1990).
ALPHA, BETA, QUALITY = 0.1079, 24.7, 2.0


def midi(hertz: float) -> int:
    """The nearest MIDI note number; A4 = 440 Hz = 69."""
    return round(12 * math.log2(hertz / 440) + 69)


class HarmonicFilters(nn.Module):
    """Waveforms (B, T) to decibels (B, harmonics, bands, frames).

    Bands lie between C1 and the highest note whose last harmonic is below half the rate, ``resolution`` a semitone;
    harmonic h of a band is a triangle around h times its frequency, of bandwidth (α·f + β)/Q with a learned Q.
    """

    window: Tensor
    centres: Tensor
    bins: Tensor

    def __init__(self, rate: int, harmonics: int, resolution: int, points: int) -> None:
        super().__init__()
        self.harmonics, self.points = harmonics, points
        self.bands = (midi(rate / (2 * harmonics)) - LOWEST) * resolution
        notes = LOWEST + torch.arange(max(self.bands, 0)) / resolution
        base = 440 * 2 ** ((notes - 69) / 12)
        self.register_buffer("centres", torch.cat([base * (h + 1) for h in range(harmonics)]))
        self.register_buffer("bins", torch.linspace(0, rate // 2, points // 2 + 1))
        self.register_buffer("window", torch.hann_window(points))
        self.quality = nn.Parameter(torch.tensor([QUALITY]))

    def filters(self) -> Tensor:
        """(bins, harmonics·bands) weights of the spectrum's bins."""
        width = (ALPHA * self.centres + BETA) / self.quality
        distance = (self.bins[:, None] - self.centres[None]).abs()
        return (1 - 2 * distance / width).clamp_min(0)

    def forward(self, waves: Tensor) -> Tensor:
        """Decibels of the power in each band."""
        hop = self.points // 2
        spectrum = torch.stft(waves, self.points, hop, window=self.window, center=True, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        bands = torch.einsum("bft,fk->bkt", power, self.filters())
        decibels = 10 * bands.clamp_min(1e-10).log10()
        return decibels.view(len(waves), self.harmonics, self.bands, -1)


class PoolingBlock(nn.Module):
    """3×3, BN, ReLU (twice with shortcut if ``residual``), max pooling."""

    def __init__(self, inputs: int, width: int, pooling: tuple[int, int], *, residual: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1) if residual else None
        self.norm2 = nn.BatchNorm2d(width) if residual else None
        self.pooling = pooling

    def forward(self, maps: Tensor) -> Tensor:
        """Pooled activations; axes shorter than the pooling stay unchanged."""
        out = F.relu(self.norm1(self.conv1(maps)))
        if self.conv2 is not None and self.norm2 is not None:
            out = F.relu(maps + self.norm2(self.conv2(out)))
        kernel = [min(size, have) for size, have in zip(self.pooling, out.shape[-2:], strict=True)]
        return F.max_pool2d(out, kernel)


class HarmonicCNN(nn.Module):
    """Waveforms (B, T) to logits (B, classes).

    Filters, BN over the harmonics, ``layers`` blocks (the first and the first of double width plain, the others
    residual), the maximum over the rest, two linear layers with BN, ReLU and dropout between them. With 7 layers
    and 128 channels it has the 3.6 million parameters of the published network.
    """

    def __init__(self, classes: int, rate: int, options: HarmonicCNNOptions) -> None:
        super().__init__()
        harmonics, layers, channels = options.harmonics, options.layers, options.channels
        self.filters = HarmonicFilters(rate, harmonics, options.resolution, options.points)
        self.norm = nn.BatchNorm2d(harmonics)
        half = (layers + 1) // 2
        blocks: list[nn.Module] = []
        before = harmonics
        for index in range(layers):
            width = channels if index < half else 2 * channels
            pooling = (2, 3) if index == layers - 1 else (2, 2)
            blocks.append(PoolingBlock(before, width, pooling, residual=before == width and index not in (0, half)))
            before = width
        self.body = nn.Sequential(*blocks)
        self.hidden = nn.Linear(before, before)
        self.hidden_norm = nn.BatchNorm1d(before)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(before, classes)

    def forward(self, waves: Tensor) -> Tensor:
        """Logits (B, classes)."""
        maps = self.body(self.norm(self.filters(waves)))
        hidden = F.relu(self.hidden_norm(self.hidden(maps.amax(dim=(2, 3)))))
        return self.head(self.dropout(hidden))


@dataclass(frozen=True, slots=True, kw_only=True)
class HarmonicCNNOptions:
    """Options of the model ``harmonic-cnn``."""

    harmonics: int = option(6, "harmonics of each band", low=1, high=32)
    resolution: int = option(2, "bands a semitone", low=1, high=12)
    points: int = option(513, "points of the Fourier transform; the hop is half of them", low=32)
    layers: int = option(7, "convolutional blocks", low=1)
    channels: int = option(128, "channels of the first half of the blocks; the second half has twice as many", low=1)
    dropout: float = option(0.5, "dropout before the last layer", low=0, high=1)


def build(request: ModelRequest[HarmonicCNNOptions]) -> HarmonicCNN:
    """Build the network for ``facts``: ``classes`` and ``rate``."""
    options, facts = request.options, request.facts
    rate, harmonics = int(facts["rate"]), options.harmonics
    if midi(rate / (2 * harmonics)) <= LOWEST:
        raise HarnessError(
            f"harmonic-cnn: at {rate} samples a second harmonic {harmonics} of C1 is above half the rate"
        )
    return HarmonicCNN(int(facts["classes"]), rate, options)


METADATA = ModelMetadata(
    name="harmonic-cnn",
    target="build",
    summary="learned harmonic filters, convolutions with BN and max pooling, two linear layers",
    source="Won et al., Data-driven Harmonic Filters for Audio Representation Learning, ICASSP 2020",
    options=HarmonicCNNOptions,
)
