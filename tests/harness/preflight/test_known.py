"""A plan without stored trials is estimated from the steps that preflight took."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli.group import run_main
from harness.plan.planning import Selection, make_plan
from harness.preflight import PreflightSettings, device, preflight
from harness.preflight.known import step_costs
from harness.suite import load_suite

CELLS = Selection("mini", ("imagenet-resnet18",), ("adamw", "adamp"), (0,))


def test_steps_that_were_taken_price_a_plan(capsys: pytest.CaptureFixture[str], database: Path) -> None:
    plan = make_plan(load_suite("adamp"), CELLS)
    costs, unknown = step_costs(plan)
    assert not costs
    assert {cell.arm for cell in unknown} == {"adamw", "adamp"}
    report = preflight([plan], PreflightSettings(device("h100"), jobs=1))
    assert not report.failed
    costs, unknown = step_costs(plan)
    assert not unknown
    steps = {cell.arm: cell.steps for cell in report.cells}
    for cell in report.cells:
        assert costs[cell.benchmark, cell.arm] >= (steps[cell.arm] or 0) * cell.step_seconds
    assert step_costs(plan, known=set(costs)) == ({}, [])

    asked = ["plan", "adamp", "--benchmark", "imagenet-resnet18", "--arm", "adamw", "--seeds", "1", "--json"]
    assert run_main([*asked, "--db", str(database)]) == 0
    told = json.loads(capsys.readouterr().out)
    (cell,) = told["cells"]
    assert not cell["guessed"]
    assert cell["core_seconds"] == pytest.approx(costs["imagenet-resnet18", "adamw"])
