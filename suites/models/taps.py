"""Feature taps of distillation by forward hooks: stage before last, last feature map, classifier."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from harness.errors import HarnessError


@dataclass(frozen=True, slots=True)
class Taps:
    """Names of modules.

    Attributes:
        middle: output of the stage before last; in a plain ViT the block at half the depth (USKD's weak head).
        last: output of the last stage, before pooling.
        head: the classifier, from pooled features to logits.
        layout: layout of ``middle`` and ``last``: ``map`` (N, F, H, W), ``token`` (N, tokens, F), of which the class
            token is used, or ``grid`` (N, H, W, F).
    """

    middle: str
    last: str
    head: str
    layout: str = "map"


@dataclass(slots=True)
class Features:
    """Features of one forward pass: (N, F) or (N, F, H, W)."""

    middle: Tensor | None = None
    last: Tensor | None = None


def taps_of(network: nn.Module) -> Taps:
    """Return the network's ``taps``, or find them by names."""
    own = getattr(network, "taps", None)
    if isinstance(own, Taps):
        return own
    parts = dict(network.named_children())
    if {"layer3", "layer4", "fc"} <= set(parts):
        return Taps("layer3", "layer4", "fc")
    if {"stage4", "conv5", "fc"} <= set(parts):  # ShuffleNetV2: conv5 counts as the last stage
        return Taps("stage4", "conv5", "fc")
    if {"s3", "s4", "head"} <= set(parts):
        return Taps("s3", "s4", "head.fc")
    if {"layers", "norm", "head"} <= set(parts):  # Swin: grids with channels last
        return Taps("layers.2", "norm", "head.fc", "grid")
    if {"features", "classifier"} <= set(parts) and len(parts["features"]) == 19:
        return Taps("features.17", "features.18", "classifier")  # MobileNetV2: the 1×1 convolution is the last stage
    if {"patch_embed", "blocks", "norm", "head"} <= set(parts):
        depth = len(parts["blocks"])
        return Taps(f"blocks.{depth // 2 - 1}", "norm", "head", "token")
    if {"conv_stem", "blocks", "classifier"} <= set(parts):
        depth = len(parts["blocks"])
        return Taps(f"blocks.{depth - 2}", f"blocks.{depth - 1}", "classifier")
    if {"body", "head"} <= set(parts) and isinstance(parts["body"], nn.Sequential):
        return _of_body(parts["body"])
    raise HarnessError(
        f"{type(network).__name__}: the stage before last cannot be found; set an attribute 'taps' "
        f"(suites.models.taps.Taps) on the network"
    )


def _of_body(body: nn.Sequential) -> Taps:
    """Find taps of a sequential body: the stage before last ends before the last halving module."""
    places = [place for place, part in enumerate(body) if _halves(part)]
    if not places or places[-1] == 0:
        raise HarnessError("the body has one stage only: no module after the first halves the side")
    return Taps(f"body.{places[-1] - 1}", "body", "head")


def _halves(part: nn.Module) -> bool:
    strides = [module.stride for module in part.modules() if isinstance(module, nn.Conv2d | nn.MaxPool2d)]
    return any(stride in (2, (2, 2)) for stride in strides)


@contextmanager
def tapped(network: nn.Module, taps: Taps, *, middle: bool = True, last: bool = True) -> Iterator[Features]:
    """Fill the requested features in every forward pass of the context."""
    features = Features()

    def reader(name: str) -> object:
        def read(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            setattr(features, name, _arranged(output, taps.layout))

        return read

    hooks = []
    for name, wanted in (("middle", middle), ("last", last)):
        if wanted:
            module = network.get_submodule(getattr(taps, name))
            hooks.append(module.register_forward_hook(reader(name)))
    try:
        yield features
    finally:
        for hook in hooks:
            hook.remove()


def _arranged(output: Tensor, layout: str) -> Tensor:
    if layout == "token":
        return output[:, 0] if output.ndim == 3 else output
    if layout == "grid":
        return output.permute(0, 3, 1, 2) if output.ndim == 4 else output
    return output
