"""The whole-system simulation: what it draws is what trials report, and what it promises of the judge holds."""

from pathlib import Path

import numpy as np
import pytest
import simulation as simulate
import torch
from click.testing import CliRunner
from simulation import CAP, SUITES, TRUTHS, Case, JudgedComparison, SimulationTable

from harness import registry
from harness.data.roots import data_root
from harness.plan.planning import Selection, make_plan
from harness.suite import load_suite
from harness.trial import loop as training
from harness.trial.runtime import Runtime


@pytest.fixture(scope="module")
def table() -> SimulationTable:
    """The ten suites twice."""
    cases = [Case(number, repeat, 0.25) for repeat in range(2) for number in range(SUITES)]
    return simulate.tabulate(cases, 1, lambda _: None)


def test_scores_are_those_that_trials_report(tmp_path: Path) -> None:
    case = Case(3, 5, 0.25)
    path = tmp_path / "case.yaml"
    path.write_text(simulate.suite_text(case), encoding="utf-8")
    plan = make_plan(load_suite(path), Selection(scale="paper", benchmarks=("quarter",), seeds=(0, 7)))
    assert len(plan.trials) == 4
    for trial in plan.trials:
        around = Runtime(tmp_path / trial.trial_id, torch.device("cpu"), registry.load, data_root())
        outcome = training.train(trial.spec, around)
        results = {(split, name): value for split, name, value in outcome.results}
        (truth,) = [item for item in TRUTHS if item.name == "quarter"]
        task = case.task(truth, trial.arm.removeprefix("quarter-"))
        assert results["test", "score"] == simulate.score(task, trial.seed)


@pytest.mark.full
@pytest.mark.parametrize("number", [0, 1])
def test_the_truth_is_as_stated(number: int) -> None:
    """Over many repeats: mean and sd of the differences, and comparisons that do not share their noise."""
    differences = np.array(
        [
            [
                simulate.score(case.task(truth, "method"), 0) - simulate.score(case.task(truth, "baseline"), 0)
                for truth in TRUTHS
            ]
            for case in (Case(number, repeat, 0.25) for repeat in range(1000))
        ]
    )
    case = Case(number, 0, 0.25)
    expected = np.array([truth.share for truth in TRUTHS]) * case.sign * case.delta
    assert differences.mean(axis=0) == pytest.approx(expected, abs=4 * 0.25 * case.delta / 1000**0.5)
    assert differences.std(axis=0, ddof=1) == pytest.approx(np.full(4, 0.25 * case.delta), rel=0.1)
    assert np.abs(np.corrcoef(differences.T) - np.eye(4)).max() < 0.13


@pytest.mark.full
def test_errors_are_rare_and_seeds_are_spared(table: SimulationTable) -> None:
    assert table.suites == 20
    assert table.false_suites["sequential"] == table.false_suites["fixed"] == 0
    assert table.cost <= 0.6
    assert table.shares("fixed")[0] >= 0.95
    assert table.shares("sequential")[2] <= 0.05  # α is spent up to the maximum; what else is not right is inconclusive
    assert table.answered("sequential") >= table.answered("fixed") - 0.02
    assert table.words["effect", "sequential"]["reproduced"] == 20
    assert table.words["reversed", "sequential"]["contradicted"] == 20


def test_a_table_counts_false_reproductions_and_costs() -> None:
    table = SimulationTable()
    right = {truth.name: JudgedComparison(truth.right, 10, 0.0) for truth in TRUTHS}
    wrong = {"null": JudgedComparison("reproduced", 10, 0.0), "quarter": JudgedComparison("inconclusive", 10, 0.0)}
    longer = {"null": JudgedComparison("not reproduced", CAP, 0.0)}
    table.add({"sequential": right | wrong, "fixed": right | longer})
    assert (table.false_suites["sequential"], table.false_suites["fixed"]) == (1, 0)
    assert table.cost == pytest.approx(80 / 100)
    assert table.shares("sequential") == pytest.approx((0.5, 0.25, 0.25))
    assert (table.answered("sequential"), table.answered("fixed")) == (0.75, 1.0)
    assert any("reproduced 100.0 %" in line and line.startswith("null") for line in table.lines())


@pytest.mark.full
def test_a_run_stores_and_judges_what_is_simulated(tmp_path: Path) -> None:
    assert simulate.really(Case(1, 0, 0.25), tmp_path, "inline") == []


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("sd", "dearest"), [("quarter", 0.6), ("half", 0.8)])
def test_the_whole_simulation(sd: str, dearest: float) -> None:
    result = CliRunner().invoke(simulate.main, ["--repeats", "2", "--sd", sd, "--real", "3"])
    assert result.exit_code == 0, result.output
    assert "3 suites ran through 'harness run', as simulated" in result.output
    spread = simulate.SPREADS[sd]
    cases = [Case(number, repeat, spread) for repeat in range(200) for number in range(SUITES)]
    table = simulate.tabulate(cases, 2, lambda _: None)
    for design in ("sequential", "fixed"):
        assert table.false_suites[design] <= 0.05 * table.suites
    assert table.cost <= dearest
