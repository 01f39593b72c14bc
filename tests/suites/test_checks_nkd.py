"""Each check of NKD and USKD holds, and fails once the option that it is about is turned."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.suite import load_suite
from suites.checks import nkd
from suites.checks.result import Check

FLIPPED: dict[str, dict[str, Any]] = {
    "nontarget_equals_nckd": {"normalise": False},
    "mask_bug_equals_kd": {"mask": "others"},
    "rank_agreement": {"source": "paper"},
    "target_exceeds_one": {"clamp": True},
    "zero_mass_class_dropped": {"zero_mass": "paper"},
    "zipf_not_contiguous": {"zipf_over": "others"},
}


def named(name: str) -> Callable[..., Check]:
    found: Callable[..., Check] = getattr(nkd, name)
    return found


def test_every_check_of_the_module_is_bound_and_tested() -> None:
    tree = ast.parse(Path(nkd.__file__).read_text(encoding="utf-8"))
    public = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"}
    bound = {binding.check for binding in load_suite("nkd").model.claims if binding.check is not None}
    assert public == bound == set(FLIPPED)


@pytest.mark.parametrize("name", FLIPPED)
def test_check_holds(name: str) -> None:
    check = named(name)()
    assert check.holds, check
    assert check.detail


@pytest.mark.parametrize("name", FLIPPED)
def test_check_fails_with_its_option_turned(name: str) -> None:
    assert not named(name)(**FLIPPED[name]).holds


def test_rank_agreement_hangs_on_the_deviation_of_the_logits() -> None:
    """About 50, 60 and 64 % at deviations 1, 2 and 3, as the claim says."""
    shares = [nkd.rank_agreement(deviation).ours for deviation in (1.0, 2.0, 3.0)]
    assert shares == pytest.approx([50, 60, 64], abs=3)


def test_units_are_those_of_the_claims() -> None:
    suite = load_suite("nkd")
    for binding in suite.model.claims:
        if binding.check is not None:
            assert named(binding.check)().unit == suite.facts[binding.id].unit, binding.id
