"""Every registered method: builds with its defaults, takes a step, repeats it, and goes on from a saved state alike."""

import copy
import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from loss_batches import CLASSES, ITEMS, WIDTH, adaptation_batch, distillation_batch, shapes
from torch import Tensor, nn

from harness import registry
from harness.vocabulary import SLOTS
from methods.alignment.inputs import Adaptation

PACKAGES = {"adamp-package": "adamp"}  # methods of a package that is not needed otherwise


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Descent(nn.Module):
    """Parameters of a matrix, a convolution and a bias under an optimizer; called, it takes a step."""

    def __init__(self, factory: Callable[..., Any], options: dict[str, Any]) -> None:
        super().__init__()
        shapes = ((5, 3), (4, 3, 2, 2), (5,))
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(shape, generator=drawn(0))) for shape in shapes)
        self.optimizer = factory(list(self.weights), **options)

    def forward(self, seed: int) -> Tensor:
        for weight in self.weights:
            weight.grad = torch.randn(weight.shape, generator=drawn(seed))
        self.optimizer.step()
        return torch.cat([weight.detach().flatten() for weight in self.weights])

    def get_extra_state(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)


def gradient_of(total: Tensor, inputs: list[Tensor]) -> Tensor:
    """The loss and its gradients by the inputs, in one row."""
    gradients = torch.autograd.grad(total, inputs, allow_unused=True)
    assert any(gradient is not None and bool(gradient.any()) for gradient in gradients)
    return torch.cat([total.detach()[None], *(gradient.flatten() for gradient in gradients if gradient is not None)])


@dataclass(frozen=True)
class Normalising:
    """One training step through a norm: its output and the input's gradient."""

    image: bool

    def __call__(self, module: Any, seed: int) -> Tensor:
        shape = (2, WIDTH, 6, 6) if self.image else (5, 3, WIDTH)
        x = torch.randn(shape, generator=drawn(seed)).requires_grad_()
        mask = None
        if self.image:
            mask = torch.zeros(2, 1, 6, 6)
            mask[:, :, 2:4, 2:5] = 1
        out = module(x, mask)
        assert out.shape == x.shape
        return torch.cat(
            [out.detach().flatten(), gradient_of((out * torch.sin(torch.arange(out.numel()).view_as(out))).sum(), [x])]
        )


def distilling(module: Any, seed: int) -> Tensor:
    batch = distillation_batch(seed)
    return gradient_of(module(batch).total, [batch.logits, batch.feature])


def adapting(module: Any, seed: int) -> Tensor:
    if not isinstance(module, Adaptation):  # it predicts without a training
        draws = np.random.default_rng(seed)
        windows, shots = draws.random((ITEMS, 10, 6)), draws.random((CLASSES, 10, 6))
        labels = module.predict(windows, shots, np.arange(CLASSES), np.arange(ITEMS) % 3)
        assert labels.shape == (ITEMS,)
        return torch.tensor(labels)
    batch = adaptation_batch(seed)
    kinds = ("source_features", "source_logits", "target_features", "help_features", "support_features")
    inputs = [getattr(batch, name) for name in (*kinds, "support_logits")]
    return gradient_of(module(batch).total, inputs)


def built(name: str) -> tuple[Any, Callable[[Any, int], Tensor]]:
    """A method with its defaults, and one step of it: a row of numbers by (method, seed)."""
    if name in PACKAGES and importlib.util.find_spec(PACKAGES[name]) is None:
        pytest.skip(f"{name}: the package {PACKAGES[name]} is not installed")
    metadata = registry.entry("method", name).metadata
    factory = registry.load("method", name).target
    provided = shapes() if metadata.slot == "objective" else {"lr": 0.1, "feature_channels": WIDTH}
    options = {option: provided[option] for option in metadata.required}
    torch.manual_seed(0)
    if metadata.slot == "optimizer":
        return Descent(factory, options), lambda module, seed: module(seed)
    if metadata.slot == "norm":
        return factory(WIDTH, **options), Normalising(metadata.family == "image")
    return factory(**options), distilling if metadata.slot == "objective" else adapting


every_method = pytest.mark.parametrize("name", sorted(registry.entries("method")))


def test_every_slot_has_methods_and_every_method_a_slot() -> None:
    assert {entry.metadata.slot for entry in registry.entries("method").values()} == set(SLOTS)


@every_method
def test_a_method_takes_finite_steps_that_repeat_themselves(name: str) -> None:
    rows = []
    for _ in range(2):
        method, step = built(name)
        rows.append([step(method, seed) for seed in range(3)])
    assert all(bool(row.isfinite().all()) for row in rows[0])
    assert all(torch.equal(first, again) for first, again in zip(*rows, strict=True))
    assert name == "majority" or not torch.equal(rows[0][0], rows[0][1])


@every_method
def test_a_method_goes_on_from_its_state_as_it_would_have(name: str) -> None:
    method, step = built(name)
    if not isinstance(method, nn.Module):
        assert not hasattr(method, "state_dict"), "it has a state: show that it comes back"
        return
    step(method, 0)
    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    file.seek(0)
    other, _ = built(name)
    step(other, 5)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(step(copy.deepcopy(method), 1), step(other, 1))
