"""Each check holds, and fails once the option that it is about is turned."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.suite import load_suite
from suites.checks import region_norm
from suites.checks.result import Check

FLIPPED: dict[str, dict[str, Any]] = {
    "core_is_per_region_bn": {"fixed_eps": True},
    "uniform_mask_is_bn": {"hole_share": 0.5},
    "rnb_bias_leak": {"shift": "paper"},
    "batch_dependence": {"statistics": "paper"},
    "hard_mask_empty_at_init": {"threshold": 0.6},
    "no_gradient_through_mask": {"affine_path": True},
    "empty_region_safe": {"naive": True},
    "bias_init_std_one": {"deviation": 1e-4},
}


def named(name: str) -> Callable[..., Check]:
    found: Callable[..., Check] = getattr(region_norm, name)
    return found


def test_every_check_of_the_module_is_bound_and_tested() -> None:
    tree = ast.parse(Path(region_norm.__file__).read_text(encoding="utf-8"))
    public = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"}
    bound = {binding.check for binding in load_suite("region_norm").model.claims if binding.check is not None}
    assert public == bound == set(FLIPPED)


@pytest.mark.parametrize("name", FLIPPED)
def test_holds_as_it_is(name: str) -> None:
    result = named(name)()
    assert result.holds, result


@pytest.mark.parametrize("name", FLIPPED)
def test_fails_with_its_option_turned(name: str) -> None:
    result = named(name)(**FLIPPED[name])
    assert not result.holds, result
