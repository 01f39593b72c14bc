"""A plain convolutional network with BatchNorm, so that its convolutions are scale-invariant."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from harness.errors import HarnessError
from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import option

NORMS = ("batch", "group", "none")


class Classifier(nn.Module):
    """A body (B, C, H, W) → (B, width, h, w), average pooling, a linear head."""

    def __init__(self, body: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(width, classes)

    def features(self, images: Tensor) -> Tensor:
        """Pooled activations (B, width)."""
        return self.body(images).mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Class logits (B, classes)."""
        return self.head(self.features(images))


class ConvNet(Classifier):
    """3×3 convolutions, each with norm and ReLU; global average pooling; a linear head."""

    def __init__(
        self, channels: int, classes: int, widths: Sequence[int], strides: Sequence[int], norm: str = "batch"
    ) -> None:
        layers: list[nn.Module] = []
        before = channels
        for width, stride in zip(widths, strides, strict=True):
            layers += [nn.Conv2d(before, width, 3, stride, 1, bias=norm == "none"), _norm(norm, width), nn.ReLU()]
            before = width
        super().__init__(nn.Sequential(*layers), before, classes)


def he_initialise(network: nn.Module) -> None:
    """Initialise convolutions by He's normal distribution (fan-out), except on meta."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d) and not part.weight.is_meta:
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


def _norm(kind: str, width: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(width)
    return nn.GroupNorm(min(8, width), width) if kind == "group" else nn.Identity()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvNetOptions:
    """Options of the model ``bn-cnn``."""

    widths: tuple[int, ...] = option((32, 64, 64), "channels of each convolution")
    strides: tuple[int, ...] = option((1, 2, 1), "stride of each convolution")
    norm: str = option("batch", "norm after each convolution", choices=NORMS)


def build(request: ModelRequest[ConvNetOptions]) -> ConvNet:
    """Build the network for ``facts``: ``channels`` and ``classes``."""
    options, facts = request.options, request.facts
    widths, strides = list(options.widths), list(options.strides)
    if not widths or len(widths) != len(strides):
        raise HarnessError(f"bn-cnn: {len(widths)} widths and {len(strides)} strides; set one stride a width")
    if options.norm == "group" and any(width % min(8, width) for width in widths):
        raise HarnessError(f"bn-cnn: with norm 'group' widths above 8 must be multiples of 8, got {widths}")
    return ConvNet(int(facts["channels"]), int(facts["classes"]), widths, strides, options.norm)


METADATA = ModelMetadata(
    name="bn-cnn",
    target="build",
    summary="3×3 convolutions with BatchNorm and ReLU, average pooling, a linear head",
    source="Ioffe & Szegedy, Batch Normalization, ICML 2015, arXiv 1502.03167",
    options=ConvNetOptions,
)
