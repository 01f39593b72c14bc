"""The figures of a benchmark: paired seeds, differences, curves, dose and gain."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from reports import formatting
from reports.data.ablations import Ablation, ArmComparison
from reports.data.outputs import Confusion, confusions_of
from reports.data.sql import Answer, grouped
from reports.data.suite_results import BenchmarkResults
from reports.figures import figure
from reports.figures.figure import GREY, NO_LEGEND, Plot, Table, axis, colour, dots, drawing, escape, line, trace
from reports.links import slug

MOST_ACROSS = 6
"""Arms whose names fit below a drawing; more are listed at its side."""
MOST_LINES = 8
"""Arms that are drawn as lines; more are a tangle."""
WRITTEN_CLASSES = 12
"""Up to so many classes every cell shows its number."""
FEW_POINTS = 30
"""Series of fewer points get a mark at each, so that a single one shows."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The arms that the figures share; ``leading`` are drawn where not all can be."""

    arms: Sequence[str]
    leading: Sequence[str] = ()
    stand_in: str = ""

    def place(self, arm: str) -> int:
        """An arm's place, which gives its colour, line and symbol."""
        return self.arms.index(arm)

    def drawn(self, arms: Sequence[str]) -> list[str]:
        """Those of some arms that a drawing of lines can hold: leading ones, then others, in the suite's order."""
        ranked = [arm for arm in self.leading if arm in arms] + [arm for arm in arms if arm not in self.leading]
        return [arm for arm in arms if arm in ranked[:MOST_LINES]]


def paired_seeds(compared: Compared, metric: str, unit: str, answer: Answer) -> Plot | None:
    """Every trial as a dot, seeds connected, a bar at each mean."""
    values = {(row["arm"], row["seed"]): formatting.finite(row["value"]) for row in answer.rows}
    shown = [arm for arm in compared.arms if any(arm == existing for existing, _ in values)]
    seeds = sorted({seed for _, seed in values})
    if not shown:
        return None
    places, means = list(range(len(shown))), []
    many = len(shown) > MOST_ACROSS
    along, value = ("y", "x") if many else ("x", "y")
    traces = [
        figure.trace(
            go.Scatter,
            **{along: places, value: [values.get((arm, seed)) for arm in shown]},
            mode="lines",
            showlegend=False,
            hoverinfo="skip",
            hovertemplate="" if many else None,
            line={"color": "rgba(125,133,144,0.45)", "width": 1},
        )
        for seed in seeds
    ]
    for place, arm in enumerate(shown):
        own = [(seed, existing) for seed in seeds if (existing := values.get((arm, seed))) is not None]
        means.append(sum(existing for _, existing in own) / len(own) if own else None)
        traces.append(
            dots(
                f"%{{customdata[1]}}, seed %{{customdata[0]}}<br>%{{{value}:.4g}}",
                name=arm,
                showlegend=False,
                **{along: [place] * len(own), value: [existing for _, existing in own]},
                customdata=[[seed, arm] for seed, _ in own],
                marker={"size": 8, "color": colour(compared.place(arm))},
            )
        )
    bar = {"symbol": "line-ns-open", "size": 16} if many else {"symbol": "line-ew-open", "size": 26}
    traces.append(
        dots(
            f"mean %{{{value}:.4g}}",
            **{along: places, value: means},
            showlegend=False,
            marker={**bar, "color": GREY, "line": {"width": 2.5}},
        )
    )
    names = {"tickvals": places, "ticktext": [escape(arm) for arm in shown], "showgrid": False, "zeroline": False}
    names |= {"automargin": True} | ({"autorange": "reversed"} if many else {"range": [-0.5, len(shown) - 0.5]})
    axes = {f"{along}axis": names, f"{value}axis": axis(f"{metric}, {unit}")}
    message = [f"{arm} {formatting.score(mean)}" for arm, mean in zip(shown, means, strict=True) if mean is not None]
    return Plot(
        f"pairs-{slug(metric)}",
        f"{metric}: paired seeds",
        f"{metric} in {unit} of {formatting.count(len(shown), 'arm')} over "
        f"{formatting.count(len(seeds), 'seed')}, means {formatting.listed(message)}. Lines join trials of one seed.",
        Table.of(answer, "arm", "seed", "value"),
        compared.stand_in,
        drawing=drawing(traces, **axes, margin={"l": 8, "r": 12, "t": 12, "b": 30}),
        height=80 + 26 * len(shown) if many else 320,
    )


