"""Figures of ablations: what removing or changing a part does, and the means of a factorial."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import plotly.graph_objects as go

from harness.store import Reader
from reports import formatting
from reports.data import sql
from reports.data.ablations import Ablation, Grid, grids
from reports.data.suite_results import BenchmarkResults, SuiteResults
from reports.figures.benchmark import Contrast, differences
from reports.figures.figure import Plot, drawing, escape
from reports.links import slug


def ablation_figures(reader: Reader, results: SuiteResults, rows: Sequence[Ablation]) -> list[Plot]:
    """Of each benchmark the differences, the largest first; then a map for each of its full factorials."""
    plots = [_differences(bench, [row for row in rows if row.benchmark == bench.name])
             for bench in results.benches.values()]  # fmt: skip
    plots += [plot for bench in results.benches.values() for plot in _heat_maps(reader, results, bench)]
    return [plot for plot in plots if plot is not None]


def _differences(bench: BenchmarkResults, rows: Sequence[Ablation]) -> Plot | None:
    ranked = sorted(rows, key=lambda row: -abs(row.difference))
    return differences(
        f"ablation-{slug(bench.name)}",
        f"Ablations on {bench.title}: {ranked[0].metric}" if ranked else "",
        [Contrast(row.contrast, row.unit, row.n, row.difference, row.low, row.high, row.seeds, row.tone)
         for row in ranked],
        ranked[0].sql if ranked else "",
        bench.stand_in,
        "Exploratory: unadjusted paired t intervals; right = the ablation is better than the arm it changes.",
    )  # fmt: skip


def _heat_maps(reader: Reader, results: SuiteResults, bench: BenchmarkResults) -> list[Plot | None]:
    """A map for each full factorial on a benchmark, in the benchmark's first metric."""
    factorials = grids({name: results.plan.arms[name] for name in bench.arms})
    if not factorials:
        return []
    metric, about = bench.first_metric
    asked = sql.ask(reader, sql.results_of(bench.body, metric, about.split))
    return [_heat_map(bench, *factorial, asked, f"{metric}, {about.unit}") for factorial in factorials]


def _heat_map(
    bench: BenchmarkResults, first: str, second: str, grid: Grid, asked: sql.Answer, unit: str
) -> Plot | None:
    values: dict[str, list[float]] = {}
    for row in asked.rows:
        if (score := formatting.finite(row["value"])) is not None:
            values.setdefault(row["arm"], []).append(score)
    means = {cell: fmean(values[arm]) for cell, arm in grid.items() if values.get(arm)}
    if len(means) < len(grid):
        return None
    rows, columns = (sorted({cell[place] for cell in grid}) for place in (0, 1))
    table = [[means[row, column] for column in columns] for row in rows]
    trace = go.Heatmap(
        x=[escape(f"{second} = {column}") for column in columns], y=[escape(f"{first} = {row}") for row in rows],
        z=table, colorscale="Cividis", text=[[formatting.score(value) for value in row] for row in table],
        texttemplate="%{text}", hovertemplate="%{y}, %{x}<br>%{z:.4g}<extra></extra>",
        colorbar={"thickness": 10, "outlinewidth": 0}, xgap=2, ygap=2,
    )  # fmt: skip
    effects = f"{_effect(first, rows, table)}; {_effect(second, columns, list(zip(*table, strict=True)))}"
    return Plot(
        f"factorial-{slug(bench.name + first + second)}",
        f"{first} × {second} on {bench.title}",
        f"Mean {unit} of {formatting.count(len(grid), 'arm')} that vary {first} and {second} together. Main effects: "
        f"{effects}.",
        [first, second, "arm", "mean", "seeds"],
        [[*cell, arm, means[cell], len(values[arm])] for cell, arm in sorted(grid.items())],
        asked.sql,
        bench.stand_in,
        f"Exploratory. Main effects: {effects}.",
        drawing=drawing(
            [trace], xaxis={"automargin": True, "side": "bottom"}, yaxis={"automargin": True, "autorange": "reversed"}
        ),
        height=110 + 60 * len(rows),
    )


def _effect(name: str, levels: Sequence[str], table: Sequence[Sequence[float]]) -> str:
    """How far the means of a setting's levels lie apart, averaged over the other setting."""
    means = [fmean(row) for row in table]
    best = max(range(len(means)), key=means.__getitem__)
    return f"{name} {formatting.number(max(means) - min(means))} (highest at {levels[best]})"
