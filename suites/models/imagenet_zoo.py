"""ImageNet networks of the NKD and USKD tables, from torchvision and timm."""

import importlib.util
from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from harness.errors import HarnessError
from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import option

TORCHVISION = ("resnet18", "resnet34", "resnet50", "resnet101", "mobilenet_v2", "shufflenet_v2_x1_0")
ARCHITECTURES = ("resnet18", "resnet34", "resnet50", "mobilenet_v2")
TIMM = (
    "mobilenetv1_100",
    "regnetx_016",
    "swin_tiny_patch4_window7_224",
    "deit_tiny_patch16_224",
    "deit_base_patch16_224",
    "deit3_small_patch16_224",
    "deit3_large_patch16_224",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageNetZooOptions:
    """Options of the model ``imagenet-zoo``."""

    arch: str = option("resnet18", "name in the library", choices=TORCHVISION + TIMM)
    drop_path: float = option(0.0, "largest rate of stochastic depth (timm)", low=0, high=1)


def build(request: ModelRequest[ImageNetZooOptions]) -> nn.Module:
    """Build an architecture with random weights, for ``facts``: ``channels`` and ``classes``."""
    name, facts = request.options.arch, request.facts
    if int(facts["channels"]) != 3:
        raise HarnessError(f"imagenet-zoo: {name} takes 3 channels, got {facts['channels']}")
    classes, drop = int(facts["classes"]), request.options.drop_path
    if name in TORCHVISION:
        from torchvision import models

        if drop:
            raise HarnessError(f"imagenet-zoo: {name} has no drop_path; set it to 0")
        return getattr(models, name)(weights=None, num_classes=classes)
    if importlib.util.find_spec("timm") is None:
        raise HarnessError(f"imagenet-zoo: {name} comes from timm, which is not installed: pip install timm")
    import timm

    more = {"drop_path_rate": drop} if drop else {}
    return timm.create_model(name, pretrained=False, num_classes=classes, **more)


def torchvision_body(name: str, channels: int, model: str) -> nn.Sequential:
    """Build a torchvision ResNet up to its feature maps, with random weights."""
    from torchvision import models

    if channels != 3:
        raise HarnessError(f"{model}: {name} takes 3 channels, got {channels}")
    whole = getattr(models, name)(weights=None)
    parts = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    return nn.Sequential(OrderedDict((part, getattr(whole, part)) for part in parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchvisionOptions:
    """Options of the model ``torchvision``."""

    arch: str = option("resnet18", "name in torchvision", choices=ARCHITECTURES)


def build_torchvision(request: ModelRequest[TorchvisionOptions]) -> nn.Module:
    """Build a torchvision architecture with random weights, for ``facts``: ``channels`` and ``classes``."""
    return build(ModelRequest(ImageNetZooOptions(arch=request.options.arch), request.facts))


METADATA = (
    ModelMetadata(
        name="imagenet-zoo",
        target="build",
        summary="an ImageNet architecture of torchvision or timm with random weights: ResNets, MobileNets, DeiT, Swin",
        source="as torchvision and timm build them; the tables of yzd-v/cls_KD, nkd.md, name the architectures",
        options=ImageNetZooOptions,
    ),
    ModelMetadata(
        name="torchvision",
        target="build_torchvision",
        summary="an ImageNet architecture of torchvision with random weights",
        source="He et al. 2016 (ResNet), Sandler et al. 2018 (MobileNetV2), as torchvision builds them",
        options=TorchvisionOptions,
    ),
)
