"""The figures of a benchmark: paired seeds, differences, curves, dose and gain."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reports import words
from reports.figure import TONES, Figure, axis, colour, dash, escape, faded, spec_of
from reports.reading import Row

MOST_ACROSS = 6
"""Arms whose names fit below a drawing; more stand beside it."""
MOST_LINES = 8
"""Arms that are drawn as lines; more are a tangle."""
FEW_POINTS = 30
"""Series of fewer points get a mark at each, so that a single one shows."""


def paired_seeds(name: str, metric: str, unit: str, arms: Sequence[str], rows: Sequence[Row], sql: str,
                 hatched: bool) -> Figure | None:  # fmt: skip
    """Every trial as a dot, the dots of one seed connected, a bar at each arm's mean."""
    values = {(row["arm"], row["seed"]): words.finite(row["value"]) for row in rows}
    shown = [arm for arm in arms if any((arm, row["seed"]) in values for row in rows)]
    seeds = sorted({row["seed"] for row in rows})
    if not shown or not seeds:
        return None
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "x": list(range(len(shown))), "showlegend": False, "hoverinfo": "skip",
            "y": [values.get((arm, seed)) for arm in shown], "line": {"color": "rgba(125,133,144,0.45)", "width": 1},
        }
        for seed in seeds
    ]  # fmt: skip
    means = []
    for place, arm in enumerate(shown):
        own = [(seed, found) for seed in seeds if (found := values.get((arm, seed))) is not None]
        mean = sum(found for _, found in own) / len(own) if own else None
        means.append(mean)
        traces.append({
            "type": "scatter", "mode": "markers", "showlegend": False, "name": arm,
            "x": [place] * len(own), "y": [found for _, found in own], "customdata": [[seed, arm] for seed, _ in own],
            "marker": {"size": 8, "color": colour(arms.index(arm))},
            "hovertemplate": "%{customdata[1]}, seed %{customdata[0]}<br>%{y:.4g}<extra></extra>",
        })  # fmt: skip
    traces.append({
        "type": "scatter", "mode": "markers", "x": list(range(len(shown))), "y": means, "showlegend": False,
        "marker": {"symbol": "line-ew-open", "size": 26, "color": "#7d8590", "line": {"width": 2.5}},
        "hovertemplate": "mean %{y:.4g}<extra></extra>",
    })  # fmt: skip
    told = [f"{arm} {words.score(mean)}" for arm, mean in zip(shown, means, strict=True) if mean is not None]
    layout: dict[str, Any] = {
        "xaxis": {"tickvals": list(range(len(shown))), "ticktext": [escape(arm) for arm in shown], "showgrid": False,
                  "zeroline": False, "automargin": True, "range": [-0.5, len(shown) - 0.5]},
        "yaxis": axis(f"{metric}, {unit}"),
        "margin": {"l": 8, "r": 12, "t": 12, "b": 30},
    }  # fmt: skip
    if many := len(shown) > MOST_ACROSS:
        layout = {**layout, "xaxis": layout["yaxis"], "yaxis": {**layout["xaxis"], "autorange": "reversed"}}
        layout["yaxis"].pop("range")
        for trace in traces:
            trace["x"], trace["y"] = trace["y"], trace["x"]
            trace["hovertemplate"] = str(trace.get("hovertemplate", "")).replace("%{y", "%{x")
        traces[-1]["marker"] |= {"symbol": "line-ns-open", "size": 16}
    return Figure(
        f"pairs-{name}",
        f"{metric}: paired seeds",
        f"{metric} in {unit} of {words.count(len(shown), 'arm')} over {words.count(len(seeds), 'seed')}, "
        f"means {words.listed(told)}. Lines join the trials of one seed.",
        spec_of(traces, **layout),
        ["arm", "seed", "value"],
        [[row["arm"], row["seed"], row["value"]] for row in rows],
        sql,
        80 + 26 * len(shown) if many else 320,
        hatched,
    )


