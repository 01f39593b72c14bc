"""A figure of a page: beside the drawing words, numbers and the statement that gave them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import plotly.graph_objects as go
from plotly.basedatatypes import BasePlotlyType, BaseTraceType

from harness.vocabulary import Tone
from reports import formatting
from reports.data.sql import Answer

PALETTE = ("#3b82c4", "#d9722b", "#2e9e6b", "#9a6dd7", "#cf4b57", "#1f98a6", "#a08a1c", "#c75fa0", "#7d8590")
"""Middle tones: at least 3:1 against the light and the dark page."""
GREY = "#7d8590"
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
TONES: Mapping[str, tuple[str, str]] = {
    Tone.HOLDS: ("#2e9e6b", "circle"),
    Tone.PART: ("#8a9a1c", "triangle-up"),
    Tone.OPEN: (GREY, "circle-open"),
    Tone.NULL: ("#d9722b", "square"),
    Tone.AGAINST: ("#cf4b57", "x"),
    Tone.IDLE: ("#9a6dd7", "diamond-wide-open"),
    Tone.VOID: (GREY, "line-ew-open"),
    formatting.UNKNOWN: (GREY, "hexagram-open"),
}
"""Colour and marker of each tone of a verdict: never colour alone."""

TABLE_ROWS = 40
POINTS = ("x", "y", "z", "text", "customdata")
"""Properties of a trace that hold one value a point."""


@dataclass(frozen=True)
class Table:
    """The numbers of a figure and the statement that gave them."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]] = field(repr=False)
    sql: str

    @classmethod
    def of(cls, answer: Answer, *columns: str) -> Table:
        """Some columns of every row that the store gave."""
        return cls(columns, [[row[name] for name in columns] for row in answer.rows], answer.sql)

    @cached_property
    def csv(self) -> str:
        """The numbers as comma-separated values, eight digits: threads add in another order, which moves the 16th."""
        text = io.StringIO()
        rows = ([f"{cell:.8g}" if isinstance(cell, float) else cell for cell in row] for row in self.rows)
        csv.writer(text, lineterminator="\n").writerows([self.columns, *rows])
        return text.getvalue()

    @property
    def texts(self) -> list[list[str]] | None:
        """The numbers as text for a table, if they are few."""
        few = len(self.rows) <= TABLE_ROWS
        return [[_text(cell) for cell in row] for row in self.rows] if few else None


def _text(cell: Any) -> str:
    return "–" if cell is None else formatting.score(cell) if isinstance(cell, float) else str(cell)


@dataclass(frozen=True)
class Figure:
    """A drawing's text alternative, numbers and statement.

    Attributes:
        alt: what it shows, for those who do not see it.
        stand_in: what stands in for the paper's setting, in a few words; empty as published.
    """

    name: str
    title: str
    alt: str
    table: Table
    stand_in: str = ""
    note: str = ""


@dataclass(frozen=True)
class Plot(Figure):
    """A figure that Plotly draws (without its default template, which is large); height in CSS pixels."""

    drawing: Mapping[str, Any] = field(repr=False, kw_only=True)
    height: int = field(default=320, kw_only=True)

    @property
    def json(self) -> str:
        """The drawing as JSON that may stand in a script element."""
        text = json.dumps(compact(self.drawing), separators=(",", ":"), sort_keys=True, allow_nan=False)
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def compact(value: Any) -> Any:
    """Plain JSON data: six significant digits, null for NaN and infinities."""
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): compact(item) for key, item in value.items()}
    return [compact(item) for item in value]


@cache
def _checked(kind: Callable[..., BasePlotlyType], properties: str) -> Mapping[str, Any]:
    """Properties, given and returned as plain data, that Plotly has checked: once for all drawings that share them."""
    checked: dict[str, Any] = kind(json.loads(properties)).to_plotly_json()
    return checked


