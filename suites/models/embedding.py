"""Embeddings for retrieval: a backbone, pooling, a linear map, unit length."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError, MissingDataError
from harness.records import Key, ModelInfo
from suites.models.cnn import ConvNet
from suites.models.resnet import BLOCKS, SmallResNet

if TYPE_CHECKING:
    from harness.contracts import ModelRequest

BACKBONES = ("cnn", "resnet-cifar", "resnet50")


class Embedding(nn.Module):
    """Images (B, C, H, W) to embeddings (B, dimension) of length one.

    Attributes:
        body: images to feature maps (B, width, h, w).
        project: pooled features to the embedding, without bias: its scale is divided out by the length.
        pretrained: whether the body's weights and running statistics came from a file.
    """

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


def build(request: ModelRequest) -> Embedding:
    """The embedding network for ``facts``: ``channels``.

    With ``pretrained`` the backbone starts from the weights file in the prerequisite ``backbone``.

    Raises:
        HarnessError: a channel count that ``resnet50`` does not take, or weights of another network.
        MissingDataError: ``pretrained`` without a weights file.
    """
    keys = request.parameters
    body, width = _backbone(str(keys["backbone"]), request)
    if keys["pretrained"]:
        load_weights(body, request.prerequisites.get("backbone"))
    return Embedding(body, width, int(keys["dimension"]), str(keys["pooling"]), bool(keys["pretrained"]))


def _backbone(name: str, request: ModelRequest) -> tuple[nn.Module, int]:
    keys, channels = request.parameters, int(request.facts["channels"])
    if name == "cnn":
        widths = [int(width) for width in keys["widths"]]
        return ConvNet(channels, 1, widths, [1] + [2] * (len(widths) - 1)).body, widths[-1]
    if name == "resnet-cifar":
        width = int(keys["widths"][0])
        return SmallResNet(channels, 1, int(keys["blocks"]), width, str(keys["block"])).body, 4 * width
    if channels != 3:
        raise HarnessError(f"embedding: {name} takes 3 channels, got {channels}")
    from torchvision import models

    whole = models.resnet50(weights=None)
    # By name, so that a published state_dict fits; pooling and head stay outside.
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    body = nn.Sequential()
    for part in names:
        body.add_module(part, getattr(whole, part))
    return body, 2048


def load_weights(body: nn.Module, folder: Path | None) -> None:
    """Copy a backbone's weights from the one ``*.safetensors`` or ``*.pth`` file of ``folder``; other heads are left.

    Raises:
        MissingDataError: there is no folder or no such file.
        HarnessError: a weight is missing or of another shape.
    """
    files = sorted((*folder.glob("*.safetensors"), *folder.glob("*.pth"))) if folder and folder.is_dir() else []
    if len(files) != 1:
        raise MissingDataError(
            f"pretrained backbone: expected one *.safetensors or *.pth file in {folder or 'a weights folder'}, "
            f"found {len(files)}; random weights never stand in for them: set pretrained: false to train from scratch"
        )
    if files[0].suffix == ".safetensors":
        from safetensors.torch import load_file

        weights = load_file(files[0])
    else:
        import torch

        weights = torch.load(files[0], map_location="cpu", weights_only=True)
    wanted = body.state_dict()
    lacking = [name for name in wanted if name not in weights and not name.endswith("num_batches_tracked")]
    wrong = [name for name in wanted if name in weights and weights[name].shape != wanted[name].shape]
    if lacking or wrong:
        raise HarnessError(f"{files[0]} is not of this backbone: lacks {lacking[:3]}, other shapes {wrong[:3]}")
    body.load_state_dict({name: weights[name] for name in wanted if name in weights}, strict=False)


INFO = ModelInfo(
    name="embedding",
    target="build",
    summary="a backbone, pooling, a linear map to an embedding of length one",
    source="Kim et al., Proxy Anchor Loss, CVPR 2020, arXiv 2003.13911",
    keys=MappingProxyType(
        {
            "backbone": Key("str", "cnn", "what turns images into feature maps", choices=BACKBONES),
            "dimension": Key("int", 32, "of the embedding", low=2),
            "pooling": Key("str", "average", "of the feature maps", choices=("average", "average+max")),
            "widths": Key("list", [32, 64, 64], "channels of the cnn; the first alone for resnet-cifar"),
            "blocks": Key("int", 1, "blocks a stage, resnet-cifar", low=1),
            "block": Key("str", "basic", "type of block, resnet-cifar", choices=tuple(BLOCKS)),
            "pretrained": Key("bool", False, "start the backbone from the weights of the prerequisite 'backbone'"),
        }
    ),
)
