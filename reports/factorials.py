"""Factorials: where ablations vary two settings together, the grid of means and its main effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from harness.store import Reader
from harness.suite.models import Arm
from reports import sql, words
from reports.ablations import settings_of
from reports.addresses import slug
from reports.figure import Figure, escape, spec_of
from reports.reading import Bench, Gathered

Grid = Mapping[tuple[str, str], str]
"""Arm by (value of the first setting, value of the second)."""


def grids(arms: Mapping[str, Arm]) -> list[tuple[str, str, Grid]]:
    """Pairs of settings of which at least two by two combinations have an arm, all else being equal."""
    settings = {name: settings_of(arm) for name, arm in arms.items()}
    keys = sorted({key for own in settings.values() for key in own})
    varied = [key for key in keys if len({_level(own, key) for own in settings.values()}) > 1]
    found: list[tuple[str, str, Grid]] = []
    for first, second in combinations(varied, 2):
        groups: dict[tuple[Any, ...], dict[tuple[str, str], str]] = {}
        for name, own in settings.items():
            rest = tuple(_level(own, key) for key in keys if key not in (first, second))
            cell = (_level(own, first), _level(own, second))
            groups.setdefault(rest, {}).setdefault(cell, name)
        for cells in groups.values():
            rows, columns = ({cell[place] for cell in cells} for place in (0, 1))
            ablated = any(arms[name].role == "ablation" for name in cells.values())
            if ablated and len(rows) > 1 and len(columns) > 1 and len(cells) >= len(rows) * len(columns):
                found.append((first, second, cells))
    return found


def _level(own: Mapping[str, Any], key: str) -> str:
    return words.plain(own[key]) if key in own else "default"


def heat_maps(reader: Reader, found: Gathered) -> list[Figure]:
    """A map for each full factorial on each benchmark, in the benchmark's first metric."""
    figures = []
    for bench in found.benches.values():
        here = dict.fromkeys(link.arm for link in found.plan.links if link.benchmark == bench.name)
        factorials = grids({name: found.plan.arms[name] for name in here})
        if factorials:
            metric, about = next(iter(found.suite.benchmarks[bench.name].model.metrics.items()))
            asked = sql.ask(reader, sql.results_of(bench.body, metric, about.split))
            hatched = bool(found.plan.settings[bench.name].stand_in)
            for first, second, grid in factorials:
                figure = _map(bench, first, second, grid, asked, f"{metric}, {about.unit}", hatched)
                figures += [figure] if figure else []
    return figures


def _map(
    bench: Bench, first: str, second: str, grid: Grid, asked: sql.Answer, unit: str, hatched: bool
) -> Figure | None:
    values: dict[str, list[float]] = {}
    for row in asked.rows:
        if (score := words.finite(row["value"])) is not None:
            values.setdefault(row["arm"], []).append(score)
    means = {cell: fmean(values[arm]) for cell, arm in grid.items() if values.get(arm)}
    if len(means) < len(grid):
        return None
    rows, columns = (list(dict.fromkeys(sorted(cell[place] for cell in grid))) for place in (0, 1))
    table = [[means[row, column] for column in columns] for row in rows]
    trace = {
        "type": "heatmap", "x": [escape(f"{second} = {column}") for column in columns],
        "y": [escape(f"{first} = {row}") for row in rows], "z": table, "colorscale": "Cividis",
        "text": [[words.score(value) for value in row] for row in table], "texttemplate": "%{text}",
        "hovertemplate": "%{y}, %{x}<br>%{z:.4g}<extra></extra>", "colorbar": {"thickness": 10, "outlinewidth": 0},
        "xgap": 2, "ygap": 2,
    }  # fmt: skip
    effects = f"{_effect(first, rows, table)}; {_effect(second, columns, list(zip(*table, strict=True)))}"
    layout = {"xaxis": {"automargin": True, "side": "bottom"}, "yaxis": {"automargin": True, "autorange": "reversed"}}
    return Figure(
        f"factorial-{slug(bench.name + first + second)}",
        f"{first} × {second} on {bench.title}",
        f"Mean {unit} of {words.count(len(grid), 'arm')} that vary {first} and {second} together. Main effects: "
        f"{effects}.",
        spec_of([trace], **layout),
        [first, second, "arm", "mean", "seeds"],
        [[*cell, arm, means[cell], len(values[arm])] for cell, arm in sorted(grid.items())],
        asked.sql,
        110 + 60 * len(rows),
        hatched,
        f"Exploratory. Main effects: {effects}.",
    )


def _effect(name: str, levels: Sequence[str], table: Sequence[Sequence[float]]) -> str:
    """How far the means of a setting's levels lie apart, averaged over the other setting."""
    means = [fmean(row) for row in table]
    best = max(range(len(means)), key=means.__getitem__)
    return f"{name} {words.number(max(means) - min(means))} (highest at {levels[best]})"
