"""Each check of KNN-MMD holds, and fails once the option that it is about is turned."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.suite import load_suite
from suites.checks import knn_mmd
from suites.checks.result import Check

FLIPPED: dict[str, dict[str, Any]] = {
    "mode1_leaks_labels": {"leak": False},
    "help_set_stays_in_test_set": {"share": 0.3},
    "mmd_nan_gradient": {"root": "guarded"},
    "mmd_vanishing_gradient": {"sigmas": (30.0, 60.0)},
    "epoch_range": {"patience": 20},
    "bn_sees_target": {"batch_norm": "source"},
    "umap_d128_needs_samples": {"dimensions": 32},
    "parameter_count": {"classes": 5},
}


def named(name: str) -> Callable[..., Check]:
    found: Callable[..., Check] = getattr(knn_mmd, name)
    return found


def test_every_check_of_the_module_is_bound_and_tested() -> None:
    tree = ast.parse(Path(knn_mmd.__file__).read_text(encoding="utf-8"))
    public = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"}
    bound = {binding.check for binding in load_suite("knn_mmd").model.claims if binding.check is not None}
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
    suite = load_suite("knn_mmd")
    units = {str(b.check): suite.facts[b.id].unit for b in suite.model.claims if b.check is not None}
    assert {name: named(name)().unit for name in units} == units
