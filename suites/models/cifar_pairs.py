"""CIFAR-100 networks of the usual teacher–student pairs, and ResNets with 3×3 stem.

Widths and strides as in the code that introduced the pairs (RepDistiller, adopted by mdistiller); the
parameter counts for 100 classes are tested.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import option
from suites.models.resnet import BasicBlock, Bottleneck
from suites.models.taps import Taps


def conv(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, *, bias: bool = False
) -> list[nn.Module]:
    """A padded convolution and BatchNorm."""
    return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias), nn.BatchNorm2d(outputs)]


class Staged(nn.Module):
    """Stages in sequence, global average pooling, a linear head."""

    def __init__(self, stages: Sequence[nn.Module], width: int, classes: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.head = nn.Linear(width, classes)
        self.taps = Taps(f"stages.{len(stages) - 2}", f"stages.{len(stages) - 1}", "head")

    def features(self, images: Tensor) -> Tensor:
        """Pooled activations (B, width)."""
        for stage in self.stages:
            images = stage(images)
        return images.mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Class logits (B, classes)."""
        return self.head(self.features(images))


def shuffled(images: Tensor, groups: int) -> Tensor:
    """Shuffle channels over groups (Zhang et al. 2018, arXiv 1707.01083, figure 1)."""
    batch, channels, height, width = images.shape
    dealt = images.view(batch, groups, channels // groups, height, width).transpose(1, 2)
    return dealt.reshape(batch, channels, height, width)


class ShuffleV1Block(nn.Module):
    """Grouped 1×1, shuffle, depthwise 3×3, grouped 1×1; plus the input, or beside its mean if the stride is 2."""

    def __init__(self, inputs: int, width: int, stride: int, groups: int = 3) -> None:
        super().__init__()
        outputs = width - inputs if stride == 2 else width
        inner = outputs // 4
        self.first_groups = 1 if inputs == 24 else groups  # the stem's 24 channels are not cut
        self.first = nn.Sequential(*conv(inputs, inner, groups=self.first_groups), nn.ReLU())
        self.spatial = nn.Sequential(*conv(inner, inner, 3, stride, inner), nn.ReLU())
        self.last = nn.Sequential(*conv(inner, outputs, groups=groups))
        self.stride = stride

    def forward(self, images: Tensor) -> Tensor:
        """(B, width, H/s, W/s)."""
        out = self.last(self.spatial(shuffled(self.first(images), self.first_groups)))
        if self.stride == 2:
            return F.relu(torch.cat([out, F.avg_pool2d(images, 3, 2, 1)], dim=1))
        return F.relu(out + images)


class ShuffleV2Block(nn.Module):
    """Half the channels pass, half go through 1×1, depthwise 3×3, 1×1; with stride 2 both are computed."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        before = inputs if stride == 2 else half
        self.branch = nn.Sequential(
            *conv(before, half), nn.ReLU(), *conv(half, half, 3, stride, half), *conv(half, half), nn.ReLU()
        )
        down = [*conv(inputs, inputs, 3, stride, inputs), *conv(inputs, half), nn.ReLU()]
        self.shortcut = nn.Sequential(*down) if stride == 2 else None

    def forward(self, images: Tensor) -> Tensor:
        """(B, outputs, H/s, W/s)."""
        kept, worked = (images, images) if self.shortcut is not None else images.chunk(2, dim=1)
        if self.shortcut is not None:
            kept = self.shortcut(kept)
        return shuffled(torch.cat([kept, self.branch(worked)], dim=1), 2)


class Inverted(nn.Module):
    """Expansion (also with factor one), depthwise 3×3, linear 1×1 (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: int, factor: int) -> None:
        super().__init__()
        inner = inputs * factor
        self.body = nn.Sequential(
            *conv(inputs, inner), nn.ReLU(), *conv(inner, inner, 3, stride, inner), nn.ReLU(), *conv(inner, outputs)
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, images: Tensor) -> Tensor:
        """Convolutions, plus the input if shapes agree."""
        out: Tensor = self.body(images)
        return out + images if self.residual else out


def resnet(
    channels: int,
    classes: int,
    block: Callable[[int, int, int], nn.Module],
    counts: Sequence[int],
    widths: Sequence[int],
    stem: int,
) -> Staged:
    """A 3×3 stem and stages of residual blocks; later stages halve the side."""
    stages: list[nn.Module] = []
    before = stem
    for number, (count, width) in enumerate(zip(counts, widths, strict=True)):
        layers: list[nn.Module] = [*conv(channels, stem, 3), nn.ReLU()] if number == 0 else []
        for index in range(count):
            layers.append(block(before, width, 2 if number and not index else 1))
            before = width
        stages.append(nn.Sequential(*layers))
    return Staged(stages, before, classes)


def vgg(channels: int, classes: int, convolutions: int) -> Staged:
    """VGG with BatchNorm for 32 pixels: five stages of 64–512 channels."""
    stages: list[nn.Module] = []
    before = channels
    for number, width in enumerate((64, 128, 256, 512, 512)):
        layers: list[nn.Module] = [nn.MaxPool2d(2)] if 1 <= number <= 3 else []
        for _ in range(convolutions):
            layers += [*conv(before, width, 3, bias=True), nn.ReLU()]
            before = width
        stages.append(nn.Sequential(*layers))
    return Staged(stages, before, classes)


def mobilenet_v2(channels: int, classes: int) -> Staged:
    """MobileNetV2 at half the width: expansion 6, stem of stride 2, 1,280 channels."""
    before = 16
    layers: list[nn.Module] = [*conv(channels, before, 3, 2), nn.ReLU()]
    stages: list[nn.Module] = []
    table = ((1, 8, 1, 1), (6, 12, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1))
    for factor, width, count, stride in table:
        if stride == 2:
            stages.append(nn.Sequential(*layers))
            layers = []
        for index in range(count):
            layers.append(Inverted(before, width, stride if index == 0 else 1, factor))
            before = width
    stages.append(nn.Sequential(*layers, *conv(before, 1280), nn.ReLU()))
    return Staged(stages, 1280, classes)


def shufflenet(
    channels: int, classes: int, block: Callable[[int, int, int], nn.Module], widths: Sequence[int], last: int = 0
) -> Staged:
    """A 1×1 stem of 24 channels: then 4, 8 and 4 blocks, and a 1×1 convolution of ``last`` channels."""
    stages: list[nn.Module] = []
    before = 24
    for number, (count, width) in enumerate(zip((4, 8, 4), widths, strict=True)):
        layers: list[nn.Module] = [*conv(channels, before), nn.ReLU()] if number == 0 else []
        for index in range(count):
            layers.append(block(before, width, 2 if index == 0 else 1))
            before = width
        stages.append(nn.Sequential(*layers))
    if last:
        stages[-1] = nn.Sequential(*layers, *conv(before, last), nn.ReLU())
    return Staged(stages, last or before, classes)


ARCHITECTURES: dict[str, Callable[[int, int], nn.Module]] = {
    "resnet18": lambda channels, classes: resnet(channels, classes, BasicBlock, (2, 2, 2, 2), (64, 128, 256, 512), 64),
    "resnet34": lambda channels, classes: resnet(channels, classes, BasicBlock, (3, 4, 6, 3), (64, 128, 256, 512), 64),
    "resnet50": lambda channels, classes: resnet(
        channels, classes, Bottleneck, (3, 4, 6, 3), (256, 512, 1024, 2048), 64
    ),
    "resnet32x4": lambda channels, classes: resnet(channels, classes, BasicBlock, (5, 5, 5), (64, 128, 256), 32),
    "vgg8": lambda channels, classes: vgg(channels, classes, 1),
    "vgg13": lambda channels, classes: vgg(channels, classes, 2),
    "mobilenetv2": mobilenet_v2,
    "shufflenetv1": lambda channels, classes: shufflenet(channels, classes, ShuffleV1Block, (240, 480, 960)),
    "shufflenetv2": lambda channels, classes: shufflenet(channels, classes, ShuffleV2Block, (116, 232, 464), 1024),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CifarPairsOptions:
    """Options of the model ``cifar-pairs``."""

    arch: str = option("resnet18", "name of the network", choices=tuple(ARCHITECTURES))


def build(request: ModelRequest[CifarPairsOptions]) -> nn.Module:
    """Build the network for ``facts``: ``channels`` and ``classes``."""
    facts = request.facts
    return ARCHITECTURES[request.options.arch](int(facts["channels"]), int(facts["classes"]))


METADATA = ModelMetadata(
    name="cifar-pairs",
    target="build",
    summary="networks of the CIFAR-100 teacher–student pairs: ResNet, VGG, MobileNetV2, ShuffleNets for 32 pixels",
    source="Tian, Krishnan, Isola, Contrastive Representation Distillation, ICLR 2020, arXiv 1910.10699",
    options=CifarPairsOptions,
)
