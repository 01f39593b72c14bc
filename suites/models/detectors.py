"""Detectors with BatchNorm: CenterNet (Zhou et al., arXiv 1904.07850) and SSD (Liu et al., arXiv 1512.02325)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import option
from suites.models.cnn import ConvNet
from suites.models.embedding import load_weights
from suites.models.imagenet_zoo import torchvision_body

BACKBONES = ("cnn", "resnet18", "vgg16-bn")
RATIOS = (1.0, 2.0, 0.5)
BOXES = len(RATIOS) + 1  # plus the square towards the next size
# torchvision's vgg16_bn: up to the ReLU of conv4_3, as in SSD; the rest belongs to the second map
CONV4_3 = 33


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class CenterNet(nn.Module):
    """A heat map of centres, sizes and offsets, stride 4.

    ``forward`` takes (B, C, S, S) and gives logits (B, classes, S/4, S/4), sizes (B, 2, …) in map positions and offsets
    (B, 2, …) of the centre within its position. ``body`` may be external; ``up`` brings its maps to a quarter of
    the side.
    """

    stride = 4

    def __init__(self, body: nn.Module, width: int, ups: int, up_width: int, head: int, classes: int) -> None:
        super().__init__()
        self.body = body
        layers: list[nn.Module] = []
        for _ in range(ups):
            layers += [nn.ConvTranspose2d(width, up_width, 4, 2, 1, bias=False), nn.BatchNorm2d(up_width), nn.ReLU()]
            width = up_width
        self.up = nn.Sequential(*layers)
        self.heat, self.sizes, self.offsets = (
            nn.Sequential(_conv(width, head), nn.Conv2d(head, outputs, 1)) for outputs in (classes, 2, 2)
        )
        # focal loss: the share of centres is about a tenth at first (Lin et al. 2017, section 3.3)
        nn.init.constant_(self.heat[1].bias, -2.19)

    def outputs(self) -> list[nn.Module]:
        """Last layer of each head, without a norm behind it."""
        return [self.heat[1], self.sizes[1], self.offsets[1]]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Heat map logits, sizes, offsets."""
        maps = self.up(self.body(images))
        return self.heat(maps), self.sizes(maps), self.offsets(maps)


