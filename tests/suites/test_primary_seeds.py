"""Which cells run the seeds of primary contrasts."""

from __future__ import annotations

import pytest

from harness.plan.planning import Selection, make_plan
from harness.suite import load_suite


@pytest.mark.parametrize(
    ("suite", "place", "arm", "seeds"),
    [
        ("adamp", "imagenet-resnet18", "adamp", 6),
        ("adamp", "imagenet-resnet18", "adamw", 6),
        ("adamp", "imagenet-resnet18", "adam", 6),  # AdamW and Adam decide alike
        ("adamp", "sop-proxyanchor", "adam", 6),  # one experiment with inshop-proxyanchor, which is primary
        ("adamp", "imagenet-resnet18", "adamp-no-projection", 3),
        ("knn_mmd", "wifall-fall", "knn-mmd", 6),
        ("knn_mmd", "wifall-fall", "dann", 6),  # an ordering is decided by every comparator
        ("knn_mmd", "wifall-fall", "in-domain", 3),
    ],
)
def test_cells_of_primary_contrasts_run_six_seeds(suite: str, place: str, arm: str, seeds: int) -> None:
    plan = make_plan(load_suite(suite), Selection("mini", benchmarks=(place,)))
    assert len(plan.trial_ids(place, arm)) == seeds
