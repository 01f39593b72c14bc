"""The weight diagnostic on weights with known answers, for any optimizer."""

import math

import pytest
import torch
from torch import nn

from methods.optimizers import SGDP, AdamP
from methods.optimizers.diagnostics import WeightDiagnostic, roles_of


class Mixed(nn.Module):
    """One module of every role."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6 * 36, 4)
        self.table = nn.Embedding(10, 4)
        self.attention = nn.MultiheadAttention(4, 2)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
        self.spectral = nn.utils.parametrizations.spectral_norm(nn.Conv1d(4, 4, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(x)).relu().flatten(1))


def test_roles() -> None:
    model = Mixed()
    roles = roles_of(model)
    assert roles == {
        "conv.weight": "conv",
        "head.weight": "linear",
        "table.weight": "embedding",
        "attention.in_proj_weight": "linear",
        "attention.out_proj.weight": "linear",
        "normed.parametrizations.weight.original1": "weight_norm",
        "spectral.parametrizations.weight.original": "conv",
    }
    assert set(roles) <= {name for name, _ in model.named_parameters()}


def test_known_rotation_and_growth() -> None:
    w = nn.Parameter(torch.tensor([[3.0, 0.0]]))
    probe = WeightDiagnostic([("w", w)], {"w": "conv"})
    w.grad = torch.tensor([[0.0, 1.0]])
    probe.before_step()
    with torch.no_grad():
        w.copy_(torch.tensor([[3.0, 4.0]]))
    values = probe.after_step(torch.optim.SGD([w], lr=1.0))
    angle = math.atan2(4, 3)
    assert values["weight_norm"] == pytest.approx(5.0)
    assert values["weight_norm_growth"] == pytest.approx(5 / 3)
    assert values["angular_update.conv"] == pytest.approx(angle)
    assert values["effective_step"] == pytest.approx(2 * math.sin(angle / 2))
    assert values["radial_share"] == pytest.approx(0.0, abs=1e-12)
    assert values["projected_share"] == values["projected_share.channel"] == 1.0
    assert values["scale_invariant_share"] == 100.0


def test_radial_update_is_radial() -> None:
    w = nn.Parameter(torch.randn(4, 5))
    probe = WeightDiagnostic([("w", w)])
    w.grad = w.detach().clone()
    probe.before_step()
    with torch.no_grad():
        w.mul_(1.1)
    values = probe.after_step(torch.optim.SGD([w], lr=1.0))
    assert values["radial_share"] == pytest.approx(1.0, abs=1e-6)
    assert values["angular_update"] == pytest.approx(0.0, abs=1e-6)
    assert values["projected_share"] == 0.0
    assert values["scale_invariant_share"] == 0.0


@pytest.mark.parametrize("name", ["adamw", "sgd", "adamp", "sgdp"])
def test_any_optimizer_shows_the_convolution_projected_and_the_head_not(name: str) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 4)
    )
    optimizer = {
        "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2),
        "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        "adamp": lambda p: AdamP(p, lr=1e-2, record=True),
        "sgdp": lambda p: SGDP(p, lr=0.1, momentum=0.9, record=True),
    }[name](model.parameters())
    probe = WeightDiagnostic(model.named_parameters(), roles_of(model))
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(16, 3, 8, 8)), torch.randint(4, (16,))).backward()
        probe.before_step()
        optimizer.step()
        values = probe.after_step(optimizer)
        assert ("fired_share" in values) == (name in ("adamp", "sgdp"))
        if name in ("adamp", "sgdp"):
            assert values["fired_share"] == values["projected_share"]
    summary = probe.summary()
    assert summary["projected_share.conv"] == 1.0
    assert summary["projected_share.linear"] == 0.0
    assert 0.0 < summary["scale_invariant_share"] < 100.0
    assert summary["weight_norm_growth"] == summary["weight_norm_growth.conv"] == values["weight_norm_growth.conv"]
    if name in ("adamp", "sgdp"):
        assert summary["radial_share.conv"] < 1e-6
    else:
        assert summary["radial_share.conv"] > 1e-6


def test_decay_of_the_effective_step_is_that_of_the_learning_rate_on_an_unchanged_norm() -> None:
    """Orthogonal moves of one angle each, then of a tenth: first over last is ten, through a saved state too."""
    w = nn.Parameter(torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    probe = WeightDiagnostic([("w", w)])
    optimizer = torch.optim.SGD([w], lr=1.0)
    for step in range(40):
        if step == 20:
            saved = probe.state_dict()
            probe = WeightDiagnostic([("w", w)])
            probe.load_state_dict(saved)
        angle = 1e-3 if step < 20 else 1e-4
        probe.before_step()
        with torch.no_grad():
            cosine, sine = torch.cos(torch.tensor(angle)), torch.sin(torch.tensor(angle))
            x, y = w[0].clone()
            w.copy_(torch.stack((cosine * x - sine * y, sine * x + cosine * y))[None])
        probe.after_step(optimizer)
    assert probe.summary()["effective_step_decay"] == pytest.approx(10.0, rel=1e-6)


def test_order_of_calls_and_missing_gradients() -> None:
    model = nn.Linear(3, 2)
    probe = WeightDiagnostic(model.named_parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(RuntimeError, match="before_step"):
        probe.after_step(optimizer)
    probe.before_step()
    values = probe.after_step(optimizer)
    assert values["angular_update"] == 0.0
    assert "projected_share" not in values
    with pytest.raises(ValueError, match="more than one dimension"):
        WeightDiagnostic([("bias", nn.Parameter(torch.zeros(3)))])


def test_probe_changes_nothing() -> None:
    results = []
    for probed in (False, True):
        torch.manual_seed(1)
        model = nn.Linear(5, 3)
        optimizer = AdamP(model.parameters(), lr=1e-2)
        probe = WeightDiagnostic(model.named_parameters())
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(4, 5)).square().sum().backward()
            if probed:
                probe.before_step()
            optimizer.step()
            if probed:
                probe.after_step(optimizer)
        results.append(model.weight.detach().clone())
    assert torch.equal(*results)
