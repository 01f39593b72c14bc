"""ImageNet weights that networks of other tasks start from, as torchvision publishes them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.records import DataInfo

if TYPE_CHECKING:
    from harness.contracts import DataRequest

FILE = "weights/resnet18-f37072fd.pth"


def load(request: DataRequest) -> None:
    """Weights are read by the model that starts from them, not as data.

    Raises:
        HarnessError: always.
    """
    raise HarnessError("resnet18-imagenet holds weights: name it as 'weights:' of a prerequisite, not as data")


INFO = DataInfo(
    name="resnet18-imagenet",
    target="load",
    summary="ResNet-18 trained on ImageNet, torchvision's IMAGENET1K_V1",
    origin="real",
    content="weights",
    layout="pth",
    home="https://github.com/pytorch/vision",
    licence="BSD-3-Clause; trained on ImageNet, whose terms are for research",
    version="1",
    size="45 MB",
    files=(f"data:{FILE}",),
    sha256=MappingProxyType({f"data:{FILE}": "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"}),
    fetch="hand:torchvision's ResNet18_Weights.IMAGENET1K_V1.get_state_dict() downloads resnet18-f37072fd.pth into "
    "torch.hub.get_dir()/checkpoints; put it to HARNESS_DATA/weights/",
)
