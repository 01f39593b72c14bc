"""Wide residual networks: pre-activation blocks with more channels instead of depth."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import option
from suites.models.cnn import Classifier, he_initialise

STAGES = (16, 32, 64)


class WideBlock(nn.Module):
    """BN, ReLU, 3×3, BN, ReLU, dropout, 3×3, plus the input.

    If shapes differ the shortcut is a 1×1 convolution of the activated input (Zagoruyko & Komodakis 2016, figure 1).
    """

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
        layers: list[nn.Module] = [nn.Conv2d(channels, STAGES[0], 3, 1, 1, bias=False)]
        before = STAGES[0]
        for stage, base in enumerate(STAGES):
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


def build(request: ModelRequest[WideResNetOptions]) -> WideResNet:
    """Build the network for ``facts``: ``channels`` and ``classes``.

    Raises:
        HarnessError: the depth is not 6n+4.
    """
    options, facts = request.options, request.facts
    depth = options.depth
    if (depth - 4) % 6 or depth < 10:
        raise HarnessError(f"wide-resnet: depth {depth}; valid: 6n+4, so 10, 16, 22, 28, 34, …")
    return WideResNet(int(facts["channels"]), int(facts["classes"]), (depth - 4) // 6, options.width, options.dropout)


METADATA = ModelMetadata(
    name="wide-resnet",
    target="build",
    summary="WRN-depth-width: pre-activation residual blocks with wide channels, for 8–64 pixel images",
    source="Zagoruyko & Komodakis, Wide Residual Networks, BMVC 2016, arXiv 1605.07146",
    options=WideResNetOptions,
)
