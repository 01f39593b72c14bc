"""Heat maps: which class is taken for which, and the means of a factorial of ablations."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np
import plotly.graph_objects as go

from harness.store import Reader
from reports import formatting
from reports.data import sql
from reports.data.ablations import Grid, grids
from reports.data.outputs import Confusion, confusions_of
from reports.data.suite_results import BenchmarkResults, SuiteResults
from reports.figures.figure import NO_LEGEND, Plot, Table, drawing, escape, trace
from reports.links import slug

WRITTEN_CLASSES = 12
"""Up to so many classes every cell shows its number."""


def confusion_figures(answer: sql.Answer, arms: Sequence[str], stand_in: str) -> list[Plot]:
    """One heat map an arm: rows are true classes, in percent of each."""
    return [_confusion(confusion, answer.sql, stand_in) for confusion in confusions_of(answer.rows, arms)]


def _confusion(confusion: Confusion, statement: str, stand_in: str) -> Plot:
    arm, classes, counts, shares = confusion.arm, confusion.classes, confusion.counts, confusion.shares
    few = len(classes) <= WRITTEN_CLASSES
    names = [escape(formatting.short(name, 18)) for name in classes]
    text = [[f"{cell:.0f}" if cell >= 0.5 else "" for cell in row] for row in shares]
    written = {"text": text, "texttemplate": "%{text}"} if few else {}
    cells = trace(
        go.Heatmap,
        "%{y} taken for %{x}: %{z:.3g} %",
        z=shares.tolist(),
        x=names,
        y=names,
        colorscale="Cividis",
        zmin=0,
        zmax=100,
        xgap=int(few),
        ygap=int(few),
        **written,
        colorbar={"thickness": 8, "outlinewidth": 0, "title": {"text": "%"}},
    )
    rows = [[arm, classes[t], classes[p], int(counts[t, p]), float(shares[t, p])] for t, p in np.argwhere(counts)]
    across = {"title": {"text": "predicted"}, "automargin": True, "showgrid": False, "type": "category"}
    down = {"title": {"text": "true"}, "automargin": True, "autorange": "reversed", "type": "category"}
    message = "; ".join(f"{true} is taken for {label} in {share:.0f} %" for true, label, share in confusion.worst)
    return Plot(
        f"confusion-{slug(arm)}",
        f"{arm}: which class is taken for which",
        f"Confusion matrix of {arm} over {formatting.count(confusion.seeds, 'seed')}, percent of each true class; "
        f"{confusion.right:.1f} % of the items are right. {message or 'No mistake'}.",
        Table(["arm", "true", "predicted", "items", "percent"], rows, statement),
        stand_in,
        f"Most frequent mistakes: {message}." if message else "",
        drawing=drawing([cells], across, down, margin=NO_LEGEND),
        height=400 if few else 460,
    )


def factorial_figures(reader: Reader, results: SuiteResults, bench: BenchmarkResults) -> list[Plot]:
    """A map for each full factorial on a benchmark whose arms all have results, in the benchmark's first metric."""
    factorials = grids({name: results.plan.arms[name] for name in bench.arms})
    if not factorials:
        return []
    metric, about = bench.first_metric
    requested = sql.ask(reader, sql.results_of(bench.body, metric, about.split))
    plots = [_factorial(bench, *factorial, requested, f"{metric}, {about.unit}") for factorial in factorials]
    return list(filter(None, plots))


def _factorial(
    bench: BenchmarkResults, first: str, second: str, grid: Grid, asked: sql.Answer, unit: str
) -> Plot | None:
    values = {
        arm: [score for row in rows if (score := formatting.finite(row["value"])) is not None]
        for arm, rows in sql.grouped(asked.rows, "arm").items()
    }
    means = {cell: fmean(values[arm]) for cell, arm in grid.items() if values.get(arm)}
    if len(means) < len(grid):
        return None
    rows, columns = (sorted({cell[place] for cell in grid}) for place in (0, 1))
    table = [[means[row, column] for column in columns] for row in rows]
    numbers = [[*cell, arm, means[cell], len(values[arm])] for cell, arm in sorted(grid.items())]
    cells = trace(
        go.Heatmap,
        "%{y}, %{x}<br>%{z:.4g}",
        x=[escape(f"{second} = {column}") for column in columns],
        y=[escape(f"{first} = {row}") for row in rows],
        z=table,
        colorscale="Cividis",
        xgap=2,
        ygap=2,
        text=[[formatting.score(value) for value in row] for row in table],
        texttemplate="%{text}",
        colorbar={"thickness": 10, "outlinewidth": 0},
    )
    down = {"automargin": True, "autorange": "reversed"}
    effects = f"{_effect(first, rows, table)}; {_effect(second, columns, list(zip(*table, strict=True)))}"
    return Plot(
        f"factorial-{slug(bench.name + first + second)}",
        f"{first} × {second} on {bench.title}",
        f"Mean {unit} of {formatting.count(len(grid), 'arm')} that vary {first} and {second} together. Main effects: "
        f"{effects}.",
        Table([first, second, "arm", "mean", "seeds"], numbers, asked.sql),
        bench.stand_in_name,
        f"Exploratory. Main effects: {effects}.",
        drawing=drawing([cells], {"automargin": True, "side": "bottom"}, down, margin=NO_LEGEND),
        height=110 + 60 * len(rows),
    )


def _effect(name: str, levels: Sequence[str], table: Sequence[Sequence[float]]) -> str:
    """How far the means of a setting's levels lie apart, averaged over the other setting."""
    means = [fmean(row) for row in table]
    best = max(range(len(means)), key=means.__getitem__)
    return f"{name} {formatting.number(max(means) - min(means))} (highest at {levels[best]})"
