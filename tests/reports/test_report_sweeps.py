"""Figures and statements of a sweep's page, from a real sweep."""

import json
import math
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from harness.app.search import SweepRequest, SweepResult, run_sweep
from harness.execute.dispatch import Watch
from harness.plan.planning import Selection, make_plan
from harness.store import Reader, open_reader
from harness.suite import load_suite
from harness.suite.load import Suite
from reports.data import sql
from reports.data.suite_results import gather
from reports.figures import sweep as figures
from reports.figures.sweep import Tuned
from reports.pages.suite import sweep_pages

SPACES = """
sweep:
  arms: [base, better]
  fresh: 2
  spaces:
    "*":
      optimizer.lr: {low: 1.0e-3, high: 1.0, log: true}
      optimizer.momentum: {choices: [0.0, 0.5, .inf]}
      optimizer.weight_decay: null
"""


@pytest.fixture
def swept(tiny: Path, database: Path) -> tuple[Suite, SweepResult]:
    """A sweep over a learning rate and a choice with infinity."""
    text = tiny.read_text().replace("own_sd: 0.3}", "own_sd: 0.05, curvature: 4.0, diverges_above: 0.5}")
    tiny.write_text(text.replace("steps: 20", "steps: 2") + SPACES)
    suite = load_suite(tiny)
    request = SweepRequest(database=database, benchmark="known", budget=8, executor="inline")
    return suite, run_sweep(suite, request, Watch())


def tuned_of(reader: Reader, result: SweepResult) -> Tuned:
    points = sql.ask(reader, sql.points_of(result.sweep_id))
    spaces = {"better": {"optimizer.lr": {"low": 1e-3, "high": 1.0, "log": True}}}
    chosen = {arm: item["number"] for arm, item in result.chosen.items()}
    return Tuned(["base", "better"], "score", "higher", points.rows, points.sql, chosen, spaces)


def test_statements_give_what_the_sweep_concluded(swept: tuple[Suite, SweepResult], database: Path) -> None:
    _, result = swept
    summary, sweep = result.summary, result.sweep_id
    with open_reader(database, sandbox=True) as reader:
        curves = sql.ask(reader, sql.sweep_curves(sweep)).rows
        differences = sql.ask(reader, sql.sweep_differences(sweep)).rows
        weights = sql.ask(reader, sql.sweep_importances(sweep)).rows
        chosen = {row["arm"]: row for row in sql.ask(reader, sql.sweep_chosen(sweep)).rows}
        comparison = sql.ask(reader, sql.sweep_comparison("tiny", sweep, "mini")).rows
        history = sql.ask(reader, sql.sweep_history(sweep, "higher")).rows
    for arm in ("base", "better"):
        own = [row for row in curves if row["arm"] == arm]
        for key in ("budget", "expected", "middle", "low", "high"):
            assert [row[key] for row in own] == pytest.approx(summary["curves"][arm][key])
        assert {row["hyper_parameter"]: row["share"] for row in weights if row["arm"] == arm} == pytest.approx(
            summary["importances"][arm]
        )
        assert chosen[arm]["value"] == result.chosen[arm]["value"]
        assert chosen[arm]["reported"] == 8
        best = [row["best"] for row in history if row["arm"] == arm]
        assert best[-1] == result.chosen[arm]["value"]
        assert [item for item in best if item is not None] == sorted(item for item in best if item is not None)
    pair = "better − base"
    assert [row["difference"] for row in differences] == pytest.approx(summary["differences"][pair])
    assert [row["low"] for row in differences] == pytest.approx(summary["difference_bands"][pair]["low"])
    assert [row["budget"] for row in differences] == list(range(1, 9))
    (verdict,) = comparison
    assert (verdict["method"], verdict["n"]) == ("better-tuned", 2)
    assert verdict["verdict"] == result.verdicts[0].verdict


def test_figures_are_drawn_and_hold_every_number(swept: tuple[Suite, SweepResult], database: Path) -> None:
    _, result = swept
    with open_reader(database) as reader:
        tuned = tuned_of(reader, result)
        match = [
            figures.budget(tuned, sql.ask(reader, sql.sweep_curves(result.sweep_id))),
            figures.difference(tuned, sql.ask(reader, sql.sweep_differences(result.sweep_id))),
            figures.history(tuned, sql.ask(reader, sql.sweep_history(result.sweep_id, "higher"))),
            figures.importance(tuned, sql.ask(reader, sql.sweep_importances(result.sweep_id))),
            *figures.slices(tuned),
        ]
    plots = [item for item in match if item is not None]
    names = ["budget", "difference", "history", "importance", "setting-optimizer.lr", "setting-optimizer.momentum"]
    assert [item.name for item in plots] == names
    for figure in plots:
        go.Figure(json.loads(figure.json))  # raises where Plotly knows a property not
        assert figure.table.rows
        assert all(len(row) == len(figure.table.columns) for row in figure.table.rows)
    message = [point for points in result.points.values() for point in points if point.status == "told"]
    assert len(plots[4].table.rows) == len(message)


def test_the_page_says_what_the_judge_said(swept: tuple[Suite, SweepResult], database: Path) -> None:
    suite, result = swept
    with open_reader(database) as reader:
        match = gather(reader, suite, make_plan(suite, Selection()))
        (page,) = sweep_pages(reader, match)
    content: dict[str, Any] = dict(page.content)
    assert [row["verdict"] for row in content["comparison"].rows] == [verdict.verdict for verdict in result.verdicts]
    assert {arm for arm, _, _ in content["chosen"]} == {"base", "better"}
    assert all(math.isfinite(best["value"]) for _, best, _ in content["chosen"])
