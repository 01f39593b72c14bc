"""An image classifier that starts from user weights, with a new head.

It is trained as a whole or its head alone. The file is a safetensors file: names and tensors, no code. Pickles are
never read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from harness.data.checksums import checksum
from harness.data.roots import data_root
from harness.errors import HarnessError, MissingDataError
from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import Values, option
from harness.trial.options import build as build_options
from suites.models import cnn, imagenet_zoo, resnet
from suites.models.embedding import read_tensors
from suites.models.imagenet_zoo import TIMM, TORCHVISION

NAME = "fine-tuned"
SUFFIX = ".safetensors"
OWN: Mapping[str, tuple[Callable[..., nn.Module], type[Any]]] = MappingProxyType(
    {"bn-cnn": (cnn.build, cnn.ConvNetOptions), "resnet-cifar": (resnet.build_small, resnet.SmallResNetOptions)}
)
"""Our architectures: builders and options."""
ARCHITECTURES = ("bn-cnn", "resnet-cifar", *TORCHVISION, *TIMM)
COUNTER = "num_batches_tracked"  # of BatchNorm: old files lack it, and nothing is computed from it
LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTunedOptions:
    """Options of the model ``fine-tuned``."""

    arch: str = option("resnet18", "network of the weights: ours, torchvision's or timm's", choices=ARCHITECTURES)
    options: Mapping[str, Any] = option({}, "options of bn-cnn and resnet-cifar, as of these models")
    weights: str = option("", "safetensors file, absolute or below HARNESS_DATA; empty: random weights")
    weights_sha256: str = option("", "sha256 of that file; the plan fills it in")
    head: str = option("new", "last layer: new, or from the file", choices=("new", "file"))
    freeze: bool = option(False, "train only the head; the rest stays unchanged, with BatchNorm's statistics")
    prefix: str = option("", "prefix of the names in the file that the network's names lack (backbone.)")


def build(request: ModelRequest[FineTunedOptions]) -> nn.Module:
    """Build the network for ``facts``: ``channels`` and ``classes``."""
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
            own = build_options(declared, Values(options.options))
        except HarnessError as error:
            raise HarnessError(f"{NAME}: options of {options.arch}: {error}") from error
        return make(ModelRequest(own, request.facts))
    if options.options:
        raise HarnessError(f"{NAME}: {options.arch} has no options; remove 'options'")
    return imagenet_zoo.build(ModelRequest(imagenet_zoo.ImageNetZooOptions(arch=options.arch), request.facts))


def head_of(network: nn.Module) -> str:
    """Name of the network's last linear layer."""
    linear = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)]
    return linear[-1]


def require_content(path: Path, expected: str) -> None:
    """Reject a file that differs from the planned one."""
    if expected and path.is_file() and (actual := checksum(path)) != expected:
        raise HarnessError(
            f"{NAME}: weights: {path} has sha256 {actual}, but {expected} was planned; run the suite again"
        )


def read_weights(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """Read the tensors of a safetensors file with ``prefix``, which is removed."""
    if not path.is_file():
        raise MissingDataError(f"{NAME}: weights: {path} does not exist")
    if path.suffix != SUFFIX:
        raise HarnessError(
            f"{NAME}: weights: {path.name} is not a {SUFFIX} file; pickles are not read, since they can run code. "
            f"Convert it: safetensors.torch.save_file(torch.load('{path.name}', weights_only=True), "
            f"'{path.stem}{SUFFIX}')"
        )
    tensors = read_tensors(path)
    selected = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if not selected:
        some = ", ".join(list(tensors)[:LISTED]) or "none"
        raise HarnessError(f"{NAME}: weights: no name in {path} begins with '{prefix}'; names: {some}")
    return selected


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], where: str, replaced: str | None = None) -> None:
    """Load all tensors of a network except those of the layer ``replaced``."""

    def kept(name: str) -> bool:
        return replaced is None or not name.startswith(f"{replaced}.")

    wanted = {name: tensor for name, tensor in network.state_dict().items() if kept(name)}
    available = {name: tensor for name, tensor in tensors.items() if kept(name)}
    missing = [name for name in wanted if name not in available and not name.endswith(COUNTER)]
    unexpected = [name for name in available if name not in wanted]
    shapes = {name: (tuple(available[name].shape), tuple(wanted[name].shape)) for name in wanted if name in available}
    mismatched = [f"{name} {own}, not {other}" for name, (own, other) in shapes.items() if own != other]
    problems = [
        f"{len(names)} {problem}: {', '.join(names[:LISTED])}{', …' if len(names) > LISTED else ''}"
        for problem, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", mismatched))
        if names
    ]
    if problems:
        raise HarnessError(
            f"{NAME}: {where} does not fit the network ({len(wanted)} tensors"
            f"{f' beside the head {replaced}' if replaced else ''}): {'; '.join(problems)}"
        )
    network.load_state_dict({name: tensor.to(wanted[name].dtype) for name, tensor in available.items()}, strict=False)


def freeze_all_but(network: nn.Module, head: str) -> None:
    """Train only the head; keep every other part in evaluation mode, even after ``train``."""
    still = [part for name, part in network.named_modules() if name and not (f"{name}.").startswith(f"{head}.")]
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith(f"{head}."))

    def keep_still(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        for part in still:
            part.training = False

    network.register_forward_pre_hook(keep_still)


METADATA = ModelMetadata(
    name=NAME,
    target="build",
    summary="an image classifier that starts from a custom safetensors file with a new head, or from scratch",
    source="Yosinski et al., How transferable are features in deep neural networks?, NeurIPS 2014, arXiv 1411.1792",
    options=FineTunedOptions,
    files=("weights",),
)
