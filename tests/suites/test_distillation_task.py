"""Distillation: every objective, teachers, trained weights, mechanisms, model sizes."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from task_lab import Cell, model_from, train
from torch import nn

from harness.errors import HarnessError
from harness.registry import entries
from harness.trial.contracts import Slot, TrialContext
from harness.trial.options import build, options_of
from harness.trial.recipe import Recipe
from harness.trial.seeds import Streams
from suites.models import cifar_pairs, imagenet_zoo
from suites.models.cnn import ConvNet
from suites.models.taps import Taps, tapped, taps_of
from suites.tasks.common import NetworkWithLoss
from suites.tasks.distillation import DECAYED, Distillation, DistillationOptions, decay_groups

DATA = Cell("-:-", "suites.data.digits:digit-pairs", "-:-", data_keys={"train": 200, "validation": 100, "test": 100})


def network(width: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return ConvNet(1, 100, [width, 2 * width], [1, 2])


def task_of(
    name: str, seed: int = 0, *, teacher: bool = True, data: Any = None, width: int = 4, **keys: Any
) -> Distillation:
    """A student of width 4 with a random teacher."""
    entry = entries("method")[name]
    own = {key: keys.pop(key) for key in list(keys) if key in entry.options}
    names = options_of(DistillationOptions)
    recipe = {"batch_size": 20, "steps": 8, **{key: value for key, value in keys.items() if key not in names}}
    streams = Streams(seed)

    def load_prerequisite(_name: str, _facts: Any) -> nn.Module:
        return network(8, seed=99).eval().requires_grad_(False)

    return Distillation(
        TrialContext(
            recipe=build(Recipe, recipe),
            options=build(DistillationOptions, {key: value for key, value in keys.items() if key in names}),
            load_data=lambda: data if data is not None else DATA.data_for(seed),
            build_model=lambda _facts: network(width, streams.number("init") % 2**31),
            slots={"objective": Slot(name, entry.load().target, {**entry.metadata.defaults, **own})},
            streams=streams,
            device=torch.device("cpu"),
            scale="mini",
            folder=Path("/nowhere"),
            load_prerequisite=load_prerequisite,
            prerequisites=("teacher",) if teacher else (),
        )
    )


OBJECTIVES = sorted(name for name, entry in entries("method").items() if entry.metadata.slot == "objective")


def test_digit_pairs_are_balanced_cross_no_picture_and_are_one_set_for_all_seeds() -> None:
    clean = dataclasses.replace(DATA, data_keys={**DATA.data_keys, "noise": 0.0})
    data, other = clean.data_for(0), clean.data_for(5)
    pictures = {}
    for name, split in data.splits.items():
        assert split.images.shape[1:] == (1, 8, 16)
        assert set(np.bincount(split.labels, minlength=100)) == {len(split) // 100}
        assert np.array_equal(split.images, other.splits[name].images)
        halves = np.concatenate([split.images[..., :8], split.images[..., 8:]])
        pictures[name] = {half.tobytes() for half in halves}
    assert not pictures["train"] & pictures["test"]
    assert not pictures["train"] & pictures["validation"]
    another = dataclasses.replace(clean, data_keys={**clean.data_keys, "sample": 1}).data_for(0)
    assert not np.array_equal(data.splits["train"].images, another.splits["train"].images)


def test_digit_pairs_want_an_image_of_each_class() -> None:
    with pytest.raises(HarnessError, match="one image of each"):
        dataclasses.replace(DATA, data_keys={"train": 99}).data_for(0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_trains_and_only_it_and_the_student_move(name: str) -> None:
    task = task_of(name)
    model, losses = train(task, 4)
    assert isinstance(model, NetworkWithLoss)
    assert all(np.isfinite(losses))
    assert set(task.product(model)) == set(network(4).state_dict())
    grouped = {id(p) for group in task.parameter_groups(model) for p in group["params"]}
    assert {id(p) for p in model.loss.parameters()} <= grouped
    assert all(
        torch.equal(a, b)
        for a, b in zip(task.teacher.state_dict().values(), network(8, 99).state_dict().values(), strict=True)
    )
    if name == "uskd":
        fresh = task_of(name).build()
        assert isinstance(fresh, NetworkWithLoss)
        assert not torch.equal(fresh.loss.weak_head.weight, model.loss.weak_head.weight)


def test_order_and_initial_student_do_not_depend_on_the_arm() -> None:
    item, other = task_of("uskd"), task_of("cross-entropy", teacher=False)
    weights = [task.build().network.state_dict() for task in (item, other)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    for epoch in (0, 1):
        pairs = zip(item.batches(epoch), other.batches(epoch), strict=True)
        assert all(torch.equal(a.index, b.index) and torch.equal(a.images, b.images) for a, b in pairs)


def test_a_loss_that_needs_a_teacher_says_so() -> None:
    cases: list[tuple[str, dict[str, Any]]] = [("nkd", {}), ("mgd", {}), ("uskd", {"rank": "teacher"})]
    for name, options in cases:
        with pytest.raises(HarnessError, match="needs a teacher"):
            task_of(name, teacher=False, **options).build()


def test_teacher_mode_train_moves_its_statistics_and_a_checkpoint_keeps_them() -> None:
    task = task_of("nkd", teacher_mode="train")
    train(task, 2)
    moved = {key: value.clone() for key, value in task.teacher.named_buffers()}
    assert not torch.equal(moved["body.1.running_mean"], dict(network(8, 99).named_buffers())["body.1.running_mean"])
    again = task_of("nkd", teacher_mode="train")
    again.build()
    again.restore(task.state())
    assert all(torch.equal(moved[key], value) for key, value in again.teacher.named_buffers())


def test_mixed_and_smoothed_labels_are_masses() -> None:
    task = task_of("nkd", mixup=0.8, cutmix=1.0, label_smoothing=0.1)
    task.build()
    batch = next(iter(task.batches(0)))
    assert batch.labels.shape == (20, 100)
    assert torch.allclose(batch.labels.sum(1), torch.ones(20))
    assert float(batch.labels.min()) == pytest.approx(0.001)
    assert np.isfinite(float(task.training_step(batch, 0).loss.detach()))


def test_mechanisms_name_what_the_claims_and_gates_read() -> None:
    wanted = {
        "teacher_advantage",
        "teacher_non_target_mass",
        "nontarget_sum_gap",
        "nontarget_kl",
        "non_target_mass_gap",
    }
    result = {}
    for name in ("nkd", "kd", "uskd"):
        task = task_of(name)
        train(task, 4)
        result[name] = task.mechanisms()
        assert wanted <= set(result[name])
        assert all(np.isfinite(value) for value in result[name].values())
    assert {"weak_advantage", "rank_spearman"} <= set(result["uskd"])
    assert result["nkd"]["nontarget_sum_gap"] < 1e-6 < result["kd"]["nontarget_sum_gap"]


SIZES = {
    "resnet18": 11.22,
    "resnet34": 21.33,
    "resnet50": 23.71,
    "resnet32x4": 7.43,
    "vgg8": 3.97,
    "vgg13": 9.46,
    "mobilenetv2": 0.81,
    "shufflenetv1": 0.95,
    "shufflenetv2": 1.36,
}


@pytest.mark.parametrize("arch", SIZES)
def test_networks_of_the_pairs_have_the_published_sizes(arch: str) -> None:
    """Millions of parameters for 100 classes, from the literature."""
    with torch.device("meta"):
        built = model_from(cifar_pairs.build, {"classes": 100, "channels": 3, "size": 32}, arch=arch)
        taps = taps_of(built)
        with tapped(built, taps) as result:
            logits = built(torch.empty(2, 3, 32, 32))
    assert sum(p.numel() for p in built.parameters()) / 1e6 == pytest.approx(SIZES[arch], rel=0.01)
    assert logits.shape == (2, 100)
    assert result.middle is not None
    assert built.get_submodule(taps.head).in_features == result.last.shape[1]


# Parameters in millions; channels of the stage before last as the USKD configs have them (ShuffleNetV2: as it is).
ZOO = {
    "resnet18": (11.69, 256),
    "resnet34": (21.80, 256),
    "resnet50": (25.56, 1024),
    "resnet101": (44.55, 1024),
    "mobilenet_v2": (3.50, 320),
    "shufflenet_v2_x1_0": (2.28, 464),
    "mobilenetv1_100": (4.23, 512),
    "regnetx_016": (9.19, 408),
    "swin_tiny_patch4_window7_224": (28.29, 384),
    "deit_tiny_patch16_224": (5.72, 192),
}


@pytest.mark.parametrize("arch", ZOO)
def test_imagenet_networks_have_the_published_sizes_and_middle_channels(arch: str) -> None:
    if arch in imagenet_zoo.TIMM:
        pytest.importorskip("timm")
    with torch.device("meta"):
        built = model_from(imagenet_zoo.build, {"classes": 1000, "channels": 3, "size": 224}, arch=arch).eval()
        with tapped(built, taps_of(built)) as result:
            built(torch.empty(1, 3, 224, 224))
    assert sum(p.numel() for p in built.parameters()) / 1e6 == pytest.approx(ZOO[arch][0], rel=0.005)
    assert result.middle.shape[:2] == (1, ZOO[arch][1])


def test_taps_of_an_unknown_build_are_an_error_and_can_be_given() -> None:
    with pytest.raises(HarnessError, match="stage before last"):
        taps_of(nn.Linear(2, 2))
    own = nn.Linear(2, 2)
    own.taps = Taps("a", "b", "c")
    assert taps_of(own) == Taps("a", "b", "c")


def test_a_detached_weak_head_supervises_no_layer() -> None:
    reached = {}
    for detach in (False, True):
        task = task_of("uskd", detach=detach, alpha=0.0, beta=0.0, ce_weight=0.0, mu=1.0)
        model = task.build()
        task.training_step(next(task.batches(0)), 0).loss.backward()
        reached[detach] = {
            n for n, p in model.named_parameters() if p.grad is not None and bool(p.grad.abs().max() > 0)
        }
    assert any(name.startswith("network.") for name in reached[False])
    assert reached[True] == {"loss.weak_head.weight", "loss.weak_head.bias"}


def test_the_teachers_temperature_divides_what_every_loss_reads() -> None:
    read = {}
    for temperature in (0.5, 1.0, 2.0):
        task = task_of("nkd", teacher_temperature=temperature)
        task.build()
        batch = task.inputs_of(next(task.batches(0)), 0.0, with_teacher=True)
        read[temperature] = temperature * batch.require("teacher_logits")
    torch.testing.assert_close(read[0.5], read[1.0])
    torch.testing.assert_close(read[2.0], read[1.0])


def test_precise_statistics_are_those_of_the_training_images() -> None:
    task = task_of("cross-entropy", precise_batch_norm=200)
    task.build()
    (norm, *_) = (part for part in task.model.modules() if isinstance(part, nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda part, inputs: seen.append(inputs[0]) if part.training else None)
    with torch.no_grad():
        norm.running_mean.fill_(7.0)
    task.evaluate("test")
    assert len(seen) == 200 // task.recipe.batch_size
    torch.testing.assert_close(norm.running_mean, torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0))
    plain = task_of("cross-entropy")
    plain.build()
    plain.evaluate("test")
    assert all(
        bool((part.running_mean == 0).all()) for part in plain.model.modules() if isinstance(part, nn.BatchNorm2d)
    )


class Tokens(nn.Module):
    """A class token, a position table, a norm, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token, self.pos_embed = (nn.Parameter(torch.zeros(1, n, 4)) for n in (1, 5))
        self.patch = nn.Linear(3, 4)
        self.norm = nn.LayerNorm(4)


def test_weight_decay_spares_what_upstream_spares() -> None:
    model = Tokens()
    names = {id(p): name for name, p in model.named_parameters()}
    spared = {}
    for decayed in DECAYED:
        groups = decay_groups(model, decayed)
        assert {id(p) for group in groups for p in group["params"]} == set(names)
        assert "weight_decay" not in groups[0]
        spared[decayed] = {names[id(p)] for group in groups[1:] for p in group["params"] if group["weight_decay"] == 0}
    assert spared["all"] == set()
    assert spared["no-norms"] == {"norm.weight", "norm.bias"}
    assert spared["weights"] == {"norm.weight", "norm.bias", "patch.bias", "cls_token", "pos_embed"}
