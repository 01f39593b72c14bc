"""An image classifier that starts from weights of one's own, with a new head; wholly trained, or its head alone.

The file is a safetensors file: names and tensors, no code. A pickle is never read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from harness.data.checksums import checksum
from harness.data.roots import data_root
from harness.errors import HarnessError, MissingDataError
from harness.registry.cards import ModelCard
from harness.trial.contracts import ModelRequest
from harness.trial.options import build as build_options
from harness.trial.options import option
from suites.models import cnn, imagenet_zoo, resnet
from suites.models.imagenet_zoo import TIMM, TORCHVISION

NAME = "fine-tuned"
SUFFIX = ".safetensors"
OWN: Mapping[str, tuple[Callable[..., nn.Module], type[Any]]] = MappingProxyType(
    {"bn-cnn": (cnn.build, cnn.ConvNetOptions), "resnet-cifar": (resnet.build_small, resnet.SmallResNetOptions)}
)
"""Architectures of ours: what builds them, and their options."""
ARCHITECTURES = ("bn-cnn", "resnet-cifar", *TORCHVISION, *TIMM)
COUNTER = "num_batches_tracked"  # of BatchNorm: old files lack it, and nothing is computed from it
LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTunedOptions:
    """Options of the model ``fine-tuned``."""

    arch: str = option(
        "resnet18", "network that the weights are of: ours, torchvision's or timm's", choices=ARCHITECTURES
    )
    options: Mapping[str, Any] = option({}, "of bn-cnn and resnet-cifar: as of the models of that name")
    weights: str = option("", "safetensors file, absolute or below HARNESS_DATA; empty: random weights")
    weights_sha256: str = option("", "of that file; the plan fills it in")
    head: str = option("new", "last layer: new, or as in the file", choices=("new", "file"))
    freeze: bool = option(False, "only the head learns; all else stays as it is, BatchNorm's statistics too")
    prefix: str = option("", "what the names in the file begin with and the network's do not (backbone.)")


def build(request: ModelRequest[FineTunedOptions]) -> nn.Module:
    """The network for ``facts``: ``channels`` and ``classes``; its names are those of the architecture.

    Raises:
        MissingDataError: there is no such file.
        HarnessError: no safetensors file, tensors that are not the network's, or an option that it does not have.
    """
    options = request.options
    network = _network(request)
    head = head_of(network)
    if options.weights:
        path = data_root() / options.weights
        require_content(path, options.weights_sha256)
        load_weights(network, read_weights(path, options.prefix), str(path), head if options.head == "new" else None)
    if options.freeze:
        freeze_all_but(network, head)
    return network


def _network(request: ModelRequest[FineTunedOptions]) -> nn.Module:
    options = request.options
    if options.arch in OWN:
        make, declared = OWN[options.arch]
        try:
            own = build_options(declared, options.options)
        except HarnessError as error:
            raise HarnessError(f"{NAME}: options of {options.arch}: {error}") from error
        return make(ModelRequest(own, request.facts))
    if options.options:
        raise HarnessError(f"{NAME}: {options.arch} has no options; leave 'options' out")
    return imagenet_zoo.build(ModelRequest(imagenet_zoo.ImageNetZooOptions(arch=options.arch), request.facts))


def head_of(network: nn.Module) -> str:
    """The name of the last layer: the linear one that comes last in the network."""
    linear = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)]
    return linear[-1]


def require_content(path: Path, expected: str) -> None:
    """Refuse a file that is not the one that was planned with (another machine's, or edited since).

    Raises:
        HarnessError: naming both checksums.
    """
    if expected and path.is_file() and (found := checksum(path)) != expected:
        raise HarnessError(
            f"{NAME}: weights: {path} has sha256 {found}, and {expected} was planned; run the suite again"
        )


def read_weights(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, ``prefix`` taken off; those without it are left out.

    Raises:
        MissingDataError: there is no such file.
        HarnessError: it is another kind of file, damaged, or no name begins with the prefix.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise MissingDataError(f"{NAME}: weights: {path} does not exist")
    if path.suffix != SUFFIX:
        raise HarnessError(
            f"{NAME}: weights: {path.name} is no {SUFFIX} file, and no pickle is read, since it can run code; convert "
            f"it once: safetensors.torch.save_file(torch.load('{path.name}', weights_only=True), '{path.stem}{SUFFIX}')"
        )
    try:
        tensors = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise HarnessError(f"{NAME}: weights: {path} is no safetensors file that can be read: {error}") from error
    found = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if not found:
        some = ", ".join(list(tensors)[:LISTED]) or "none"
        raise HarnessError(f"{NAME}: weights: no name in {path} begins with '{prefix}'; names: {some}")
    return found


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], where: str, replaced: str | None = None) -> None:
    """Take over all tensors of a network, but for the layer ``replaced``, whose names in the file are passed over.

    Raises:
        HarnessError: names that are missing or unexpected, or shapes that differ; all of them in one message.
    """

    def kept(name: str) -> bool:
        return replaced is None or not name.startswith(f"{replaced}.")

    wanted = {name: tensor for name, tensor in network.state_dict().items() if kept(name)}
    given = {name: tensor for name, tensor in tensors.items() if kept(name)}
    missing = [name for name in wanted if name not in given and not name.endswith(COUNTER)]
    unexpected = [name for name in given if name not in wanted]
    shapes = {name: (tuple(given[name].shape), tuple(wanted[name].shape)) for name in wanted if name in given}
    mismatched = [f"{name} {own}, not {other}" for name, (own, other) in shapes.items() if own != other]
    told = [
        f"{len(names)} {what}: {', '.join(names[:LISTED])}{', …' if len(names) > LISTED else ''}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", mismatched))
        if names
    ]
    if told:
        raise HarnessError(
            f"{NAME}: {where} does not fit the network ({len(wanted)} tensors"
            f"{f' beside the head {replaced}' if replaced else ''}): {'; '.join(told)}"
        )
    network.load_state_dict({name: tensor.to(wanted[name].dtype) for name, tensor in given.items()}, strict=False)


def freeze_all_but(network: nn.Module, head: str) -> None:
    """No gradients but for the head; every other part stays in evaluation mode, whoever calls ``train``."""
    still = [part for name, part in network.named_modules() if name and not (f"{name}.").startswith(f"{head}.")]
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith(f"{head}."))

    def keep_still(module: nn.Module, given: tuple[Any, ...]) -> None:
        for part in still:
            part.training = False

    network.register_forward_pre_hook(keep_still)


CARD = ModelCard(
    name=NAME,
    target="build",
    summary="an image classifier that starts from a safetensors file of your own, with a new head; or from scratch",
    source="Yosinski et al., How transferable are features in deep neural networks?, NeurIPS 2014, arXiv 1411.1792",
    options=FineTunedOptions,
    files=("weights",),
)