def differences(name: str, title: str, unit: str, entries: Sequence[Mapping[str, Any]], sql: str, hatched: bool,
                note: str = "") -> Figure | None:  # fmt: skip
    """Differences with intervals, one line each, the seeds' own differences as small dots.

    ``entries`` have ``label, difference, low, high, n, seeds`` (differences by seed), ``tone``.
    """
    kept = [entry for entry in entries if words.finite(entry.get("difference")) is not None]
    if not kept:
        return None
    traces: list[dict[str, Any]] = []
    for place, entry in enumerate(kept):
        tint, symbol = TONES.get(str(entry.get("tone")), TONES["open"])
        middle, low, high = (words.finite(entry.get(key)) for key in ("difference", "low", "high"))
        seeds = [(seed, found) for seed, value in (entry.get("seeds") or {}).items()
                 if (found := words.finite(value)) is not None]  # fmt: skip
        traces.append({
            "type": "scatter", "mode": "markers", "showlegend": False, "x": [found for _, found in seeds],
            "y": [place + 0.2] * len(seeds), "customdata": [[seed] for seed, _ in seeds],
            "marker": {"size": 6, "color": faded("#7d8590", 0.75)},
            "hovertemplate": "seed %{customdata[0]}: %{x:.3g}<extra></extra>",
        })  # fmt: skip
        traces.append({
            "type": "scatter", "mode": "markers", "showlegend": False, "x": [middle], "y": [place],
            "marker": {"size": 10, "color": tint, "symbol": symbol, "line": {"width": 2, "color": tint}},
            "error_x": {"type": "data", "symmetric": False, "array": [_gap(high, middle)],
                        "arrayminus": [_gap(middle, low)], "color": tint, "thickness": 2, "width": 4},
            "customdata": [[words.interval(low, high), entry.get("n") or 0]],
            "hovertemplate": "%{x:.3g} %{customdata[0]}<br>n = %{customdata[1]}<extra></extra>",
        })  # fmt: skip
    layout = {
        "xaxis": axis(f"difference, {unit}" if unit else "difference"),
        "yaxis": {"range": [len(kept) - 0.45, -0.8], "showticklabels": False, "showgrid": False, "zeroline": False},
        "annotations": [
            {"x": 0, "xref": "paper", "y": place - 0.38, "text": escape(words.short(str(entry["label"]), 64)),
             "showarrow": False, "xanchor": "left", "font": {"size": 11.5}}
            for place, entry in enumerate(kept)
        ],
        "shapes": [{"type": "line", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "yref": "paper",
                    "line": {"width": 1, "dash": "dot", "color": "#7d8590"}}],
    }  # fmt: skip
    told = [f"{entry['label']} {words.number(entry['difference'], sign=True)} "
            f"{words.interval(entry.get('low'), entry.get('high'))}" for entry in kept[:6]]  # fmt: skip
    rows = [[entry["label"], entry.get("n"), entry["difference"], entry.get("low"), entry.get("high")]
            for entry in kept]  # fmt: skip
    return Figure(
        f"differences-{name}",
        title,
        f"{title}, with 95 % intervals: {'; '.join(told)}{' …' if len(kept) > 6 else ''}.",
        spec_of(traces, **layout),
        ["comparison", "n", "difference", "low", "high"],
        rows,
        sql,
        90 + 46 * len(kept),
        hatched,
        note,
    )


def _gap(upper: float | None, lower: float | None) -> float | None:
    return None if upper is None or lower is None else upper - lower