def trace(kind: type[BaseTraceType], hover_text: str = "", /, **properties: Any) -> dict[str, Any]:
    """A trace as plain data; its style is checked (ValueError), its points are not. ``hover_text`` is a template."""
    points = {name: properties.pop(name) for name in POINTS if name in properties}
    hover = {"hovertemplate": f"{hover_text}<extra></extra>"} if hover_text else {}
    return {**_checked(kind, json.dumps(properties | hover)), **points}  # type: ignore[arg-type]


def dots(hover_text: str, /, **properties: Any) -> dict[str, Any]:
    """Points with markers, as :func:`trace`."""
    return trace(go.Scatter, hover_text, mode="markers", **properties)


def drawing(
    traces: Iterable[Mapping[str, Any]], xaxis: Mapping[str, Any], yaxis: Mapping[str, Any], **layout: Any
) -> dict[str, Any]:
    """Traces in their order and layout; colours of text and grid are the page's, set when it is drawn.

    The layout that all figures share has room for a legend above the drawing; ``layout`` is what differs from it.

    Raises:
        ValueError: Plotly does not know a property.
    """
    common = {
        "margin": {"l": 8, "r": 12, "t": 30, "b": 40},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 12}},
        "font": {"size": 12},
        "dragmode": False,
    }
    layout = {**common, "xaxis": xaxis, "yaxis": yaxis, **layout}
    return {"data": list(traces), "layout": _checked(go.Layout, json.dumps(layout))}


NO_LEGEND = {"l": 8, "r": 12, "t": 8, "b": 40}
"""The margin of a drawing without a legend."""


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with a quiet grid."""
    return {
        "title": {"text": escape(title), "standoff": 8},
        "automargin": True,
        "zeroline": False,
        "exponentformat": "power",
        **more,
    }


def zero_line(along: str) -> dict[str, Any]:
    """A dotted line at zero along ``x`` or ``y``."""
    across = "y" if along == "x" else "x"
    return {
        "type": "line",
        f"{across}0": 0,
        f"{across}1": 0,
        f"{along}0": 0,
        f"{along}1": 1,
        f"{along}ref": "paper",
        "line": {"width": 1, "dash": "dot", "color": GREY},
    }


def marker(place: int, size: float) -> dict[str, Any]:
    """Colour and symbol of the arm at a place."""
    return {"size": size, "color": colour(place), "symbol": place % 10}


def line(place: int, name: str, x: Sequence[Any], y: Sequence[Any], hover_text: str, **more: Any) -> dict[str, Any]:
    """The line of the arm at a place of its suite."""
    style = {"color": colour(place), "width": 2, "dash": DASHES[place % len(DASHES)], **more.pop("line", {})}
    more = {"mode": "lines", **more}
    return trace(go.Scatter, f"{escape(name)}, {hover_text}", x=x, y=y, name=escape(name), line=style, **more)


def band(place: int, name: str, x: Sequence[Any], low: Sequence[Any], high: Sequence[Any]) -> list[dict[str, Any]]:
    """The area between two curves in an arm's faded colour; hidden with the arm's line."""
    edge = {
        "legendgroup": name,
        "mode": "lines",
        "x": x,
        "showlegend": False,
        "hoverinfo": "skip",
        "line": {"width": 0, "color": colour(place)},
    }
    fill = {"fill": "tonexty", "fillcolor": faded(colour(place), 0.16)}
    return [trace(go.Scatter, y=low, **edge), trace(go.Scatter, y=high, **edge, **fill)]


def escape(text: str) -> str:
    """Text for Plotly, which reads a few tags of HTML in labels."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def colour(place: int) -> str:
    """The colour of the arm at a place."""
    return PALETTE[place % len(PALETTE)]


def faded(colour: str, opacity: float) -> str:
    """A colour of the palette with opacity."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Rank correlation, ties at their mean rank; NaN where one side is constant."""
    from scipy.stats import spearmanr

    constant = len(set(x)) < 2 or len(set(y)) < 2
    return float("nan") if constant else float(spearmanr(x, y).statistic)
