"""Each check of PowerNorm holds, and fails once the option that it is about is turned."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.suite import load_suite
from suites.checks import powernorm
from suites.checks.result import Check

FLIPPED: dict[str, dict[str, Any]] = {
    "nu_recursion": {"other_decay": 0.95},
    "backward_batch_denominator": {"backward_statistic": "paper"},
    "running_double_update": {"running_update": "paper"},
    "warmup_off_by_one": {"boundary": "aligned"},
    "warmup_backward_approximate": {"backward": "exact"},
    "groupscaling_unit_mean": {"groups": 1},
    "pad_populations_differ": {"population": "paper"},
    "counter_per_forward": {"training": False},
    "bn_arm_has_rms": {"scaling": "paper"},
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def named(name: str) -> Callable[..., Check]:
    found: Callable[..., Check] = getattr(powernorm, name)
    return found


def test_every_check_of_the_module_is_bound_and_tested() -> None:
    tree = ast.parse(Path(powernorm.__file__).read_text(encoding="utf-8"))
    public = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"}
    bound = {binding.check for binding in load_suite("powernorm").model.claims if binding.check is not None}
    assert public == bound == set(FLIPPED)


@pytest.mark.parametrize("name", FLIPPED)
def test_check_holds(name: str) -> None:
    check = named(name)()
    assert check.holds, check
    assert check.detail


@pytest.mark.parametrize("name", FLIPPED)
def test_check_fails_with_its_option_turned(name: str) -> None:
    check = named(name)(**FLIPPED[name])
    assert not check.holds, check


def test_units_are_those_of_the_claims() -> None:
    suite = load_suite("powernorm")
    for binding in suite.model.claims:
        if binding.check is not None:
            assert named(binding.check)().unit == suite.facts[binding.id].unit, binding.id
