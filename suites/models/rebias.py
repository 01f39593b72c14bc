"""ReBias's pair: a target network and one with small receptive field (Bahng et al., ICML 2020)."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import option
from suites.models.cnn import Classifier, he_initialise
from suites.models.imagenet_zoo import torchvision_body
from suites.models.resnet import SmallResNet

PAIRS = ("kernels", "resnet-cifar", "resnet18")


class RebiasPair(nn.Module):
    """The scored ``target`` and the ``biased`` network; forward is the target's."""

    def __init__(self, target: Classifier, biased: Classifier) -> None:
        super().__init__()
        self.target = target
        self.biased = biased

    def forward(self, images: Tensor) -> Tensor:
        """The target's class logits (B, classes)."""
        return self.target(images)


def stacked(channels: int, widths: Sequence[int], kernel: int) -> nn.Sequential:
    """Convolutions with BN and ReLU at stride 1: the released SimpleConvNet."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(channels, width, kernel, padding=kernel // 2), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    body = nn.Sequential(*layers)
    he_initialise(body)
    return body


class BagBlock(nn.Module):
    """ResNet's basic block with unpadded 1×1 kernels, the first optionally 3×3; the shortcut is cropped to fit."""

    def __init__(self, inputs: int, width: int, stride: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, kernel, stride, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        same = stride == 1 and inputs == width
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        )

    def forward(self, images: Tensor) -> Tensor:
        """ReLU(shortcut + convolutions)."""
        out = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(images)))))
        height, width = out.shape[-2:]
        return F.relu(out + self.shortcut(images)[..., :height, :width])


class BagBody(nn.Module):
    """BagNet (Brendel & Bethge, ICLR 2019) of a 1×1 and a 3×3 stem and four stages of basic blocks.

    ``wide`` is the number of blocks of each stage with a 3×3 kernel first; the stem has the first of ``widths``.
    """

    def __init__(self, channels: int, widths: Sequence[int], strides: Sequence[int], wide: Sequence[int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 1, bias=False)
        self.conv2 = nn.Conv2d(widths[0], widths[0], 3, bias=False)
        self.norm = nn.BatchNorm2d(widths[0], momentum=0.001)
        blocks = []
        before = widths[0]
        for width, stride, count in zip(widths, strides, wide, strict=True):
            for index in range(2):
                blocks.append(BagBlock(before, width, stride if index == 0 else 1, 3 if index < count else 1))
                before = width
        self.blocks = nn.Sequential(*blocks)
        he_initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps (B, widths[-1], h, w)."""
        return self.blocks(F.relu(self.norm(self.conv2(self.conv1(images)))))


@dataclass(frozen=True, slots=True, kw_only=True)
class RebiasOptions:
    """Options of the model ``rebias``."""

    pair: str = option("kernels", "pair of networks", choices=PAIRS)
    widths: tuple[int, ...] = option((16, 32, 64, 128), "channels of the convolutions; resnet-cifar uses the first")
    kernel: int = option(7, "kernel size of the target, with pair kernels", low=1)
    biased_kernel: int = option(1, "kernel size of the biased network, with pair kernels", low=1)


def build(request: ModelRequest[RebiasOptions]) -> RebiasPair:
    """Both networks for ``facts``: ``channels`` and ``classes``."""
    options, channels, classes = request.options, int(request.facts["channels"]), int(request.facts["classes"])
    pair, widths = options.pair, list(options.widths)
    if pair == "kernels":
        sizes = [options.kernel, options.biased_kernel]
        if any(size % 2 == 0 for size in sizes):
            raise HarnessError(f"rebias: kernel sizes must be odd, got {sizes}")
        target, biased = (Classifier(stacked(channels, widths, size), widths[-1], classes) for size in sizes)
        return RebiasPair(target, biased)
    if pair == "resnet-cifar":
        small = SmallResNet(channels, classes, 1, widths[0], "basic").body
        bag = BagBody(channels, [widths[0], widths[0], 2 * widths[0], 4 * widths[0]], (1, 2, 2, 1), (0, 0, 0, 0))
        return RebiasPair(Classifier(small, 4 * widths[0], classes), Classifier(bag, 4 * widths[0], classes))
    bag = BagBody(channels, (64, 128, 256, 512), (2, 2, 2, 1), (1, 0, 0, 0))
    body = nn.Sequential(*torchvision_body("resnet18", channels, "rebias"))
    return RebiasPair(Classifier(body, 512, classes), Classifier(bag, 512, classes))


METADATA = ModelMetadata(
    name="rebias",
    target="build",
    summary="a target network and one with small receptive field: kernels 7 and 1, or ResNet18 and BagNet18",
    source="Bahng et al., Learning De-biased Representations with Biased Representations, ICML 2020, arXiv 1910.02806",
    options=RebiasOptions,
)
