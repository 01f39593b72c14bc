"""The figures of a sweep: what a budget buys, how the draws went, what matters, and where the good values lie."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reports import words
from reports.addresses import slug
from reports.figure import Figure, axis, colour, dash, escape, faded, spec_of
from reports.reading import Row
from reports.sql import Answer

WIDE = 30.0
"""A range whose ends differ by more than this factor is drawn on a logarithmic axis."""
QUARTER = 0.25
"""The share of configurations that parallel coordinates draw in full colour."""
MARGIN = {"l": 8, "r": 12, "t": 30, "b": 40}


@dataclass(frozen=True)
class Tuned:
    """What the figures share: the arms in order, the tuned quantity, the points, and which one each arm chose.

    ``spaces`` are the ranges by arm and name, as the sweep stored them.
    """

    arms: Sequence[str]
    unit: str
    better: str
    points: Sequence[Row] = field(repr=False)
    points_sql: str = field(repr=False)
    chosen: Mapping[str, int]
    spaces: Mapping[str, Mapping[str, Any]]

    def of(self, arm: str) -> list[Row]:
        """The points of an arm that have a value."""
        return [row for row in self.points if row["arm"] == arm and words.finite(row["value"]) is not None]


def budget(tuned: Tuned, found: Answer) -> Figure | None:
    """What B configurations buy: the expected best (the median best where no range is known), with its band."""
    if not found.rows:
        return None
    is_median = any(row["band"] == "median" for row in found.rows)
    shown = "middle" if is_median else "expected"
    traces: list[dict[str, Any]] = []
    ends = []
    for place, arm in enumerate(tuned.arms):
        own = [row for row in found.rows if row["arm"] == arm]
        traces += _band(place, arm, own)
        traces.append(_line(place, arm, [row["budget"] for row in own], [words.finite(row[shown]) for row in own],
                            "configurations"))  # fmt: skip
        ends += [f"{arm} {words.score(own[-1][shown])}"] if own else []
    kind = "median of the best of B" if is_median else "expected best of B"
    layout = {"xaxis": axis("configurations tried, B"), "yaxis": axis(tuned.unit), "margin": MARGIN}
    return Figure(
        "budget", f"What a tuning budget buys: {kind}",
        f"{kind} random configurations against their number, {tuned.unit}; at the whole budget {words.listed(ends)}.",
        spec_of(traces, **layout), ["arm", "budget", "expected", "middle", "low", "high"],
        [[row["arm"], row["budget"], row["expected"], row["middle"], row["low"], row["high"]] for row in found.rows],
        found.sql, 340, False,
        f"Each band covers its whole curve at once (95 %); it is drawn where both ends are finite. {_of(is_median)}",
    )  # fmt: skip


def _of(is_median: bool) -> str:
    if is_median:
        return "The metric has no known range, so the median is drawn: no band holds for an expectation without one."
    return "Without a second search it is the band that says how much of a lead is luck."


def _band(place: int, arm: str, rows: Sequence[Row]) -> list[dict[str, Any]]:
    known = [row for row in rows if words.finite(row["low"]) is not None and words.finite(row["high"]) is not None]
    edge = {"legendgroup": arm, "type": "scatter", "mode": "lines", "showlegend": False, "hoverinfo": "skip",
            "line": {"width": 0, "color": colour(place)}, "x": [row["budget"] for row in known]}  # fmt: skip
    return [
        {**edge, "y": [row["low"] for row in known]},
        {**edge, "y": [row["high"] for row in known], "fill": "tonexty", "fillcolor": faded(colour(place), 0.16)},
    ]


def _line(place: int, arm: str, x: Sequence[Any], y: Sequence[Any], what: str, **more: Any) -> dict[str, Any]:
    return {
        "legendgroup": arm, "type": "scatter", "mode": "lines", "x": list(x), "y": list(y), "name": escape(arm),
        "line": {"color": colour(place), "width": 2, "dash": dash(place), **more},
        "hovertemplate": f"{escape(arm)}, %{{x}} {what}<br>%{{y:.4g}}<extra></extra>",
    }  # fmt: skip


def difference(tuned: Tuned, found: Answer) -> Figure | None:
    """The difference of each arm to the first over the budget, up is better."""
    if not found.rows:
        return None
    pairs = list(dict.fromkeys(row["pair"] for row in found.rows))
    traces: list[dict[str, Any]] = []
    for number, pair in enumerate(pairs):
        own = [row for row in found.rows if row["pair"] == pair]
        place = next((at for at, arm in enumerate(tuned.arms) if at and pair.startswith(f"{arm} ")), number + 1)
        traces += _band(place, pair, own)
        traces.append(_line(place, pair, [row["budget"] for row in own], [row["difference"] for row in own],
                            "configurations"))  # fmt: skip
    zero = {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": 0, "y1": 0,
            "line": {"width": 1, "dash": "dot", "color": "#7d8590"}}  # fmt: skip
    layout = {"xaxis": axis("configurations tried, B"), "yaxis": axis("difference, up is better"), "shapes": [zero],
              "showlegend": True, "margin": MARGIN}  # fmt: skip
    told = []
    for pair in pairs:
        own = [row for row in found.rows if row["pair"] == pair]
        picked = [own[at] for at in sorted({0, len(own) // 4, len(own) // 2, len(own) - 1})]
        at = [f"{words.number(row['difference'], sign=True)} at B = {row['budget']}" for row in picked]
        told.append(f"{pair} {', '.join(at)}")
    return Figure(
        "difference", "Which arm is ahead at which budget",
        f"Difference of the expected best of B, up is better: {'; '.join(told)}.", spec_of(traces, **layout),
        ["pair", "budget", "difference", "low", "high"],
        [[row["pair"], row["budget"], row["difference"], row["low"], row["high"]] for row in found.rows],
        found.sql, 320, False, "The band holds for every B at once: the two arms' bands at half the error each.",
    )  # fmt: skip


def history(tuned: Tuned, found: Answer) -> Figure | None:
    """Every configuration in the order of the draws, and the best so far."""
    if not found.rows:
        return None
    traces: list[dict[str, Any]] = []
    for place, arm in enumerate(tuned.arms):
        own = [row for row in found.rows if row["arm"] == arm]
        told = [row for row in own if words.finite(row["value"]) is not None]
        traces.append(_line(place, arm, [row["number"] + 1 for row in own], [words.finite(row["best"]) for row in own],
                            "tried, the best so far", shape="hv"))  # fmt: skip
        traces.append({
            "legendgroup": arm, "type": "scatter", "mode": "markers", "showlegend": False,
            "x": [row["number"] + 1 for row in told], "y": [row["value"] for row in told],
            "customdata": [[row["number"], row["status"]] for row in told],
            "marker": {"size": 6, "color": faded(colour(place), 0.6), "symbol": place % 10},
            "hovertemplate": f"{escape(arm)}, configuration %{{customdata[0]}}, %{{customdata[1]}}<br>"
            "%{y:.4g}<extra></extra>",
        })  # fmt: skip
    lost = [f"{arm} {count}" for arm in tuned.arms
            if (count := sum(row["arm"] == arm and row["status"] == "diverged" for row in found.rows))]  # fmt: skip
    last = {row["arm"]: row["best"] for row in found.rows}
    ends = [f"{arm} {words.score(last[arm])}" for arm in tuned.arms if arm in last]
    layout = {"xaxis": axis("configurations tried"), "yaxis": axis(tuned.unit), "margin": MARGIN}
    return Figure(
        "history", "How the search went",
        f"{tuned.unit} of every configuration in the order of the draws, and the best so far: {words.listed(ends)}.",
        spec_of(traces, **layout), ["arm", "number", "status", "value", "best so far"],
        [[row["arm"], row["number"], row["status"], words.finite(row["value"]), words.finite(row["best"])]
         for row in found.rows],
        found.sql, 320, False, f"Diverged and not drawn: {words.listed(lost)}." if lost else "",
    )  # fmt: skip


def importance(tuned: Tuned, found: Answer) -> Figure | None:
    """What the outcome hangs on: shares by hyper-parameter."""
    if not found.rows:
        return None
    largest: dict[str, float] = {}
    for row in found.rows:
        largest[row["hyper_parameter"]] = max(row["share"], largest.get(row["hyper_parameter"], 0.0))
    keys = sorted(largest, key=lambda key: (largest[key], key))  # the axis begins at the bottom
    traces = []
    for place, arm in enumerate(tuned.arms):
        own = {row["hyper_parameter"]: row["share"] for row in found.rows if row["arm"] == arm}
        if own:
            traces.append({
                "type": "bar", "orientation": "h", "name": escape(arm), "y": [escape(key) for key in keys],
                "x": [100 * own[key] if key in own else None for key in keys], "marker": {"color": colour(place)},
                "hovertemplate": f"{escape(arm)}, %{{y}}: %{{x:.0f}} %<extra></extra>",
            })  # fmt: skip
    first = {row["arm"]: row for row in reversed(found.rows)}
    told = [f"{arm}: {first[arm]['hyper_parameter']} {100 * first[arm]['share']:.0f} %"
            for arm in tuned.arms if arm in first]  # fmt: skip
    layout = {"xaxis": axis("share, %", rangemode="tozero"), "yaxis": {"automargin": True, "showgrid": False},
              "barmode": "group", "showlegend": True, "margin": MARGIN}  # fmt: skip
    return Figure(
        "importance", "What matters", f"Importance of each hyper-parameter; the largest of {words.listed(told)}.",
        spec_of(traces, **layout), ["arm", "hyper-parameter", "share"],
        [[row["arm"], row["hyper_parameter"], row["share"]] for row in found.rows], found.sql,
        110 + 26 * len(keys) * max(1, len(traces)), False,
        "Shares of the variance among the better configurations (PED-ANOVA); few configurations tell little.",
    )  # fmt: skip


def _told(value: Any) -> str:
    """A setting's value in three digits."""
    return f"{value:.3g}".replace("-", words.MINUS) if words.finite(value) is not None else words.plain(value)


