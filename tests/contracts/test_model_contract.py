"""Every registered model at a tiny size: a function of the seed, forward and back, its state saved and loaded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness import registry
from harness.trial.contracts import ModelRequest, Slot
from harness.trial.options import build

Shape = tuple[int, ...]


def images(count: int, channels: int, size: int) -> Callable[[], tuple[Tensor, ...]]:
    return lambda: (torch.rand(count, channels, size, size),)


def tokens() -> tuple[Tensor, ...]:
    return torch.randint(3, 40, (3, 8)), torch.randint(3, 40, (3, 8))


@dataclass(frozen=True)
class Tiny:
    """A model at a tiny size.

    Attributes:
        inputs: draws the arguments of its forward pass.
        shapes: of the tensors that it gives.
        facts: what a task would know of the data.
        options: smaller than the defaults where these are large.
        places: of the norm slots that it cannot do without.
    """

    inputs: Callable[[], tuple[Tensor, ...]]
    shapes: tuple[Shape, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    places: tuple[str, ...] = ()


COLOUR = {"channels": 3, "classes": 5, "size": 32}
GREY = {"channels": 1, "classes": 5, "size": 8}
TEXT = {"vocabulary": 40, "padding": 0, "steps": 10}
SMALL = {"layers": 1, "width": 16, "heads": 2, "inner": 16}
ROWS = {"features": 6, "outputs": 3, "classes": 3}
LABELLED = {**TEXT, "padding": 39, "classes": 5}


def rows() -> tuple[Tensor, ...]:
    return (torch.rand(4, 6),)


def words() -> tuple[Tensor, ...]:
    return (torch.randint(0, 39, (3, 8)),)


MODELS = {
    "bag-of-embeddings": Tiny(words, ((3, 5),), LABELLED, {"width": 8}),
    "bn-cnn": Tiny(images(2, 1, 8), ((2, 5),), GREY, {"widths": (4, 8), "strides": (1, 2)}),
    "cifar-pairs": Tiny(images(2, 3, 32), ((2, 5),), COLOUR, {"arch": "vgg8"}),
    "csi-resnet18": Tiny(
        lambda: (torch.rand(2, 1, 25, 52),),
        ((2, 8), (2, 5)),
        {"classes": 5, "channels": 1},
        {"width": 4, "dimension": 8},
    ),
    "detector": Tiny(
        images(2, 3, 32), ((2, 5, 8, 8), (2, 2, 8, 8), (2, 2, 8, 8)), COLOUR, {"widths": (4, 8, 8), "head": 8}
    ),
    "embedding": Tiny(images(2, 1, 8), ((2, 6),), GREY, {"widths": (4, 8), "dimension": 6}),
    "fine-tuned": Tiny(
        images(2, 3, 32), ((2, 5),), COLOUR, {"arch": "bn-cnn", "options": {"widths": (4, 8), "strides": (1, 2)}}
    ),
    "harmonic-cnn": Tiny(
        lambda: (torch.randn(2, 4096),), ((2, 5),), {"classes": 5, "rate": 8000}, {"layers": 2, "channels": 8}
    ),
    "imagenet-zoo": Tiny(images(2, 3, 32), ((2, 5),), COLOUR),
    "linear": Tiny(rows, ((4, 3),), ROWS),
    "mlp": Tiny(rows, ((4, 3),), ROWS, {"hidden": (8,)}),
    "rebias": Tiny(images(2, 3, 8), ((2, 5),), {**COLOUR, "size": 8}, {"widths": (4, 8)}),
    "resnet-cifar": Tiny(images(2, 1, 8), ((2, 5),), GREY, {"width": 4}),
    "rn-inpainting": Tiny(
        lambda: (torch.rand(2, 3, 16, 16), torch.ones(2, 1, 16, 16)),
        ((2, 3, 16, 16),),
        {"size": 16},
        {"width": 4, "blocks": 1, "discriminator_width": 0},
        ("encoder", "blocks", "decoder"),
    ),
    "scalar": Tiny(tuple, ((1,),)),
    "sklearn": Tiny(rows, (), ROWS, {"estimator": "sklearn.linear_model.LogisticRegression"}),
    "small-vit": Tiny(images(2, 1, 8), ((2, 5),), GREY, {"width": 16, "depth": 1}),
    "tensorized-lm": Tiny(
        tokens, ((3, 8),), TEXT, {"layers": 1, "width": 16, "head_width": 8, "inner": 16, "length": 8}
    ),
    "text-transformer": Tiny(words, ((3, 5),), LABELLED, SMALL),
    "torchvision": Tiny(images(2, 3, 32), ((2, 5),), COLOUR),
    "transformer": Tiny(tokens, ((3, 8, 40),), TEXT, SMALL),
    "transformer-lm": Tiny(tokens, ((3, 8),), TEXT, SMALL),
    "transformer-xl": Tiny(tokens, ((3, 8),), TEXT, {**SMALL, "head_width": 8, "memory": 8}),
    "wide-resnet": Tiny(images(2, 3, 32), ((2, 5),), COLOUR, {"width": 1}),
}
NONE = {"none"}
"""No network at all: for programs that bring their own."""
FITTED = {"sklearn"}
"""Models that are fitted once: without weights that a gradient could reach, and without an answer before."""
KNOWN = sorted(set(registry.entries("model")) - NONE)
every_model = pytest.mark.parametrize("name", KNOWN)
every_network = pytest.mark.parametrize("name", sorted(set(KNOWN) - FITTED))


def built(name: str, seed: int = 0) -> nn.Module:
    model, tiny = registry.load("model", name), MODELS[name]
    norm = Slot("batch-image", registry.load("method", "batch-image").target, {})
    torch.manual_seed(seed)
    request = ModelRequest(build(model.options, tiny.options), tiny.facts, dict.fromkeys(tiny.places, norm))
    network: nn.Module = model.target(request)
    return network


def outputs(name: str, network: nn.Module) -> list[Tensor]:
    """The outputs of a network for inputs of one seed."""
    torch.manual_seed(7)
    value = network(*MODELS[name].inputs())
    parts = list(value) if isinstance(value, tuple) else [value]
    return [part for part in parts if isinstance(part, Tensor)][: len(MODELS[name].shapes)]


def test_every_model_is_built_here() -> None:
    assert set(MODELS) == set(registry.entries("model")) - NONE, "a new model: say how it is built at a tiny size"


@every_model
def test_a_model_is_a_function_of_the_seed(name: str) -> None:
    first, again, other = built(name), built(name), built(name, 1)
    states = [network.state_dict() for network in (first, again, other)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    if name != "scalar":  # its start is an option
        assert not all(torch.equal(states[0][key], states[2][key]) for key in states[0])


@pytest.mark.parametrize("name", sorted(FITTED))
def test_what_is_fitted_has_nothing_to_train(name: str) -> None:
    assert not list(built(name).parameters())


@every_network
def test_every_weight_gets_a_finite_gradient_and_outputs_have_their_shapes(name: str) -> None:
    network = built(name)
    parts = outputs(name, network)
    assert tuple(tuple(part.shape) for part in parts) == MODELS[name].shapes
    sum(part.float().square().mean() for part in parts).backward()  # type: ignore[union-attr]
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert gradients
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert any(bool(gradient.any()) for gradient in gradients)


@every_network
def test_a_state_that_is_loaded_gives_the_same_outputs(name: str) -> None:
    network, other = built(name).eval(), built(name, 1).eval()
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        pairs = zip(outputs(name, network), outputs(name, other), strict=True)
        assert all(torch.equal(mine, theirs) for mine, theirs in pairs)
