"""Pairing is real: at one seed every arm sees the same initial weights, batches and augmentations."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness import registry
from harness.data.roots import data_root
from harness.plan.planning import Selection, Trial, make_plan
from harness.suite import load_suite
from harness.suite.models import Arm
from harness.trial import loop as training
from harness.trial.contracts import Task
from harness.trial.runtime import Runtime

STEPS = 3


@dataclass
class Seen:
    """The initial weights and the batches of a training."""

    weights: dict[str, Tensor] = field(default_factory=dict)
    batches: list[list[np.ndarray]] = field(default_factory=list)
    draws: int = 0


def watch(trial: Trial, folder: Path, patch: pytest.MonkeyPatch, *, wasteful: bool = False) -> Seen:
    """Train a trial through the shared loop; ``wasteful``: its model draws from the global stream in every pass."""
    seen = Seen()
    assemble = training.assemble

    def spied(*arguments: Any, **named: Any) -> Task:
        task = assemble(*arguments, **named)
        build = task.build

        def built() -> nn.Module:
            model = build()
            seen.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
            if wasteful:
                model.register_forward_pre_hook(waste)
            return model

        def waste(*_: Any) -> None:
            torch.rand(1000)
            seen.draws += 1

        patch.setattr(task, "build", built)
        return task

    take_step = training.Loop.take_step

    def fed(self: training.Loop, step: int, batch: Any) -> Any:
        seen.batches.append([kept(item) for item in leaves(batch)])
        return take_step(self, step, batch)

    with pytest.MonkeyPatch.context() as own:
        own.setattr(training, "assemble", spied)
        own.setattr(training.Loop, "take_step", fed)
        around = Runtime(folder, torch.device("cpu"), registry.load, data_root(), lambda *_: None)
        assert training.train(trial.spec, around).status == "done"
    assert len(seen.batches) >= STEPS
    return seen


def kept(item: Any) -> np.ndarray:
    return item.detach().numpy().copy() if isinstance(item, Tensor) else np.array(item)


def leaves(batch: Any) -> list[Any]:
    """The arrays and numbers of a batch."""
    if dataclasses.is_dataclass(batch):
        return [item for part in dataclasses.fields(batch) for item in leaves(getattr(batch, part.name))]
    if isinstance(batch, list | tuple):
        return [item for part in batch for item in leaves(part)]
    return [] if batch is None or isinstance(batch, bool | str) else [batch]


def trials_of(suite: str, benchmark: str, arms: tuple[str, ...], more: Mapping[str, Arm], **recipe: Any) -> Any:
    """Trials by (arm, seed)."""
    overrides = {"steps": STEPS, "evaluations": 1, "diagnostics": "off", **recipe}
    chosen = Selection(benchmarks=(benchmark,), arms=arms, seeds=(0, 1), overrides=overrides, added_arms=dict(more))
    plan = make_plan(load_suite(suite), chosen)
    by_id = {trial.trial_id: trial for trial in plan.trials}
    return {(link.arm, link.seed): by_id[link.trial_id] for link in plan.links}


def same_batches(seen: Seen, other: Seen) -> bool:
    pairs = list(zip(seen.batches, other.batches, strict=True))
    return all(np.array_equal(a, b) for first, second in pairs for a, b in zip(first, second, strict=True))


def shared(seen: Seen, other: Seen) -> list[str]:
    """Names of parameters that both have in one shape."""
    both = seen.weights.keys() & other.weights.keys()
    return sorted(name for name in both if seen.weights[name].shape == other.weights[name].shape)


def differing(seen: Seen, other: Seen) -> list[str]:
    return [name for name in shared(seen, other) if not torch.equal(seen.weights[name], other.weights[name])]


LARGER = Arm(role="ablation", norm="layer", set={"model.layers": 4, "model.inner": 160, "model.dropout": 0.5})


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Seen]:
    trials = trials_of("powernorm", "ptb", ("layer", "batch-vanilla", "power"), {"larger": LARGER})
    folder = tmp_path_factory.mktemp("language")
    with pytest.MonkeyPatch.context() as patch:
        return {
            key: watch(trial, folder / f"{key[0]}-{key[1]}", patch, wasteful=key[0] == "power")
            for key, trial in trials.items()
            if key[1] == 0 or key[0] == "layer"
        }


@pytest.mark.parametrize("arm", ["batch-vanilla", "power", "larger"])
def test_norms_layers_and_dropout_leave_the_pair_alone(language: dict[Any, Seen], arm: str) -> None:
    layer, other = language["layer", 0], language[arm, 0]
    assert same_batches(layer, other)
    assert len(shared(layer, other)) > 10
    assert differing(layer, other) == []
    assert len(shared(layer, other)) < len(other.weights)  # the arms do differ in what they are made of


def test_an_arm_that_draws_more_did_draw_and_another_seed_is_another_pair(language: dict[Any, Seen]) -> None:
    assert language["power", 0].draws > STEPS
    assert language["layer", 0].draws == 0
    first, second = language["layer", 0], language["layer", 1]
    assert not same_batches(first, second)
    assert differing(first, second)


def test_without_the_reference_a_larger_arm_would_begin_elsewhere(
    tmp_path: Path, language: dict[Any, Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = trials_of("powernorm", "ptb", ("layer",), {"larger": LARGER})["larger", 0]
    assert trial.spec.reference is not None
    alone = dataclasses.replace(trial, spec=dataclasses.replace(trial.spec, reference=None))
    seen = watch(alone, tmp_path, monkeypatch)
    assert differing(language["layer", 0], seen)
    assert same_batches(language["layer", 0], seen)


def test_cutmix_and_crops_are_drawn_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = trials_of("adamp", "imagenet-resnet50-cutmix", ("adam", "adamp"), {}, augment="crop-flip")
    plain = watch(trials["adam", 0], tmp_path / "plain", monkeypatch)
    drawing = watch(trials["adamp", 0], tmp_path / "drawing", monkeypatch, wasteful=True)
    elsewhere = watch(trials["adam", 1], tmp_path / "elsewhere", monkeypatch)
    assert drawing.draws > STEPS
    assert set(plain.weights) == set(drawing.weights)
    assert differing(plain, drawing) == []
    assert same_batches(plain, drawing)
    images, labels, mixed, weight = plain.batches[0]
    assert not np.array_equal(labels, mixed)
    assert 0 < weight < 1
    assert not np.array_equal(images, elsewhere.batches[0][0])
