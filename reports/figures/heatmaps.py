"""Heat maps: which class is taken for which, and the means of a factorial of ablations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from reports import formatting
from reports.data import sql
from reports.data.outputs import Confusion, confusions_of
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
        f"{arm}: confusion matrix",
        f"Confusion matrix of {arm} over {formatting.count(confusion.seeds, 'seed')}, percent of each true class; "
        f"{confusion.right:.1f} % of the items are right. {message or 'No mistake'}.",
        Table(["arm", "true", "predicted", "items", "percent"], rows, statement),
        stand_in,
        f"Most frequent mistakes: {message}." if message else "",
        drawing=drawing([cells], across, down, margin=NO_LEGEND),
        height=400 if few else 460,
    )
