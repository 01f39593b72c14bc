"""PGD stays in its ball and finds the known worst point; adversarial training learns; WRN has its published size."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from task_lab import Cell, adam, model_from, train

from harness.errors import HarnessError
from suites.models.resnet import WideResNet, build_wide
from suites.tasks.adversarial import PGD

CELL = Cell(
    "suites.tasks.adversarial:adversarial",
    "suites.data.digits:digits",
    "suites.models.cnn:bn-cnn",
    {
        "batch_size": 20,
        "radius": 0.1,
        "attack_step": 0.05,
        "attack_steps": 2,
        "evaluation_step": 0.03,
        "evaluation_steps": 5,
        "attacked_items": 300,
    },
    {"train": 200, "validation": 60},
    {"widths": [16, 32], "strides": [1, 2]},
)
L2 = replace(CELL, recipe={**CELL.recipe, "threat": "l2", "radius": 0.5, "attack_step": 0.3, "evaluation_step": 0.15})
CELLS = {"linf": CELL, "l2": L2}


def _linear(classes: int = 4) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, classes))


@pytest.mark.parametrize(("threat", "radius"), [("linf", 0.1), ("l2", 0.3)])
def test_attacked_images_lie_in_the_ball_and_in_the_pixel_range(threat: str, radius: float) -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(50, 3, 2, 2, generator=generator)
    labels = torch.randint(4, (50,), generator=generator)
    moved = PGD(threat, radius, radius / 2, 7).perturb(_linear(), images, labels, generator)
    shift = (moved - images).flatten(1)
    lengths = shift.abs().amax(1) if threat == "linf" else shift.norm(dim=1)
    assert float(lengths.max()) <= radius + 1e-6
    assert float(lengths.median()) > 0.5 * radius
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1


@pytest.mark.parametrize("threat", ["linf", "l2"])
def test_on_two_linear_classes_the_worst_point_is_known(threat: str) -> None:
    """With two classes the loss falls in ⟨w_y − w_o, x⟩: the worst shift is −ε·sign(w) or −ε·w/‖w‖."""
    model, radius = _linear(2), 0.05
    generator = torch.Generator().manual_seed(2)
    images = 0.3 + 0.4 * torch.rand(20, 3, 2, 2, generator=generator)
    labels = torch.randint(2, (20,), generator=generator)
    weight = model[1].weight.detach()
    slope = (weight[labels] - weight[1 - labels]).view_as(images)
    unit = slope.sign() if threat == "linf" else slope / slope.flatten(1).norm(dim=1)[:, None, None, None]
    moved = PGD(threat, radius, radius / 2, 60).perturb(model, images, labels, generator)
    assert torch.allclose(moved, images - radius * unit, atol=2e-3)


def test_without_steps_and_start_nothing_moves_and_no_parameter_gets_a_gradient() -> None:
    model = _linear()
    images, labels = torch.rand(5, 3, 2, 2), torch.zeros(5, dtype=torch.long)
    still = PGD("linf", 0.1, 0.05, 0, random_start=False).perturb(model, images, labels, torch.Generator())
    assert torch.equal(still, images)
    PGD("linf", 0.1, 0.05, 3).perturb(model, images, labels, torch.Generator())
    assert all(p.grad is None for p in model.parameters())


def test_random_start_of_the_l2_ball_is_uniform_in_it() -> None:
    images = torch.full((4000, 1, 2, 2), 0.5)
    labels = torch.zeros(4000, dtype=torch.long)
    start = PGD("l2", 0.4, 0.1, 0).perturb(_linear(), images, labels, torch.Generator().manual_seed(0))
    share = ((start - images).flatten(1).norm(dim=1) / 0.4).double() ** 4
    assert abs(float(share.mean()) - 0.5) < 0.02
    assert abs(float(share.var()) - 1 / 12) < 0.01


@pytest.mark.full
@pytest.mark.parametrize("name", CELLS)
def test_training_makes_robust(name: str) -> None:
    cell, steps, gentle = CELLS[name], 150, partial(adam, lr=5e-3)
    task = cell.build(0)
    train(task, steps, gentle)
    scores = task.evaluate("test").metrics
    plain = replace(cell, recipe={**cell.recipe, "attack_steps": 0, "random_start": False}).build(0)
    train(plain, steps, gentle)
    unguarded = plain.evaluate("test").metrics
    assert scores["standard-accuracy"] > 80
    assert scores["standard-accuracy"] > scores["attacked-accuracy"] > 40
    assert scores["attacked-accuracy"] > unguarded["attacked-accuracy"] + 5


def test_running_statistics_are_those_of_training_batches() -> None:
    task = CELL.build(0)
    model = task.build()
    model.train()
    task.training_step(next(iter(task.batches(0))), 0)
    norm = next(part for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d))
    assert int(norm.num_batches_tracked) == 1
    assert model.training


def test_reports_its_metrics_and_a_stronger_attack_leaves_less() -> None:
    task = CELL.build(0)
    train(task, 60)
    metrics = task.evaluate("test").metrics
    assert set(metrics) == set(task.metadata.metrics)
    assert len(task.evaluate("test").items["correct"]) == 300
    assert task.mechanisms() == {}
    task.evaluate("validation")
    assert set(task.mechanisms()) == {"standard_share", "attacked_share"}
    wider = replace(CELL, recipe={**CELL.recipe, "radius": 0.3, "evaluation_step": 0.1}).build(0)
    wider.build().load_state_dict(task.model.state_dict())
    assert wider.evaluate("test").metrics["attacked-accuracy"] < metrics["attacked-accuracy"]


def test_pixels_outside_the_range_are_refused() -> None:
    with pytest.raises(HarnessError, match="set noise 0"):
        replace(CELL, data_keys={**CELL.data_keys, "noise": 0.2}).build(0).build()


@pytest.mark.parametrize(
    ("depth", "width", "classes", "millions"),
    # Zagoruyko & Komodakis 2016, table 4 (CIFAR-10); WRN-34-10 as RobustBench and TRADES use it.
    [(40, 1, 10, 0.6), (40, 2, 10, 2.2), (40, 4, 10, 8.9), (16, 8, 10, 11.0), (28, 10, 10, 36.5), (34, 10, 10, 46.2)],
)
def test_wide_resnet_has_its_published_size(depth: int, width: int, classes: int, millions: float) -> None:
    with torch.device("meta"):
        model = WideResNet(3, classes, (depth - 4) // 6, width, 0.0)
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert abs(count - millions) <= 0.06
    assert model(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, classes)


def test_wide_resnet_refuses_other_depths() -> None:
    with pytest.raises(HarnessError, match="6n\\+4"):
        model_from(build_wide, {"channels": 1, "classes": 2}, depth=12)


def test_steps_by_sign_in_the_l2_ball_are_those_of_the_published_code() -> None:
    model = _linear(2)
    images, labels = torch.full((6, 3, 2, 2), 0.5), torch.zeros(6, dtype=torch.long)
    weight = model[1].weight.detach()
    slope = (weight[1] - weight[0]).view(1, 3, 2, 2)
    attack = PGD("l2", 0.3, 0.01, 1, random_start=False, rule="sign")
    moved = attack.perturb(model, images, labels, torch.Generator())
    assert torch.allclose(moved - images, 0.01 * slope.sign().expand_as(images), atol=1e-6)
    far = replace(attack, steps=100).perturb(model, images, labels, torch.Generator())
    assert torch.allclose((far - images).flatten(1).norm(dim=1), torch.full((6,), 0.3), atol=1e-5)


def test_the_start_of_an_evaluation_is_told_apart_from_that_of_training() -> None:
    task = replace(CELL, recipe={**CELL.recipe, "evaluation_start": False}).build(0)
    assert task.attack(training=True).random_start
    assert not task.attack(training=False).random_start
