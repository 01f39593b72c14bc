"""ImageNet weights that networks of other tasks start from, as torchvision publishes them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.registry.cards import DataCard

if TYPE_CHECKING:
    from harness.trial.contracts import DataRequest


def load(request: DataRequest[Any]) -> None:
    """Weights are read by the model that starts from them, not as data.

    Raises:
        HarnessError: always.
    """
    raise HarnessError("resnet…-imagenet holds weights: name it as 'weights:' of a prerequisite, not as data")


def _info(depth: int, sha256: str, size: str) -> DataCard:
    file = f"resnet{depth}-{sha256[:8]}.pth"
    return DataCard(
        name=f"resnet{depth}-imagenet",
        target="load",
        summary=f"ResNet-{depth} trained on ImageNet, torchvision's IMAGENET1K_V1",
        origin="real",
        content="weights",
        layout="pth",
        home="https://github.com/pytorch/vision",
        licence="BSD-3-Clause; trained on ImageNet, whose terms are for research",
        version="1",
        size=size,
        files=(f"data:weights/{file}",),
        sha256=MappingProxyType({f"data:weights/{file}": sha256}),
        fetch=f"hand:torchvision's ResNet{depth}_Weights.IMAGENET1K_V1.get_state_dict() downloads {file} into "
        "torch.hub.get_dir()/checkpoints; put it to HARNESS_DATA/weights/",
    )


CARDS = (
    _info(18, "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec", "45 MB"),
    _info(50, "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a", "98 MB"),
)