def curve(name: str, series: str, split: str, arms: Sequence[str], rows: Sequence[Row], sql: str,
          hatched: bool, first: Sequence[str] = ()) -> Figure | None:  # fmt: skip
    """A series over the steps: the mean over seeds as a line, the range over seeds as a band.

    Of many arms those named ``first`` are drawn; the numbers of all are beside the drawing.
    """
    by_arm: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_arm[row["arm"]].append(row)
    if not by_arm:
        return None
    traces: list[dict[str, Any]] = []
    shown = drawn([arm for arm in arms if arm in by_arm], first)
    for arm in shown:
        place, own = arms.index(arm), by_arm[arm]
        steps = [row["step"] for row in own]
        mode = "lines" if len(steps) > FEW_POINTS else "lines+markers"
        group = {"legendgroup": arm, "x": steps, "type": "scatter", "mode": mode}
        if any(row["trials"] > 1 for row in own):
            edge = {"width": 0, "color": colour(place)}
            band = {"mode": "lines", "showlegend": False, "hoverinfo": "skip", "line": edge}
            traces.append({**group, **band, "y": [row["low"] for row in own]})
            traces.append({**group, **band, "y": [row["high"] for row in own], "fill": "tonexty",
                           "fillcolor": faded(colour(place), 0.16)})  # fmt: skip
        traces.append({
            **group, "y": [row["mean"] for row in own], "name": escape(arm),
            "line": {"color": colour(place), "width": 2, "dash": dash(place)},
            "hovertemplate": f"{escape(arm)}, step %{{x:.0f}}<br>%{{y:.4g}}<extra></extra>",
        })  # fmt: skip
    layout = {"xaxis": axis("step"), "yaxis": axis(series.removeprefix("mechanism.")),
              "margin": {"l": 8, "r": 12, "t": 30, "b": 40}}  # fmt: skip
    ends = [f"{arm} {words.score(by_arm[arm][-1]['mean'])}" for arm in shown]
    return Figure(
        f"curve-{name}",
        f"{series}, {split}",
        f"{series} on {split} against the training step; at the end {words.listed(ends)}. "
        "Lines are means over seeds, bands reach from the lowest to the highest seed.",
        spec_of(traces, **layout),
        ["arm", "step", "mean", "low", "high", "trials"],
        [[row["arm"], row["step"], row["mean"], row["low"], row["high"], row["trials"]] for row in rows],
        sql,
        300,
        hatched,
        _some(len(shown), len(by_arm)),
    )


def drawn(arms: Sequence[str], first: Sequence[str]) -> list[str]:
    """The arms that a drawing of lines can hold: those that come first, then others, in the order of the suite."""
    ranked = [arm for arm in first if arm in arms] + [arm for arm in arms if arm not in first]
    return [arm for arm in arms if arm in ranked[:MOST_LINES]]


def _some(shown: int, every: int) -> str:
    return f"{shown} of {words.count(every, 'arm')} drawn; the CSV has all." if shown < every else ""


def best_so_far(metric: str, unit: str, arms: Sequence[str], rows: Sequence[Row], sql: str,
                hatched: bool, first: Sequence[str]) -> Figure | None:  # fmt: skip
    """The best score on validation until a moment, over the seconds of training: means over seeds."""
    every = [arm for arm in arms if any(row["arm"] == arm for row in rows)]
    shown = drawn(every, first)
    if not shown or not any(words.finite(row["seconds"]) for row in rows):
        return None
    traces = []
    for arm in shown:
        own, place = [row for row in rows if row["arm"] == arm], arms.index(arm)
        traces.append({
            "type": "scatter", "mode": "lines", "name": escape(arm), "x": [row["seconds"] for row in own],
            "y": [row["mean"] for row in own],
            "line": {"color": colour(place), "width": 2, "dash": dash(place), "shape": "hv"},
            "hovertemplate": f"{escape(arm)}, %{{x:.3g}} s<br>%{{y:.4g}}<extra></extra>",
        })  # fmt: skip
    ends = [f"{arm} {words.score([row for row in rows if row['arm'] == arm][-1]['mean'])}" for arm in shown]
    return Figure(
        "best-so-far",
        f"Best {metric} so far over time",
        f"Best {metric} ({unit}) on validation against the seconds of training, mean over seeds; at the end "
        f"{words.listed(ends)}.",
        spec_of(traces, xaxis=axis("seconds of training", rangemode="tozero"), yaxis=axis(f"{metric}, {unit}"),
                margin={"l": 8, "r": 12, "t": 30, "b": 40}),
        ["arm", "step", "seconds", "mean", "low", "high", "trials"],
        [[row[key] for key in ("arm", "step", "seconds", "mean", "low", "high", "trials")] for row in rows],
        sql,
        300,
        hatched,
        "Seconds of trials that ran side by side, a guide only: runs with --exclusive measure time. "
        + _some(len(shown), len(every)),
    )  # fmt: skip


