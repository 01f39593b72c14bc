"""ResNet-18 for channel state information, with embedding and classifier."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import option
from suites.models.cnn import he_initialise
from suites.models.embedding import fitting

STAGES = 4


def _block(inputs: int, width: int, stride: int) -> BasicBlock:
    shortcut = None
    if stride != 1 or inputs != width:
        shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))
    return BasicBlock(inputs, width, stride, shortcut)


class CsiEncoder(nn.Module):
    """Amplitudes (B, 1, T, S) to embeddings (B, dimension).

    Each subcarrier is standardised over time, so that the network sees only motion; then BatchNorm of
    the one channel and a ResNet-18 whose stem takes one channel (papers' network: RS2002/KNN-MMD model.py).
    """

    def __init__(self, width: int, dimension: int, deviation: str = "biased", stem: str = "he") -> None:
        super().__init__()
        self.sample = deviation == "sample"
        self.input_norm = nn.BatchNorm2d(1)
        self.conv1 = nn.Conv2d(1, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        before = width
        for stage in range(STAGES):
            after = width * 2**stage
            blocks = nn.Sequential(_block(before, after, 1 if stage == 0 else 2), _block(after, after, 1))
            self.add_module(f"layer{stage + 1}", blocks)
            before = after
        self.fc = nn.Linear(before, dimension)
        he_initialise(self)
        if stem == "torch":
            self.conv1.reset_parameters()

    def forward(self, amplitudes: Tensor) -> Tensor:
        """Embeddings (B, dimension)."""
        maps = F.relu(self.bn1(self.conv1(self.input_norm(standardise(amplitudes, self.sample)))))
        maps = F.max_pool2d(maps, 3, 2, 1)
        for stage in range(STAGES):
            maps = getattr(self, f"layer{stage + 1}")(maps)
        return self.fc(maps.mean(dim=(2, 3)))


class CsiNetwork(nn.Module):
    """The encoder and its classifier."""

    def __init__(self, encoder: CsiEncoder, classes: int, dimension: int) -> None:
        super().__init__()
        self.dimension = dimension
        self.encoder = encoder
        self.classifier = nn.Sequential(
            nn.Linear(dimension, dimension),
            nn.ReLU(),
            nn.Linear(dimension, dimension),
            nn.ReLU(),
            nn.Linear(dimension, classes),
        )

    def forward(self, amplitudes: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, dimension) and class logits (B, classes)."""
        embedding = self.encoder(amplitudes)
        return embedding, self.classifier(embedding)


def standardise(amplitudes: Tensor, sample: bool = False) -> Tensor:
    """Standardise each subcarrier of (B, 1, T, S) over time; ``sample`` divides by T − 1, as released."""
    centred = amplitudes - amplitudes.mean(dim=2, keepdim=True)
    deviation = centred.square().mean(dim=2, keepdim=True).sqrt()
    if sample:
        steps = amplitudes.shape[2]
        deviation = deviation * (steps / (steps - 1)) ** 0.5
    return centred / deviation.clamp_min(1e-5)


@dataclass(frozen=True, slots=True, kw_only=True)
class CsiResNetOptions:
    """Options of the model ``csi-resnet18``."""

    width: int = option(64, "channels of the first stage; 64 as published", low=2)
    dimension: int = option(64, "width of the embedding and of the classifier's hidden layers", low=2)
    deviation: str = option("biased", "deviation by which windows are standardised", choices=("biased", "sample"))
    stem: str = option("he", "initialisation of the first convolution; torch: its default", choices=("he", "torch"))
    pretrained: bool = option(False, "start from the ImageNet weights of the dependency 'backbone'")


def build(request: ModelRequest[CsiResNetOptions]) -> CsiNetwork:
    """Build the network for ``facts``: ``classes``; ``pretrained``: all but stem and embedding from ImageNet."""
    options = request.options
    width, dimension = options.width, options.dimension
    encoder = CsiEncoder(width, dimension, options.deviation, options.stem)
    if options.pretrained:
        load_imagenet(encoder, request.prerequisites.get("backbone"))
    return CsiNetwork(encoder, int(request.facts["classes"]), dimension)


def load_imagenet(encoder: CsiEncoder, place: Path | None) -> None:
    """Copy a ResNet-18's layers and its first BatchNorm; stem and embedding stay as drawn."""
    own = ("input_norm", "conv1", "fc")
    wanted = {name: tensor for name, tensor in encoder.state_dict().items() if name.split(".")[0] not in own}
    encoder.load_state_dict(fitting(place, wanted, "a ResNet-18 of width 64"), strict=False)


METADATA = ModelMetadata(
    name="csi-resnet18",
    target="build",
    summary="ResNet-18 with a one-channel stem, an embedding and a classifier of three layers",
    source="KNN-MMD, arXiv 2412.04783, code RS2002/KNN-MMD model.py; He et al., CVPR 2016, arXiv 1512.03385",
    options=CsiResNetOptions,
)
