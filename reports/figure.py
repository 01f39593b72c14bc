"""A figure of a page: the drawing as data, and beside it words, numbers and the statement that gave them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reports import words

PALETTE = ("#3b82c4", "#d9722b", "#2e9e6b", "#9a6dd7", "#cf4b57", "#1f98a6", "#a08a1c", "#c75fa0", "#7d8590")
"""Middle tones: at least 3:1 against the light and the dark page."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
TONES = {
    "holds": ("#2e9e6b", "circle"),
    "part": ("#8a9a1c", "triangle-up"),
    "open": ("#7d8590", "circle-open"),
    "null": ("#d9722b", "square"),
    "against": ("#cf4b57", "x"),
    "idle": ("#9a6dd7", "diamond-wide-open"),
    "void": ("#7d8590", "line-ew-open"),
}
"""Colour and marker of each tone of a verdict: never colour alone."""

TABLE_ROWS = 40


@dataclass(frozen=True)
class Figure:
    """A drawing with its text alternative, its numbers and its statement.

    Attributes:
        name: its identifier on its page.
        title: a heading.
        alt: what it shows, for those who do not see it.
        spec: Plotly's ``data`` and ``layout``.
        columns, rows: the numbers drawn.
        sql: the statement that gave them.
        height: in CSS pixels.
        hatched: whether it shows stand-ins.
        note: a sentence below it.
    """

    name: str
    title: str
    alt: str
    spec: Mapping[str, Any] = field(repr=False)
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]] = field(repr=False)
    sql: str
    height: int = 320
    hatched: bool = False
    note: str = ""

    @property
    def csv(self) -> str:
        """The numbers as comma-separated values."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([[_cell(cell) for cell in row] for row in self.rows])
        return text.getvalue()

    @property
    def json(self) -> str:
        """The drawing as JSON that may stand in a script element."""
        text = json.dumps(compact(self.spec), separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

    @property
    def table(self) -> list[list[str]] | None:
        """The numbers as text for a table beside the drawing, if they are few."""
        if len(self.rows) > TABLE_ROWS:
            return None
        return [[_text(cell) for cell in row] for row in self.rows]


def _cell(cell: Any) -> Any:
    """Eight digits: threads add in another order, which moves the sixteenth."""
    return "" if cell is None else f"{cell:.8g}" if isinstance(cell, float) else cell


def _text(cell: Any) -> str:
    return "–" if cell is None else words.score(cell) if isinstance(cell, float) else str(cell)


def compact(value: Any) -> Any:
    """Plain JSON data: six significant digits, null for NaN and infinities."""
    if isinstance(value, bool) or value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): compact(item) for key, item in value.items()}
    return [compact(item) for item in value]


def spec_of(traces: Sequence[Any], **layout: Any) -> dict[str, Any]:
    """Traces and layout as Plotly takes them; colours of text and grid are the page's, set when it is drawn.

    Plotly's own figure classes would validate them at 20 ms a figure; a test does that for every kind of figure.
    """
    common = {
        "margin": {"l": 8, "r": 12, "t": 8, "b": 40},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 12}},
        "font": {"size": 12},
        "dragmode": False,
    }
    return {"data": list(traces), "layout": {**common, **layout}}


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with a quiet grid."""
    return {"title": {"text": escape(title), "standoff": 8}, "automargin": True, "zeroline": False,
            "exponentformat": "power", **more}  # fmt: skip


def escape(text: str) -> str:
    """Text for Plotly, which reads a few tags of HTML in labels."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def colour(place: int) -> str:
    """The colour of the arm at a place."""
    return PALETTE[place % len(PALETTE)]


def dash(place: int) -> str:
    """The line of the arm at a place."""
    return DASHES[place % len(DASHES)]


def faded(colour: str, opacity: float) -> str:
    """A colour of the palette with opacity."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