def differences(
    name: str, title: str, contrasts: Sequence[ArmComparison], sql: str, stand_in: str, note: str
) -> Plot | None:
    """Differences with intervals, a line each, with the seeds as dots; None without any."""
    if not contrasts:
        return None
    unit, many = contrasts[0].unit, len(contrasts)
    labels = [
        {
            "x": 0,
            "xref": "paper",
            "y": place - 0.38,
            "text": escape(formatting.short(contrast.label, 64)),
            "showarrow": False,
            "xanchor": "left",
            "font": {"size": 11.5},
        }
        for place, contrast in enumerate(contrasts)
    ]
    message = [
        f"{item.label} {formatting.number(item.difference, sign=True)} {formatting.interval(item.low, item.high)}"
        for item in contrasts[:6]
    ]
    rows = [[item.label, item.n, item.difference, item.low, item.high] for item in contrasts]
    traces = [trace for place, contrast in enumerate(contrasts) for trace in _difference(place, contrast)]
    across = axis(f"difference, {unit}" if unit else "difference")
    lines = {"range": [many - 0.45, -0.8], "showticklabels": False, "showgrid": False, "zeroline": False}
    layout = {"annotations": labels, "shapes": [figure.zero_line("y")], "margin": figure.NO_LEGEND}
    return Plot(
        f"differences-{name}",
        title,
        f"{title}, with 95 % intervals: {'; '.join(message)}{' …' if many > 6 else ''}.",
        Table(["comparison", "n", "difference", "low", "high"], rows, sql),
        stand_in,
        note,
        drawing=drawing(traces, across, lines, **layout),
        height=90 + 46 * many,
    )


def ablation_differences(bench: BenchmarkResults, rows: Sequence[Ablation]) -> Plot | None:
    """The differences that a benchmark's ablations make, the largest first."""
    if not rows:
        return None
    ranked = sorted(rows, key=lambda row: -abs(row.difference))
    note = "Exploratory: unadjusted paired t intervals; right = the ablation is better than the arm it changes."
    title = f"Ablations on {bench.title}: {ranked[0].metric}"
    return differences(f"ablation-{slug(bench.name)}", title, ranked, ranked[0].sql, bench.stand_in_name, note)


def _difference(place: int, contrast: ArmComparison) -> tuple[dict[str, Any], dict[str, Any]]:
    """Dots of the seeds, and the estimate with its interval."""
    tint, symbol = figure.TONES[contrast.tone]
    seeds = [
        (seed, existing) for seed, value in contrast.seeds.items() if (existing := formatting.finite(value)) is not None
    ]
    low, high = formatting.finite(contrast.low), formatting.finite(contrast.high)
    ends = {
        "array": [None if high is None else high - contrast.difference],
        "arrayminus": [None if low is None else contrast.difference - low],
    }
    return (
        dots(
            "seed %{customdata[0]}: %{x:.3g}",
            showlegend=False,
            x=[existing for _, existing in seeds],
            y=[place + 0.2] * len(seeds),
            customdata=[[seed] for seed, _ in seeds],
            marker={"size": 6, "color": figure.faded(GREY, 0.75)},
        ),
        dots(
            "%{x:.3g} %{customdata[0]}<br>n = %{customdata[1]}",
            showlegend=False,
            x=[contrast.difference],
            y=[place],
            customdata=[[formatting.interval(low, high), contrast.n or 0]],
            marker={"size": 10, "color": tint, "symbol": symbol, "line": {"width": 2, "color": tint}},
            error_x={"type": "data", "symmetric": False, "color": tint, "thickness": 2, "width": 4, **ends},
        ),
    )


