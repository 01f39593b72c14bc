"""Each check holds, and fails once the option that it is about is turned."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.suite import load_suite
from suites.checks import adamp, toy
from suites.checks.result import Check

FLIPPED: dict[str, dict[str, Any]] = {
    "update_orthogonal": {"project": False},
    "sgdp_weight_decay": {"projected": True},
    "sgdp_buffer_projected": {"buffer": "paper"},
    "one_dimensional_never_projected": {"as_matrix": True},
    "all_rows_must_pass": {"rows": "each"},
    "toy2d_norm_momentum09": {"momentum": 0.95},
    "toy2d_norm_momentum099": {"momentum": 0.95},
    "toy2d_order": {"buffer": "released"},
    "toy2d_projection_bounds_norm": {"project": False},
}


def named(name: str) -> Callable[..., Check]:
    found: Callable[..., Check] = getattr(adamp, name)
    return found


def test_every_check_of_the_module_is_bound_and_tested() -> None:
    tree = ast.parse(Path(adamp.__file__).read_text(encoding="utf-8"))
    public = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"}
    bound = {binding.check for binding in load_suite("adamp").model.claims if binding.check is not None}
    assert public == bound == set(FLIPPED)


@pytest.mark.parametrize("name", FLIPPED)
def test_check_holds(name: str) -> None:
    check = named(name)()
    assert check.holds, check
    assert check.detail
    assert check.unit


@pytest.mark.parametrize("name", FLIPPED)
def test_check_fails_with_its_option_turned(name: str) -> None:
    assert not named(name)(**FLIPPED[name]).holds


def test_units_are_those_of_the_claims() -> None:
    suite = load_suite("adamp")
    toys = [b for b in suite.model.claims if b.check is not None and b.check.startswith("toy2d_norm")]
    assert [named(str(b.check))().unit for b in toys] == [suite.facts[b.id].unit for b in toys]


def test_linear_head_is_left_unprojected() -> None:
    detail = adamp.update_orthogonal().detail
    cosine = float(detail.rsplit(" ", 1)[1])
    assert 0.05 < cosine < 0.3


def test_published_toy_norms_follow_from_one_rate() -> None:
    for angle, rate in ((20.0, 0.579), (35.0, 0.210), (65.0, 0.067)):
        assert toy.final_norm(rate, 0.9, angle) == pytest.approx(2.92, abs=0.03)
        assert toy.final_norm(rate, 0.99, angle) == pytest.approx(27.87, abs=0.15)


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.99])
def test_plain_floats_and_the_optimizer_descend_alike(momentum: float) -> None:
    with_optimizer = toy.descend(0.067, momentum, steps=300).norm
    assert toy.final_norm(0.067, momentum, steps=300) == pytest.approx(with_optimizer, rel=1e-9)


def test_gradient_of_the_toy_is_that_of_autograd() -> None:
    w = torch.tensor([0.3, -1.2], dtype=torch.float64, requires_grad=True)
    (-w[0] / w.norm()).backward()
    x, y = w.detach().tolist()
    cube = math.hypot(x, y) ** 3
    assert w.grad is not None
    torch.testing.assert_close(w.grad, torch.tensor([-y * y / cube, x * y / cube], dtype=torch.float64))


def test_calibration_outside_its_range_says_so() -> None:
    with pytest.raises(ValueError, match="no rate"):
        toy.calibrate(0.9, 1e9)


@pytest.mark.parametrize(
    ("relation", "ours", "holds"),
    [
        ("equal", 1.1, True),
        ("equal", 1.11, False),
        ("below", 0.85, True),
        ("below", 0.95, False),
        ("above", 1.15, True),
        ("above", 1.05, False),
        ("equal", math.nan, False),
        ("above", math.inf, False),
    ],
)
def test_relation(relation: Any, ours: float, holds: bool) -> None:
    check = Check(ours=ours, theirs=1.0, tolerance=0.1000001, unit="", detail="", relation=relation)
    assert check.holds is holds