@dataclass(frozen=True)
class Scale:
    """Where a hyper-parameter's values lie between 0 and 1, and what stands at the ends."""

    low: str
    high: str
    places: Mapping[Any, float]


def scale_of(given: Sequence[Any], space: Mapping[str, Any] | None) -> Scale:
    """Choices evenly apart; numbers by their logarithm where the range says so or is wide."""
    distinct = sorted(set(given), key=lambda value: (isinstance(value, str), value))
    numbers = [value for value in distinct if isinstance(value, int | float) and math.isfinite(value)]
    choices = (space or {}).get("choices")
    if choices is not None or len(numbers) < len(distinct):
        ends = max(1, len(distinct) - 1)
        places = {value: at / ends for at, value in enumerate(distinct)}
        return Scale(_told(distinct[0]), _told(distinct[-1]), places)
    low, high = (space or {}).get("low", numbers[0]), (space or {}).get("high", numbers[-1])
    low, high = min(low, numbers[0]), max(high, numbers[-1])
    logarithmic = low > 0 and ((space or {}).get("log") or high / low > WIDE)
    shape = math.log if logarithmic else float
    width = (shape(high) - shape(low)) or 1.0
    return Scale(words.number(low), words.number(high), {v: (shape(v) - shape(low)) / width for v in numbers})


