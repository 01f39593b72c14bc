"""Which class is taken for which, as heat maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from reports import formatting
from reports.data.outputs import Confusion, confusions_of
from reports.data.sql import Answer
from reports.figures.figure import Plot, drawing, escape
from reports.links import slug

WRITTEN_CLASSES = 12
"""Up to so many classes every cell shows its number."""


def confusion_figures(answer: Answer, arms: Sequence[str], hatched: bool) -> list[Plot]:
    """One heat map an arm: rows are true classes, in percent of each."""
    return [_heat_map(confusion, answer.sql, hatched) for confusion in confusions_of(answer.rows, arms)]


def _heat_map(confusion: Confusion, sql: str, hatched: bool) -> Plot:
    arm, classes, counts, shares = confusion.arm, confusion.classes, confusion.counts, confusion.shares
    few = len(classes) <= WRITTEN_CLASSES
    names = [escape(formatting.short(name, 18)) for name in classes]
    trace = go.Heatmap(
        z=shares.tolist(), x=names, y=names, colorscale="Cividis", zmin=0, zmax=100, xgap=int(few), ygap=int(few),
        colorbar={"thickness": 8, "outlinewidth": 0, "title": {"text": "%"}},
        hovertemplate="%{y} taken for %{x}: %{z:.3g} %<extra></extra>",
    )  # fmt: skip
    if few:
        trace.text = [[f"{cell:.0f}" if cell >= 0.5 else "" for cell in row] for row in shares]
        trace.texttemplate = "%{text}"
    told = "; ".join(f"{true} is taken for {said} in {share:.0f} %" for true, said, share in confusion.worst)
    return Plot(
        f"confusion-{slug(arm)}",
        f"{arm}: which class is taken for which",
        f"Confusion matrix of {arm} over {formatting.count(confusion.seeds, 'seed')}, percent of each true class; "
        f"{confusion.right:.1f} % of the items are right. {told or 'No mistake'}.",
        ["arm", "true", "predicted", "items", "percent"],
        [
            [arm, classes[t], classes[p], int(counts[t, p]), float(shares[t, p])]
            for t, p in zip(*np.nonzero(counts), strict=True)
        ],
        sql,
        hatched,
        f"Most frequent mistakes: {told}." if told else "",
        drawing=drawing(
            [trace],
            xaxis={"title": {"text": "predicted"}, "automargin": True, "showgrid": False, "type": "category"},
            yaxis={"title": {"text": "true"}, "automargin": True, "autorange": "reversed", "type": "category"},
        ),
        height=400 if few else 460,
    )