def curve(compared: Compared, split: str, series: str, answer: Answer) -> Plot | None:
    """A series over the steps of the leading arms: the mean over seeds as a line, their range as a band."""
    by_arm = grouped(answer.rows, "arm")
    if not by_arm:
        return None
    traces: list[dict[str, Any]] = []
    shown = compared.drawn([arm for arm in compared.arms if arm in by_arm])
    for arm in shown:
        place, own = compared.place(arm), by_arm[arm]
        steps, means, lows, highs = ([row[key] for row in own] for key in ("step", "mean", "low", "high"))
        if any(row["trials"] > 1 for row in own):
            traces += figure.band(place, arm, steps, lows, highs)
        mode = "lines" if len(steps) > FEW_POINTS else "lines+markers"
        traces.append(line(place, arm, steps, means, "step %{x:.0f}<br>%{y:.4g}", legendgroup=arm, mode=mode))
    ends = [f"{arm} {formatting.score(by_arm[arm][-1]['mean'])}" for arm in shown]
    return Plot(
        f"curve-{slug(f'{split}-{series}')}",
        f"{series}, {split}",
        f"{series} on {split} against the training step; at the end {formatting.listed(ends)}. "
        "Lines are means over seeds, bands reach from the lowest to the highest seed.",
        Table.of(answer, "arm", "step", "mean", "low", "high", "trials"),
        compared.stand_in,
        _some(len(shown), len(by_arm)),
        drawing=drawing(traces, axis("step"), axis(series.removeprefix("mechanism."))),
        height=300,
    )


def _some(shown: int, every: int) -> str:
    return f"{shown} of {formatting.count(every, 'arm')} drawn; the CSV has all." if shown < every else ""


def best_so_far(compared: Compared, metric: str, unit: str, answer: Answer) -> Plot | None:
    """Best validation score so far over training time, mean over seeds."""
    by_arm = grouped(answer.rows, "arm")
    every = [arm for arm in compared.arms if arm in by_arm]
    shown = compared.drawn(every)
    if not shown or not any(formatting.finite(row["seconds"]) for row in answer.rows):
        return None
    traces = []
    for arm in shown:
        seconds, means = ([row[key] for row in by_arm[arm]] for key in ("seconds", "mean"))
        traces.append(line(compared.place(arm), arm, seconds, means, "%{x:.3g} s<br>%{y:.4g}", line={"shape": "hv"}))
    ends = [f"{arm} {formatting.score(by_arm[arm][-1]['mean'])}" for arm in shown]
    return Plot(
        "best-so-far",
        f"Best {metric} over time",
        f"Best {metric} ({unit}) on validation against the seconds of training, mean over seeds; at the "
        f"end {formatting.listed(ends)}.",
        Table.of(answer, "arm", "step", "seconds", "mean", "low", "high", "trials"),
        compared.stand_in,
        "Seconds of trials that ran side by side, a guide only: runs with --exclusive measure time. "
        + _some(len(shown), len(every)),
        drawing=drawing(traces, axis("seconds of training", rangemode="tozero"), axis(f"{metric}, {unit}")),
        height=300,
    )


def confusion_figures(answer: Answer, arms: Sequence[str], stand_in: str) -> list[Plot]:
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
        f"{arm}: confusion matrix",
        f"Confusion matrix of {arm} over {formatting.count(confusion.seeds, 'seed')}, percent of each true class; "
        f"{confusion.right:.1f} % of the items are right. {message or 'No mistake'}.",
        Table(["arm", "true", "predicted", "items", "percent"], rows, statement),
        stand_in,
        f"Most frequent mistakes: {message}." if message else "",
        drawing=drawing([cells], across, down, margin=NO_LEGEND),
        height=400 if few else 460,
    )
