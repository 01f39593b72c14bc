"""No claim of a suite compares arms whose budgets or environments differ: its verdict would always be `invalid`."""

from __future__ import annotations

import pytest

from harness.judge.bindings import claim_designs
from harness.plan.planning import Selection, make_plan
from harness.suite import load_suite


@pytest.mark.parametrize("name", ["nkd", "adamp", "powernorm", "region_norm", "knn_mmd"])
def test_every_contrast_of_a_suite_may_be_judged(name: str) -> None:
    suite = load_suite(name)
    designs = claim_designs(suite, make_plan(suite, Selection("mini")), sequential=False)
    blocks = [(design.claim_id, block) for design in designs for block in design.blocks]
    assert len(blocks) > 5
    assert {(claim, block.benchmark): block.invalid for claim, block in blocks if block.invalid} == {}
