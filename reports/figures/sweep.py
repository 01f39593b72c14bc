"""Figures of a sweep: tuning budget, history, importance, sensitivity."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from harness.vocabulary import Status
from reports import formatting
from reports.data.sql import Answer, Row, grouped
from reports.figures import figure
from reports.figures.figure import GREY, Plot, Table, axis, colour, dots, drawing, escape, line
from reports.links import slug

WIDE = 30.0
"""A range whose ends differ by more than this factor is drawn on a logarithmic axis."""


@dataclass(frozen=True)
class Tuned:
    """Data shared by the figures; ``spaces`` are the stored ranges by arm and name."""

    arms: Sequence[str]
    unit: str
    better: str
    points: Sequence[Row] = field(repr=False)
    points_sql: str = field(repr=False)
    chosen: Mapping[str, int]
    spaces: Mapping[str, Mapping[str, Any]]

    def of(self, arm: str) -> list[Row]:
        """The points of an arm that have a value."""
        return [row for row in self.points if row["arm"] == arm and formatting.finite(row["value"]) is not None]


def _banded(place: int, name: str, rows: Sequence[Row], values: Sequence[Any]) -> list[dict[str, Any]]:
    existing = [row for row in rows if all(formatting.finite(row[end]) is not None for end in ("low", "high"))]
    budgets, lows, highs = ([row[key] for row in existing] for key in ("budget", "low", "high"))
    whole = [row["budget"] for row in rows]
    curve = line(place, name, whole, values, "%{x} configurations<br>%{y:.4g}", legendgroup=name)
    return [*figure.band(place, name, budgets, lows, highs), curve]


def budget(tuned: Tuned, curves: Answer) -> Plot | None:
    """The expected best of B configurations (the median without a known range), with its band."""
    if not curves.rows:
        return None
    is_median = any(row["band"] == "median" for row in curves.rows)
    shown, kind = ("middle", "median of the best of B") if is_median else ("expected", "expected best of B")
    why = (
        "The metric has no known range, so the median is drawn: no band holds for an expectation without one."
        if is_median
        else "The band shows how much of a lead may be luck."
    )
    traces: list[dict[str, Any]] = []
    ends = []
    by_arm = grouped(curves.rows, "arm")
    for place, arm in enumerate(tuned.arms):
        own = by_arm[arm]
        traces += _banded(place, arm, own, [formatting.finite(row[shown]) for row in own])
        ends += [f"{arm} {formatting.score(own[-1][shown])}"] if own else []
    return Plot(
        "budget",
        f"Tuning budget: {kind}",
        f"{kind} random configurations against their number, {tuned.unit}; at the whole budget "
        f"{formatting.listed(ends)}.",
        Table.of(curves, "arm", "budget", "expected", "middle", "low", "high"),
        note=f"Each band covers its whole curve at once (95 %); it is drawn where both ends are finite. {why} "
        "The scores drawn are those that chose: optimistic, and more so for an arm whose scores vary more by seed.",
        drawing=drawing(traces, axis("configurations tried, B"), axis(tuned.unit)),
        height=340,
    )


def difference(tuned: Tuned, differences: Answer) -> Plot | None:
    """Each arm's difference to the first over the budget; up is better."""
    by_pair = grouped(differences.rows, "pair")
    if not by_pair:
        return None
    traces: list[dict[str, Any]] = []
    message = []
    for number, (pair, own) in enumerate(by_pair.items()):
        place = next((at for at, arm in enumerate(tuned.arms) if at and pair.startswith(f"{arm} ")), number + 1)
        traces += _banded(place, pair, own, [row["difference"] for row in own])
        picked = [own[at] for at in sorted({0, len(own) // 4, len(own) // 2, len(own) - 1})]
        steps = [f"{formatting.number(row['difference'], sign=True)} at B = {row['budget']}" for row in picked]
        message.append(f"{pair} {', '.join(steps)}")
    axes = axis("configurations tried, B"), axis("difference, up is better")
    return Plot(
        "difference",
        "Difference by tuning budget",
        f"Difference of the best of B, expected or median as in the curves, up is better: {'; '.join(message)}.",
        Table.of(differences, "pair", "budget", "difference", "low", "high"),
        note="The band holds for every B at once: the two arms' bands at half the error each. "
        "Noisier validation scores favour their arm: the comparison on new seeds does not.",
        drawing=drawing(traces, *axes, shapes=[figure.zero_line("x")], showlegend=True),
    )


def history(tuned: Tuned, points: Answer) -> Plot | None:
    """Every configuration in order, and the best so far."""
    if not points.rows:
        return None
    traces: list[dict[str, Any]] = []
    rows = [{**row, **{key: formatting.finite(row[key]) for key in ("value", "best")}} for row in points.rows]
    by_arm = grouped(rows, "arm")
    for place, arm in enumerate(tuned.arms):
        own = by_arm[arm]
        existing = [row for row in own if row["value"] is not None]
        drawn, best = [row["number"] + 1 for row in own], [row["best"] for row in own]
        hover = "%{x} tried, the best so far<br>%{y:.4g}"
        traces.append(line(place, arm, drawn, best, hover, legendgroup=arm, line={"shape": "hv"}))
        traces.append(
            dots(
                f"{escape(arm)}, configuration %{{customdata[0]}}, %{{customdata[1]}}<br>%{{y:.4g}}",
                legendgroup=arm,
                showlegend=False,
                x=[row["number"] + 1 for row in existing],
                y=[row["value"] for row in existing],
                customdata=[[row["number"], row["status"]] for row in existing],
                marker={**figure.marker(place, 6), "color": figure.faded(colour(place), 0.6)},
            )
        )
    diverged = [row["arm"] for row in rows if row["status"] == Status.DIVERGED]
    lost = [f"{arm} {diverged.count(arm)}" for arm in tuned.arms if arm in diverged]
    ends = [f"{arm} {formatting.score(by_arm[arm][-1]['best'])}" for arm in tuned.arms if by_arm[arm]]
    columns = ["arm", "number", "status", "value", "best so far"]
    return Plot(
        "history",
        "Search history",
        f"{tuned.unit} of every configuration in the order of the draws, and the best so far: "
        f"{formatting.listed(ends)}.",
        Table(columns, [[*row.values()] for row in rows], points.sql),
        note=f"Diverged and not drawn: {formatting.listed(lost)}." if lost else "",
        drawing=drawing(traces, axis("configurations tried"), axis(tuned.unit)),
    )


def importance(tuned: Tuned, shares: Answer) -> Plot | None:
    """Importance of each hyper-parameter."""
    if not shares.rows:
        return None
    by_arm, by_key = (grouped(shares.rows, column) for column in ("arm", "hyper_parameter"))
    largest = {key: max(row["share"] for row in rows) for key, rows in by_key.items()}
    keys = sorted(largest, key=lambda key: (largest[key], key))  # the axis begins at the bottom
    traces, message = [], []
    for place, arm in enumerate(tuned.arms):
        if own := {row["hyper_parameter"]: row["share"] for row in by_arm[arm]}:
            traces.append(
                figure.trace(
                    go.Bar,
                    f"{escape(arm)}, %{{y}}: %{{x:.0f}} %",
                    orientation="h",
                    name=escape(arm),
                    y=[escape(key) for key in keys],
                    x=[100 * own[key] if key in own else None for key in keys],
                    marker={"color": colour(place)},
                )
            )
            first, share = next(iter(own.items()))
            message.append(f"{arm}: {first} {100 * share:.0f} %")
    axes = axis("share, %", rangemode="tozero"), {"automargin": True, "showgrid": False}
    return Plot(
        "importance",
        "Importance of hyper-parameters",
        f"Importance of each hyper-parameter; the largest of {formatting.listed(message)}.",
        Table(["arm", "hyper-parameter", "share"], [[*row.values()] for row in shares.rows], shares.sql),
        note="Shares of the variance among the better configurations (PED-ANOVA); unreliable with few configurations.",
        drawing=drawing(traces, *axes, barmode="group", showlegend=True),
        height=110 + 26 * len(keys) * max(1, len(traces)),
    )


def _short(value: Any) -> str:
    """A setting's value in three digits."""
    number = formatting.finite(value)
    return formatting.plain(value) if number is None else f"{value:.3g}".replace("-", formatting.MINUS)


def _distinct(values: Sequence[Any]) -> list[Any]:
    """Values in order, numbers before texts."""
    return sorted(set(values), key=lambda value: (isinstance(value, str), value))


def slices(tuned: Tuned) -> list[Plot]:
    """Each hyper-parameter against the value it reached; the chosen configurations ringed."""
    values: dict[str, list[tuple[str, int, Any, float]]] = defaultdict(list)
    for arm in tuned.arms:
        for row in tuned.of(arm):
            for key, value in (row["params"] or {}).items():
                values[key].append((arm, row["number"], value, row["value"]))
    return [plot for key, rows in sorted(values.items()) if (plot := _slice(tuned, key, rows)) is not None]


def _slice(tuned: Tuned, key: str, rows: Sequence[tuple[str, int, Any, float]]) -> Plot | None:
    distinct = _distinct([value for _, _, value, _ in rows])
    if len(distinct) < 2:
        return None
    spaces = [space[key] for space in tuned.spaces.values() if key in space]
    numbers = [number for value in distinct if (number := formatting.finite(value)) is not None]
    categories = len(numbers) < len(distinct) or any(space.get("choices") for space in spaces)
    traces = []
    for place, arm in enumerate(tuned.arms):
        if own := [row for row in rows if row[0] == arm]:
            ringed = [row[1] == tuned.chosen.get(arm) for row in own]
            traces.append(
                dots(
                    f"{escape(arm)}, configuration %{{customdata[0]}}<br>{escape(key)} %{{customdata[1]}}: %{{y:.4g}}",
                    x=[escape(_short(row[2])) if categories else row[2] for row in own],
                    y=[row[3] for row in own],
                    customdata=[[row[1], escape(_short(row[2]))] for row in own],
                    name=escape(arm),
                    marker={
                        **figure.marker(place, 8),
                        "size": [13 if ring else 8 for ring in ringed],
                        "line": {"width": [2.5 if ring else 0 for ring in ringed], "color": GREY},
                    },
                )
            )
    if categories:
        order = [escape(_short(value)) for value in distinct]
        sideways = axis(key, type="category", categoryorder="array", categoryarray=order)
    else:
        wide = numbers[0] > 0 and (numbers[-1] / numbers[0] > WIDE or any(space.get("log") for space in spaces))
        sideways = axis(key, type="log" if wide else "linear")
    return Plot(
        f"setting-{slug(key)}",
        f"Sensitivity to {key}",
        f"{formatting.count(len(rows), 'configuration')} of {formatting.count(len(traces), 'arm')}: {tuned.unit} "
        f"against {key}, {_short(distinct[0])} to {_short(distinct[-1])}; the chosen ones are ringed.",
        Table(["arm", "configuration", key, "value"], rows, tuned.points_sql),
        drawing=drawing(traces, sideways, axis(tuned.unit), showlegend=True),
    )