def parallel(tuned: Tuned, arm: str, weights: Mapping[str, float]) -> Figure | None:
    """Every configuration as a line down the hyper-parameters to its value; the best quarter in colour."""
    rows = tuned.of(arm)
    keys = sorted({key for row in rows for key in row["params"] or {}}, key=lambda key: (-weights.get(key, 0.0), key))
    if len(rows) < 4 or len(keys) < 2:
        return None
    place = list(tuned.arms).index(arm)
    sign = -1.0 if tuned.better == "lower" else 1.0
    ranked = sorted(rows, key=lambda row: -sign * row["value"])
    best = {row["number"] for row in ranked[: max(1, round(QUARTER * len(rows)))]}
    scales = {key: scale_of([row["params"][key] for row in rows if key in row["params"]],
                            tuned.spaces.get(arm, {}).get(key)) for key in keys}  # fmt: skip
    values = scale_of([row["value"] for row in rows], {"low": min(row["value"] for row in rows)})
    traces = []
    for inside, name in ((False, "the others"), (True, "the best quarter")):
        own = [row for row in rows if (row["number"] in best) is inside]
        traces.append(_lines(own, keys, scales, values, name, colour(place) if inside else faded("#7d8590", 0.35),
                             2.0 if inside else 1.0))  # fmt: skip
    labels = [(key, scales[key].low, scales[key].high) for key in keys] + [(tuned.unit, values.low, values.high)]
    return Figure(
        f"parallel-{slug(arm)}", f"Where {arm}'s good configurations lie",
        f"{words.count(len(rows), 'configuration')} of {arm} as lines down {words.listed(list(keys))} to {tuned.unit}. "
        f"The best: {words.plain(ranked[0]['params'])}.",
        spec_of(traces, **_axes(labels)), ["configuration", *keys, "value"],
        [[row["number"], *(row["params"].get(key) for key in keys), row["value"]] for row in rows],
        tuned.points_sql, 110 + 58 * len(labels), False, "The most important hyper-parameter stands at the top.",
    )  # fmt: skip


def _lines(
    rows: Sequence[Row], keys: Sequence[str], scales: Mapping[str, Scale], values: Scale, name: str, tint: str,
    width: float,
) -> dict[str, Any]:  # fmt: skip
    x: list[float | None] = []
    y: list[int | None] = []
    told: list[list[Any] | None] = []
    for row in rows:
        for at, key in enumerate(keys):
            if key in row["params"]:
                x.append(scales[key].places[row["params"][key]])
                y.append(at)
                told.append([row["number"], escape(f"{key} {_told(row['params'][key])}")])
        x += [values.places[row["value"]], None]
        y += [len(keys), None]
        told += [[row["number"], words.score(row["value"])], None]
    return {
        "type": "scatter", "mode": "lines+markers", "name": name, "x": x, "y": y, "customdata": told,
        "line": {"color": tint, "width": width}, "marker": {"size": 4, "color": tint}, "connectgaps": False,
        "hovertemplate": "configuration %{customdata[0]}<br>%{customdata[1]}<extra></extra>",
    }  # fmt: skip