def dose(name: str, mechanism: str, metric: str, unit: str, arms: Sequence[str], doses: Mapping[tuple[str, int], float],
         scores: Mapping[tuple[str, int], float], sql: str, hatched: bool,
         first: Sequence[str] = ()) -> Figure | None:  # fmt: skip
    """The mechanism's quantity against the score, one dot a trial: does the dose predict the gain?"""
    both = sorted(cell for cell in doses if cell in scores)
    if len({doses[cell] for cell in both}) < 3:
        return None
    traces = []
    known = [arm for arm in arms if any(cell[0] == arm for cell in both)]
    named = drawn(known, first)
    for arm in named:
        own, place = [cell for cell in both if cell[0] == arm], arms.index(arm)
        traces.append(_dots(escape(arm), own, doses, scores, {"color": colour(place), "symbol": place % 10}))
    if rest := [cell for cell in both if cell[0] not in named]:
        traces.append(_dots("others", rest, doses, scores, {"color": faded("#7d8590", 0.5), "symbol": "circle"}))
    rank = spearman([doses[cell] for cell in both], [scores[cell] for cell in both])
    layout = {"xaxis": axis(mechanism.removeprefix("mechanism.")), "yaxis": axis(f"{metric}, {unit}"),
              "margin": {"l": 8, "r": 12, "t": 30, "b": 40}}  # fmt: skip
    return Figure(
        f"dose-{name}",
        f"Dose and score: {mechanism.removeprefix('mechanism.')} against {metric}",
        f"{mechanism} against {metric} ({unit}), {words.count(len(both), 'trial')} of "
        f"{words.count(len(known), 'arm')}; rank correlation over all trials {words.number(rank)}.",
        spec_of(traces, **layout),
        ["arm", "seed", mechanism, metric],
        [[arm, seed, doses[arm, seed], scores[arm, seed]] for arm, seed in both],
        sql,
        320,
        hatched,
        "Exploratory: arms differ in more than the dose.",
    )


def _dots(name: str, cells: Sequence[tuple[str, int]], doses: Mapping[tuple[str, int], float],
          scores: Mapping[tuple[str, int], float], marker: Mapping[str, Any]) -> dict[str, Any]:  # fmt: skip
    return {
        "type": "scatter", "mode": "markers", "name": name, "x": [doses[cell] for cell in cells],
        "y": [scores[cell] for cell in cells], "customdata": [[escape(arm), seed] for arm, seed in cells],
        "marker": {"size": 9, **marker},
        "hovertemplate": "%{customdata[0]}, seed %{customdata[1]}<br>%{x:.4g} → %{y:.4g}<extra></extra>",
    }  # fmt: skip


def cost(metric: str, unit: str, arms: Sequence[str], costs: Sequence[Row], means: Mapping[str, float], sql: str,
         hatched: bool) -> Figure | None:  # fmt: skip
    """Time a step against the mean score, one mark an arm: is the gain worth its price?"""
    rows = [(row["arm"], words.finite(row["step_ms"]), means.get(row["arm"])) for row in costs]
    shown = [(arm, price, score) for arm, price, score in rows if price is not None and score is not None]
    if len(shown) < 2:
        return None
    traces = [
        {
            "type": "scatter", "mode": "markers", "name": escape(arm), "x": [price], "y": [score],
            "marker": {"size": 11, "color": colour(arms.index(arm)), "symbol": arms.index(arm) % 10},
            "hovertemplate": f"{escape(arm)}: %{{x:.3g}} ms a step, %{{y:.4g}}<extra></extra>",
        }
        for arm, price, score in shown
    ]  # fmt: skip
    layout = {"xaxis": axis("time a step, ms", rangemode="tozero"), "yaxis": axis(f"{metric}, {unit}"),
              "margin": {"l": 8, "r": 12, "t": 30, "b": 40}}  # fmt: skip
    told = [f"{arm} {words.number(price)} ms and {words.score(score)}" for arm, price, score in shown]
    return Figure(
        "cost-and-score",
        f"Cost against {metric}",
        f"Median time a step against mean {metric} ({unit}): {'; '.join(told)}.",
        spec_of(traces, **layout),
        ["arm", "step_ms", metric],
        [list(row) for row in shown],
        sql,
        300,
        hatched,
    )


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Rank correlation, ties at their mean rank; NaN where one side is constant."""
    ranks = np.array([_ranks(x), _ranks(y)])
    return float(np.corrcoef(ranks)[0, 1]) if ranks.std(axis=1).all() else float("nan")


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1; equal values share the mean of theirs."""
    order = sorted(values)
    first = {value: place for place, value in reversed(list(enumerate(order, 1)))}
    counts = Counter(order)
    return [first[value] + (counts[value] - 1) / 2 for value in values]