class SSD(nn.Module):
    """Class logits and box offsets of default boxes on several maps.

    ``forward`` takes (B, C, S, S) and gives logits (B, A, 1 + classes), background first, and offsets (B, A, 4).
    ``default_boxes`` gives the A default boxes (A, 4) as centre and size in shares of the side.
    """

    def __init__(self, stages: Sequence[nn.Module], widths: Sequence[int], head: int, classes: int) -> None:
        super().__init__()
        self.body, self.extras = stages[0], nn.ModuleList(stages[1:])
        self.classes = classes
        self.heads = nn.ModuleList(
            nn.Sequential(_conv(width, head), nn.Conv2d(head, BOXES * (5 + classes), 3, padding=1)) for width in widths
        )

    def outputs(self) -> list[nn.Module]:
        """Last layer of each head, without a norm behind it."""
        return [list(head.children())[1] for head in self.heads]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and offsets of every default box."""
        outputs = []
        maps = images
        for stage, head in zip([self.body, *self.extras], self.heads, strict=True):
            maps = stage(maps)
            outputs.append(head(maps).permute(0, 2, 3, 1).reshape(len(images), -1, 5 + self.classes))
        every = torch.cat(outputs, dim=1)
        return every[..., 4:], every[..., :4]

    def map_sides(self, images: Tensor) -> list[int]:
        """Side of each map for images of this size."""
        sides, maps = [], images
        for stage in [self.body, *self.extras]:
            maps = stage(maps)
            sides.append(int(maps.shape[-1]))
        return sides


def default_boxes(sides: Sequence[int], smallest: float, largest: float) -> Tensor:
    """Default boxes (A, 4) as centre and size, in the order of SSD's outputs.

    In shares of the side. Sizes rise evenly from ``smallest`` to ``largest`` over the maps (Liu et al. 2016, equation
    4); each position has boxes of the aspects 1, 2, 1/2 and a square of the geometric mean with the next size.
    """
    count = len(sides)
    sizes = [smallest + (largest - smallest) * k / max(count - 1, 1) for k in range(count + 1)]
    boxes = []
    for side, size, after in zip(sides, sizes[:-1], sizes[1:], strict=True):
        centre = (torch.arange(side) + 0.5) / side
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        shapes = [(size * ratio**0.5, size / ratio**0.5) for ratio in RATIOS] + [((size * after) ** 0.5,) * 2]
        shape = torch.tensor(shapes).expand(side, side, BOXES, 2)
        place = torch.stack([x, y], dim=-1)[:, :, None].expand(side, side, BOXES, 2)
        boxes.append(torch.cat([place, shape], dim=-1).reshape(-1, 4))
    return torch.cat(boxes)


def _vgg() -> nn.Module:
    """Convolutions of torchvision's vgg16_bn, named as in published weights."""
    from torchvision import models

    whole = nn.Module()
    whole.features = models.vgg16_bn(weights=None).features
    return whole


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorOptions:
    """Options of the model ``detector``."""

    kind: str = option("centernet", "kind of detector", choices=("centernet", "ssd"))
    backbone: str = option("cnn", "network from images to feature maps", choices=BACKBONES)
    widths: tuple[int, ...] = option((16, 32, 32), "channels of the cnn, at least three: strides 1, 2, 2, 1, …")
    head: int = option(32, "channels of the heads", low=4)
    maps: int = option(2, "number of ssd's feature maps", low=1, high=7)
    extra: int = option(32, "channels of ssd's maps after the backbone", low=4)
    pretrained: bool = option(False, "start the backbone from the weights of the dependency 'backbone'")


def build(request: ModelRequest[DetectorOptions]) -> nn.Module:
    """Build the detector for ``facts``: ``channels`` and ``classes``; ``pretrained``: the backbone from its weights."""
    options, channels, classes = request.options, int(request.facts["channels"]), int(request.facts["classes"])
    kind, name, head = options.kind, options.backbone, options.head
    if name != "cnn" and channels != 3:
        raise HarnessError(f"detector: {name} takes 3 channels, got {channels}")
    if (kind, name) in (("centernet", "vgg16-bn"), ("ssd", "resnet18")):
        raise HarnessError(
            f"detector: {kind} needs the backbone cnn or {'resnet18' if kind == 'centernet' else 'vgg16-bn'}"
        )
    widths = list(options.widths)
    rest: list[nn.Module] = []
    if name == "cnn":
        body: nn.Module = ConvNet(channels, 1, widths, [1, 2, 2] + [1] * (len(widths) - 3)).body
        out = widths[-1]
    elif name == "resnet18":
        body, out = torchvision_body("resnet18", channels, "detector"), 512
    else:
        body, out = _vgg(), 512
    if options.pretrained:
        load_weights(body, request.prerequisites.get("backbone"))
    if name == "vgg16-bn":
        features = body.features
        assert isinstance(features, nn.Sequential)
        body, rest = features[:CONV4_3], [features[CONV4_3:]]
    if kind == "centernet":
        return CenterNet(body, out, 0 if name == "cnn" else 3, 256, head, classes)
    extra = options.extra
    stages, map_widths = [body, *rest], [out] * (1 + len(rest))
    while len(stages) < options.maps:
        stages.append(_conv(map_widths[-1], extra, 2))
        map_widths.append(extra)
    return SSD(stages, map_widths, head, classes)


METADATA = ModelMetadata(
    name="detector",
    target="build",
    summary="CenterNet or SSD, both with BatchNorm in backbone and heads",
    source="Zhou et al., Objects as Points, arXiv 1904.07850; Liu et al., SSD, ECCV 2016, arXiv 1512.02325",
    options=DetectorOptions,
)