def _axes(labels: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """One horizontal axis a hyper-parameter, its name above it and its ends below: it reads on a phone."""
    notes = []
    for at, (name, low, high) in enumerate(labels):
        small = {"y": at, "showarrow": False, "yanchor": "top", "yshift": -3, "font": {"size": 10.5}}
        notes += [
            {"x": 0, "y": at, "text": escape(words.short(name, 44)), "showarrow": False, "xanchor": "left",
             "yanchor": "bottom", "yshift": 3, "font": {"size": 11.5}},
            {**small, "x": 0, "text": escape(low), "xanchor": "left"},
            {**small, "x": 1, "text": escape(high), "xanchor": "right"},
        ]  # fmt: skip
    rules = [{"type": "line", "x0": 0, "x1": 1, "y0": at, "y1": at, "line": {"width": 1, "color": "#7d8590"},
              "layer": "below"} for at in range(len(labels))]  # fmt: skip
    quiet = {"showticklabels": False, "showgrid": False, "zeroline": False, "showline": False, "ticks": ""}
    return {
        "xaxis": {**quiet, "range": [-0.02, 1.02]}, "yaxis": {**quiet, "range": [len(labels) - 0.55, -0.6]},
        "annotations": notes, "shapes": rules, "showlegend": True, "margin": {"l": 8, "r": 12, "t": 30, "b": 8},
    }  # fmt: skip


def slices(tuned: Tuned) -> list[Figure]:
    """Each hyper-parameter against the value it reached; the chosen configurations ringed."""
    given: dict[str, list[tuple[str, int, Any, float]]] = defaultdict(list)
    for arm in tuned.arms:
        for row in tuned.of(arm):
            for key, value in (row["params"] or {}).items():
                given[key].append((arm, row["number"], value, row["value"]))
    return [figure for key, rows in sorted(given.items()) if (figure := _slice(tuned, key, rows)) is not None]


def _slice(tuned: Tuned, key: str, rows: Sequence[tuple[str, int, Any, float]]) -> Figure | None:
    distinct = sorted({row[2] for row in rows}, key=lambda value: (isinstance(value, str), value))
    if len(distinct) < 2:
        return None
    spaces = [space[key] for space in tuned.spaces.values() if key in space]
    numbers = [found for value in distinct if (found := words.finite(value)) is not None]
    categories = len(numbers) < len(distinct) or any(one.get("choices") for one in spaces)
    traces = []
    for place, arm in enumerate(tuned.arms):
        own = [row for row in rows if row[0] == arm]
        if own:
            ringed = [row[1] == tuned.chosen.get(arm) for row in own]
            traces.append({
                "type": "scatter", "mode": "markers", "name": escape(arm), "y": [row[3] for row in own],
                "x": [escape(_told(row[2])) if categories else row[2] for row in own],
                "customdata": [[row[1], escape(_told(row[2]))] for row in own],
                "marker": {"size": [13 if ring else 8 for ring in ringed], "color": colour(place), "symbol": place % 10,
                           "line": {"width": [2.5 if ring else 0 for ring in ringed], "color": "#7d8590"}},
                "hovertemplate": f"{escape(arm)}, configuration %{{customdata[0]}}<br>"
                f"{escape(key)} %{{customdata[1]}}: %{{y:.4g}}<extra></extra>",
            })  # fmt: skip
    if categories:
        sideways = axis(key, type="category", categoryorder="array",
                        categoryarray=[escape(_told(value)) for value in distinct])  # fmt: skip
    else:
        low, high = numbers[0], numbers[-1]
        wide = low > 0 and (high / low > WIDE or any(one.get("log") for one in spaces))
        sideways = axis(key, type="log" if wide else "linear")
    ends = f"{_told(distinct[0])} to {_told(distinct[-1])}"
    return Figure(
        f"setting-{slug(key)}", f"Sensitivity to {key}",
        f"{words.count(len(rows), 'configuration')} of {words.count(len(traces), 'arm')}: {tuned.unit} against {key}, "
        f"{ends}; the chosen ones are ringed.",
        spec_of(traces, xaxis=sideways, yaxis=axis(tuned.unit), showlegend=True, margin=MARGIN),
        ["arm", "configuration", key, "value"], rows, tuned.points_sql, 320,
    )  # fmt: skip
