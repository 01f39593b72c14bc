"""Published weights of the DeiT III teachers, trained on ImageNet-21k and tuned on ImageNet-1k, in timm's names."""

from __future__ import annotations

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
    raise HarnessError("deit3-…-21k holds weights: name it as 'weights:' of a prerequisite, not as data")


def _info(name: str, size: str, parameters: str, megabytes: str) -> DataCard:
    arch = f"deit3_{size}_patch16_224.fb_in22k_ft_in1k"
    return DataCard(
        name=name,
        target="load",
        summary=f"DeiT III-{size.capitalize()} weights, {parameters} parameters, ImageNet-21k then ImageNet-1k",
        origin="real",
        content="weights",
        layout="safetensors",
        home=f"https://huggingface.co/timm/{arch}",
        licence="Apache-2.0; trained on ImageNet, whose terms are for research",
        version="1",
        size=megabytes,
        files=(f"data:weights/{arch}.safetensors",),
        fetch=f"hand:download model.safetensors of timm/{arch} from the Hugging Face hub and put it to "
        f"HARNESS_DATA/weights/{arch}.safetensors",
    )


CARDS = (
    _info("deit3-small-21k", "small", "22 million", "88 MB"),
    _info("deit3-large-21k", "large", "304 million", "1.2 GB"),
)
