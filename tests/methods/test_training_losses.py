"""The contract of all training losses: objectives and adaptations."""

import copy
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from loss_batches import WIDTH, adaptation_batch, distillation_batch, shapes

import methods.alignment
import methods.distillation
from methods.distillation.inputs import DistillationBatch, shape_arguments
from methods.losses import TrainingLoss
from methods.metadata import MethodMetadata


def metadata_of(package: Any) -> Iterator[tuple[MethodMetadata, Any]]:
    for module in pkgutil.iter_modules(package.__path__):
        loaded = importlib.import_module(f"{package.__name__}.{module.name}")
        declared = getattr(loaded, "METADATA", ())
        for metadata in declared if isinstance(declared, tuple) else (declared,):
            yield metadata, getattr(loaded, metadata.target)


METHODS = {m.name: (m, of) for package in (methods.alignment, methods.distillation) for m, of in metadata_of(package)}
LOSSES = sorted(name for name, (_, factory) in METHODS.items() if issubclass(factory, TrainingLoss))
OBJECTIVES = [name for name in LOSSES if METHODS[name][0].slot == "objective"]


def make(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    metadata, factory = METHODS[name]
    if metadata.slot == "objective":
        return factory(**shape_arguments(factory, **shapes()), **options)
    return factory(**({"feature_channels": WIDTH} if "feature_channels" in metadata.required else {}), **options)


def a_batch(name: str, seed: int = 0, **options: Any) -> Any:
    return (distillation_batch if METHODS[name][0].slot == "objective" else adaptation_batch)(seed, **options)


def logits_of(batch: Any) -> torch.Tensor:
    return batch.logits if isinstance(batch, DistillationBatch) else batch.source_logits


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_metadata_match_the_constructor(name: str) -> None:
    metadata, factory = METHODS[name]
    parameters = inspect.signature(factory).parameters
    assert set(metadata.required) == {k for k, p in parameters.items() if p.default is inspect.Parameter.empty}
    assert metadata.slot in ("objective", "adaptation")
    for option, values in metadata.options.items():
        for value in values:
            make(name, **{option: value})
        if all(isinstance(value, str) for value in values):
            with pytest.raises(ValueError, match=rf"{name}: {option} must be one of"):
                make(name, **{option: "unknown"})


CASES = [
    *((name, {}) for name in LOSSES),
    *((name, {"source": 1, "target": 1, "shots": 1}) for name in LOSSES if name not in OBJECTIVES),
    *((name, {"mixed": True}) for name in OBJECTIVES),
    *((name, {"maps": False}) for name in OBJECTIVES),
]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_total_is_the_sum_of_the_terms_with_finite_gradients(name: str, options: dict[str, Any]) -> None:
    module, batch = make(name), a_batch(name, **options)
    twin = copy.deepcopy(module)
    loss = module(batch)
    torch.testing.assert_close(loss.total.detach(), torch.stack(list(loss.terms.values())).sum())
    assert not any(term.requires_grad for term in loss.terms.values())
    (slow,) = torch.autograd.grad(sum(twin.terms(batch).values()), logits_of(batch), retain_graph=True)
    loss.total.backward()
    gradients = [
        getattr(batch, field).grad for field in batch.__dataclass_fields__ if hasattr(getattr(batch, field), "grad")
    ]
    assert all(bool(gradient.isfinite().all()) for gradient in gradients if gradient is not None)
    torch.testing.assert_close(logits_of(batch).grad, slow)
    assert float(slow.abs().sum()) > 0
    if name in OBJECTIVES:
        assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize("name", LOSSES)
def test_diagnostics_have_the_declared_names_and_disturb_nothing(name: str) -> None:
    module, batch = make(name), a_batch(name, 2)
    module(batch)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    quantities = module.diagnostics(batch)
    assert set(quantities) == set(METHODS[name][0].diagnostics)
    for quantity, value in quantities.items():
        assert value.ndim == 0, quantity
        assert not value.requires_grad, quantity
        assert bool(value.isfinite()), quantity
    if name in OBJECTIVES:
        assert sum(float(v) for k, v in quantities.items() if k.startswith("grad_share_")) == pytest.approx(1)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert all(p.grad is None for p in module.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_half_precision_gives_a_single_precision_loss(name: str, dtype: torch.dtype) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = make(name)(a_batch(name, 3, dtype=dtype))
    assert loss.total.dtype == torch.float32
    torch.testing.assert_close(loss.total, make(name)(a_batch(name, 3)).total, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", LOSSES)
def test_a_missing_input_is_named(name: str) -> None:
    batch = a_batch(name)
    optional = [field for field in batch.__dataclass_fields__ if batch.__dataclass_fields__[field].default is None]
    bare = replace(batch, **dict.fromkeys(optional))
    if not METHODS[name][1].needs and name != "knn-mmd":
        assert bool(make(name)(bare).total.isfinite())
        return
    with pytest.raises(ValueError, match=rf"{name}: the batch lacks"):
        make(name)(bare)
