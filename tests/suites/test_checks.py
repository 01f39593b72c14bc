"""Every suite's checks: bound to claims in the claims' units, true as they are, false once their option is turned."""

import importlib
import inspect
import math
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest

from harness.registry.shipped import suite_files
from harness.suite import load_suite
from suites import checks
from suites.checks import adamp, nkd
from suites.checks.result import Check

# The option of each check that makes it fail.
FLIPPED: dict[str, dict[str, dict[str, Any]]] = {
    "adamp": {
        "update_orthogonal": {"project": False},
        "sgdp_weight_decay": {"projected": True},
        "sgdp_buffer_projected": {"buffer": "paper"},
        "one_dimensional_never_projected": {"as_matrix": True},
        "all_rows_must_pass": {"rows": "each"},
        "scale_invariant_share": {"training": False},
        "toy2d_norm_momentum09": {"momentum": 0.95},
        "toy2d_norm_momentum099": {"momentum": 0.95},
        "toy2d_order": {"buffer": "released"},
        "toy2d_projection_bounds_norm": {"project": False},
    },
    "knn_mmd": {
        "mode1_leaks_labels": {"leak": False},
        "help_set_stays_in_test_set": {"share": 0.3},
        "mmd_nan_gradient": {"root": "guarded"},
        "mmd_vanishing_gradient": {"sigmas": (30.0, 60.0)},
        "epoch_range": {"patience": 20},
        "bn_sees_target": {"batch_norm": "source"},
        "umap_d128_needs_samples": {"dimensions": 32},
        "parameter_count": {"classes": 5},
    },
    "nkd": {
        "nontarget_equals_nckd": {"normalise": False},
        "mask_bug_equals_kd": {"mask": "others"},
        "rank_agreement": {"source": "paper"},
        "target_exceeds_one": {"clamp": True},
        "zero_mass_class_dropped": {"zero_mass": "paper"},
        "zipf_not_contiguous": {"zipf_over": "others"},
        "nontarget_sums_equal": {"normalise": False},
        "negligible_cost": {"classes": 20000},
    },
    "powernorm": {
        "nu_recursion": {"other_decay": 0.95},
        "backward_batch_denominator": {"backward_statistic": "paper"},
        "running_double_update": {"running_update": "paper"},
        "warmup_off_by_one": {"boundary": "aligned"},
        "warmup_backward_approximate": {"backward": "exact"},
        "groupscaling_unit_mean": {"groups": 1},
        "pad_populations_differ": {"population": "paper"},
        "counter_per_forward": {"training": False},
        "bn_arm_has_rms": {"scaling": "paper"},
    },
    "region_norm": {
        "core_is_per_region_bn": {"fixed_eps": True},
        "uniform_mask_is_bn": {"hole_share": 0.5},
        "rnb_bias_leak": {"shift": "paper"},
        "batch_dependence": {"statistics": "paper"},
        "hard_mask_empty_at_init": {"threshold": 0.6},
        "no_gradient_through_mask": {"affine_path": True},
        "empty_region_safe": {"naive": True},
        "bias_init_std_one": {"deviation": 1e-4},
    },
}
MODULES = sorted({module.name for module in pkgutil.iter_modules(checks.__path__)} & set(suite_files()))
SECONDS = (
    "scale_invariant_share",
    "toy2d_order",
    "update_orthogonal",
    "toy2d_projection_bounds_norm",
    "negligible_cost",
)
"""Checks that take some; the others belong to the default tier."""
every_check = pytest.mark.parametrize(
    ("suite", "name"),
    [
        pytest.param(suite, name, marks=[pytest.mark.full] if name in SECONDS else [])
        for suite, flips in FLIPPED.items()
        for name in flips
    ],
)


def named(suite: str, name: str) -> Callable[..., Check]:
    result: Callable[..., Check] = getattr(importlib.import_module(f"suites.checks.{suite}"), name)
    return result


@pytest.mark.parametrize("suite", MODULES)
def test_every_check_of_a_module_is_bound_and_tested(suite: str) -> None:
    module = importlib.import_module(f"suites.checks.{suite}")
    functions = inspect.getmembers(module, inspect.isfunction)
    public = {name for name, value in functions if value.__module__ == module.__name__ and name[0] != "_"}
    bound = {binding.check for binding in load_suite(suite).model.claims if binding.check is not None}
    assert public == bound == set(FLIPPED[suite])


@every_check
def test_a_check_holds_in_the_unit_of_its_claim_and_fails_with_its_option_turned(suite: str, name: str) -> None:
    check = named(suite, name)()
    assert check.holds, check
    assert check.detail
    loaded = load_suite(suite)
    units = {loaded.facts[binding.id].unit for binding in loaded.model.claims if binding.check == name}
    # A statement that is true or false, or an order, is checked on numbers of another unit.
    assert units == {check.unit} or units <= {"boolean", "rank"}
    assert not named(suite, name)(**FLIPPED[suite][name]).holds


def test_rank_agreement_hangs_on_the_deviation_of_the_logits() -> None:
    """About 50, 60 and 64 % at deviations 1, 2 and 3."""
    shares = [nkd.rank_agreement(deviation).ours for deviation in (1.0, 2.0, 3.0)]
    assert shares == pytest.approx([50, 60, 64], abs=3)


def test_linear_head_is_left_unprojected() -> None:
    detail = adamp.update_orthogonal().detail
    cosine = float(detail.rsplit(" ", 1)[1])
    assert 0.05 < cosine < 0.3


def test_published_toy_norms_follow_from_one_rate_and_none_is_found_outside_the_range() -> None:
    for angle, rate in ((20.0, 0.579), (35.0, 0.210), (65.0, 0.067)):
        assert adamp._final_norm(rate, 0.9, angle) == pytest.approx(2.92, abs=0.03)
        assert adamp._final_norm(rate, 0.99, angle) == pytest.approx(27.87, abs=0.15)
    with pytest.raises(ValueError, match="no rate"):
        adamp._calibrate(0.9, 1e9)


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.99])
def test_plain_floats_and_the_optimizer_descend_alike(momentum: float) -> None:
    path = adamp._descend(0.067, momentum)
    assert path.settled(1e-3) < adamp.STEPS, "it stays settled to the end"
    with_optimizer = path.norm
    assert adamp._final_norm(0.067, momentum) == pytest.approx(with_optimizer, rel=1e-9)


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
