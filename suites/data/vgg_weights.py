"""ImageNet weights of VGG16 with BatchNorm, which an SSD starts from, as torchvision publishes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.registry.cards import DataCard

if TYPE_CHECKING:
    from harness.trial.contracts import DataRequest

FILE = "weights/vgg16_bn-6c64b313.pth"


def load(request: DataRequest[Any]) -> None:
    """Weights are read by the model that starts from them, not as data.

    Raises:
        HarnessError: always.
    """
    raise HarnessError("vgg16-bn-imagenet holds weights: name it as 'weights:' of a prerequisite, not as data")


# The file's name holds the first eight digits of its sha256, which torch.hub checks; the whole sum is not stated.
CARD = DataCard(
    name="vgg16-bn-imagenet",
    target="load",
    summary="VGG16 with BatchNorm trained on ImageNet, torchvision's IMAGENET1K_V1",
    origin="real",
    content="weights",
    layout="pth",
    home="https://github.com/pytorch/vision",
    licence="BSD-3-Clause; trained on ImageNet, whose terms are for research",
    version="1",
    size="528 MB",
    files=(f"data:{FILE}",),
    fetch="hand:torchvision's VGG16_BN_Weights.IMAGENET1K_V1.get_state_dict() downloads vgg16_bn-6c64b313.pth into "
    "torch.hub.get_dir()/checkpoints; put it to HARNESS_DATA/weights/",
)
