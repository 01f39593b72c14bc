"""Residual networks for 8–64 pixels: small ones, and pre-activation ones with more channels instead of depth."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import option
from suites.models.cnn import Classifier, he_initialise


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)
    )


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut (He et al. 2016, figure 5 left)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = _conv(inputs, width, stride=stride)
        self.second = _conv(width, width)
        self.shortcut = nn.Identity() if inputs == width and stride == 1 else _conv(inputs, width, 1, stride)

    def forward(self, images: Tensor) -> Tensor:
        """ReLU(shortcut + convolutions)."""
        return F.relu(self.second(F.relu(self.first(images))) + self.shortcut(images))


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 convolutions and a shortcut (He et al. 2016, figure 5 right)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        inner = max(1, width // 4)
        self.reduce = _conv(inputs, inner, 1)
        self.spatial = _conv(inner, inner, stride=stride)
        self.expand = _conv(inner, width, 1)
        self.shortcut = nn.Identity() if inputs == width and stride == 1 else _conv(inputs, width, 1, stride)

    def forward(self, images: Tensor) -> Tensor:
        """ReLU(shortcut + convolutions)."""
        return F.relu(self.expand(F.relu(self.spatial(F.relu(self.reduce(images))))) + self.shortcut(images))


class InvertedResidual(nn.Module):
    """Expansion by four, depthwise 3×3, linear 1×1, shortcut (Sandler et al. 2018, figure 4)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        inner = 4 * inputs
        self.expand = _conv(inputs, inner, 1)
        self.spatial = _conv(inner, inner, stride=stride, groups=inner)
        self.project = _conv(inner, width, 1)
        self.residual = inputs == width and stride == 1

    def forward(self, images: Tensor) -> Tensor:
        """Convolutions, plus the input if shapes agree."""
        out = self.project(F.relu6(self.spatial(F.relu6(self.expand(images)))))
        return images + out if self.residual else out


BLOCKS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "basic": BasicBlock,
    "bottleneck": Bottleneck,
    "inverted": InvertedResidual,
}
CONVOLUTIONS = {"basic": 2, "bottleneck": 3, "inverted": 3}


class SmallResNet(Classifier):
    """A 3×3 stem, three stages, pooling, a linear head.

    Widths are w, 2w, 4w. Stages after the first halve the side. Depth 6n+2, width 16 and a stem of stride 1: CIFAR
    network of He et al. 2016, section 4.2, with 1×1 convolutions as shortcuts; a stem of stride 2 costs a quarter.
    Input (B, channels, H, W), output (B, classes).
    """

    def __init__(self, channels: int, classes: int, blocks: int, width: int, block: str, stem: int = 1) -> None:
        layers: list[nn.Module] = [_conv(channels, width, stride=stem), nn.ReLU()]
        before = width
        for stage in range(3):
            after = width * 2**stage
            for index in range(blocks):
                layers.append(BLOCKS[block](before, after, 2 if stage > 0 and index == 0 else 1))
                before = after
        super().__init__(nn.Sequential(*layers), before, classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallResNetOptions:
    """Options of the model ``resnet-cifar``."""

    depth: int = option(8, "layers with weights: 6n+2 (basic), 9n+2 (bottleneck, inverted)", low=8)
    width: int = option(16, "channels of the first stage", low=4)
    block: str = option("basic", "type of block", choices=tuple(BLOCKS))
    stem_stride: int = option(1, "stride of the first convolution", low=1, high=2)


def build_small(request: ModelRequest[SmallResNetOptions]) -> SmallResNet:
    """Build a small network for ``facts``: ``channels`` and ``classes``."""
    options, facts = request.options, request.facts
    block, depth = options.block, options.depth
    step = 3 * CONVOLUTIONS[block]
    if depth < step + 2 or (depth - 2) % step:
        valid = ", ".join(str(step * n + 2) for n in (1, 2, 3))
        raise HarnessError(f"resnet-cifar: depth {depth} with {block} blocks; valid: {step}n+2, so {valid}, …")
    blocks = (depth - 2) // step
    sizes = int(facts["channels"]), int(facts["classes"]), blocks, options.width
    return SmallResNet(*sizes, block, options.stem_stride)


WIDE_STAGES = (16, 32, 64)


class WideBlock(nn.Module):
    """BN, ReLU, 3×3, BN, ReLU, dropout, 3×3, plus the input (Zagoruyko & Komodakis 2016, figure 1)."""

    def __init__(self, inputs: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.dropout = dropout
        same = inputs == width and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, width, 1, stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """The block's sum."""
        active = F.relu(self.norm1(images))
        out = F.relu(self.norm2(self.conv1(active)))
        out = self.conv2(F.dropout(out, self.dropout, self.training))
        return out + (images if self.shortcut is None else self.shortcut(active))


class WideResNet(Classifier):
    """WRN-depth-width: a 3×3 stem, three stages at 16k, 32k, 64k channels.

    Input (B, channels, H, W), output (B, classes). Convolutions start from He's normal distribution (fan-out) as in the
    published code.
    """

    def __init__(self, channels: int, classes: int, blocks: int, width: int, dropout: float) -> None:
        layers: list[nn.Module] = [nn.Conv2d(channels, WIDE_STAGES[0], 3, 1, 1, bias=False)]
        before = WIDE_STAGES[0]
        for stage, base in enumerate(WIDE_STAGES):
            for index in range(blocks):
                layers.append(WideBlock(before, base * width, 2 if stage and not index else 1, dropout))
                before = base * width
        super().__init__(nn.Sequential(*layers, nn.BatchNorm2d(before), nn.ReLU()), before, classes)
        he_initialise(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class WideResNetOptions:
    """Options of the model ``wide-resnet``."""

    depth: int = option(10, "layers with weights, 6n+4", low=10)
    width: int = option(2, "factor k on the channels 16, 32, 64", low=1)
    dropout: float = option(0.0, "dropout between the two convolutions of a block", low=0, high=1)


def build_wide(request: ModelRequest[WideResNetOptions]) -> WideResNet:
    """Build the network for ``facts``: ``channels`` and ``classes``."""
    options, facts = request.options, request.facts
    depth = options.depth
    if (depth - 4) % 6 or depth < 10:
        raise HarnessError(f"wide-resnet: depth {depth}; valid: 6n+4, so 10, 16, 22, 28, 34, …")
    return WideResNet(int(facts["channels"]), int(facts["classes"]), (depth - 4) // 6, options.width, options.dropout)


METADATA = (
    ModelMetadata(
        name="resnet-cifar",
        target="build_small",
        summary="small residual network for 8–64 pixel images: basic, bottleneck or inverted residual blocks",
        source="He et al., Deep Residual Learning, CVPR 2016, arXiv 1512.03385; inverted: arXiv 1801.04381",
        options=SmallResNetOptions,
    ),
    ModelMetadata(
        name="wide-resnet",
        target="build_wide",
        summary="WRN-depth-width: pre-activation residual blocks with wide channels, for 8–64 pixel images",
        source="Zagoruyko & Komodakis, Wide Residual Networks, BMVC 2016, arXiv 1605.07146",
        options=WideResNetOptions,
    ),
)
