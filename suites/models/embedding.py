"""Embeddings for retrieval: a backbone, pooling, a linear map, unit length."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError, MissingDataError
from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import option
from suites.models.cnn import ConvNet
from suites.models.imagenet_zoo import torchvision_body
from suites.models.resnet import BLOCKS, SmallResNet

SUFFIXES = (".safetensors", ".pth", ".pt")
BACKBONES = ("cnn", "resnet-cifar", "resnet50")


class EmbeddingNetwork(nn.Module):
    """Images (B, C, H, W) to embeddings (B, dimension) of length one, so ``project`` needs no bias."""

    def __init__(self, body: nn.Module, width: int, dimension: int, pooling: str, pretrained: bool = False) -> None:
        super().__init__()
        self.pretrained = pretrained
        self.body = body
        self.pooling = pooling
        self.project = nn.Linear(width, dimension, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings (B, dimension) of length one."""
        maps = self.body(images)
        pooled = maps.mean(dim=(2, 3))
        if self.pooling == "average+max":
            pooled = pooled + maps.amax(dim=(2, 3))
        return F.normalize(self.project(pooled), dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingOptions:
    """Options of the model ``embedding``."""

    backbone: str = option("cnn", "network from images to feature maps", choices=BACKBONES)
    dimension: int = option(32, "dimension of the embedding", low=2)
    pooling: str = option("average", "pooling of the feature maps", choices=("average", "average+max"))
    widths: tuple[int, ...] = option((32, 64, 64), "channels of the cnn; resnet-cifar uses the first")
    blocks: int = option(1, "blocks a stage, resnet-cifar", low=1)
    block: str = option("basic", "type of block, resnet-cifar", choices=tuple(BLOCKS))
    pretrained: bool = option(False, "start the backbone from the weights of the dependency 'backbone'")


def build(request: ModelRequest[EmbeddingOptions]) -> EmbeddingNetwork:
    """Build the network for ``facts``: ``channels``; ``pretrained``: the backbone from its weights."""
    options = request.options
    body, width = _backbone(options.backbone, request)
    if options.pretrained:
        load_weights(body, request.prerequisites.get("backbone"))
    return EmbeddingNetwork(body, width, options.dimension, options.pooling, options.pretrained)


def _backbone(name: str, request: ModelRequest[EmbeddingOptions]) -> tuple[nn.Module, int]:
    options, channels = request.options, int(request.facts["channels"])
    if name == "cnn":
        widths = list(options.widths)
        return ConvNet(channels, 1, widths, [1] + [2] * (len(widths) - 1)).body, widths[-1]
    if name == "resnet-cifar":
        width = options.widths[0]
        return SmallResNet(channels, 1, options.blocks, width, options.block).body, 4 * width
    return torchvision_body(name, channels, "embedding"), 2048


def load_weights(body: nn.Module, place: Path | None) -> None:
    """Copy a backbone's weights: names with or without ``body.``, from a file or a folder's only file."""
    body.load_state_dict(fitting(place, body.state_dict(), "of this backbone"), strict=False)


def fitting(place: Path | None, wanted: Mapping[str, Tensor], network: str) -> dict[str, Tensor]:
    """Select the weights of a file that a network needs; batch counters are optional."""
    weights = read_backbone(place)
    lacking = [name for name in wanted if name not in weights and not name.endswith("num_batches_tracked")]
    wrong = [name for name in wanted if name in weights and weights[name].shape != wanted[name].shape]
    if lacking or wrong:
        raise HarnessError(f"{place} is not {network}: lacks {lacking[:3]}, other shapes {wrong[:3]}")
    return {name: weights[name] for name in wanted if name in weights}


def read_backbone(place: Path | None) -> dict[str, Tensor]:
    """Read a backbone's weights by name, without ``body.``, from file or folder."""
    return {name.removeprefix("body."): tensor for name, tensor in read_tensors(_weights_file(place)).items()}


def _weights_file(place: Path | None) -> Path:
    if place is not None and place.is_file():
        return place
    files = [file for suffix in SUFFIXES for file in sorted(place.glob(f"*{suffix}"))] if place is not None else []
    if len(files) != 1:
        raise MissingDataError(
            f"pretrained backbone: expected one file of {', '.join(SUFFIXES)} in {place or 'a weights folder'}, found "
            f"{len(files)}; random weights are not used instead: set pretrained: false to train from scratch"
        )
    return files[0]


def read_tensors(file: Path) -> Mapping[str, Tensor]:
    """Read tensors by name without running code."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise nearly anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HarnessError(f"the weights {file} cannot be read as plain tensors: {reason}") from error


METADATA = ModelMetadata(
    name="embedding",
    target="build",
    summary="a backbone, pooling, a linear map to an embedding of length one",
    source="Kim et al., Proxy Anchor Loss, CVPR 2020, arXiv 2003.13911",
    options=EmbeddingOptions,
)
