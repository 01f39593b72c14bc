"""The forest plot: one line a claim, its interval, and at paper scale the published value beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from reports import sql, words
from reports.figure import TONES, Figure, axis, escape, spec_of
from reports.reading import Claim, Gathered

ROW = 34
LABEL = 60
"""Letters of a label that fit on a phone."""


def label(claim: Claim, titles: Mapping[str, str]) -> str:
    """A claim in a line of a figure: where, and which arms."""
    places = [titles.get(name, name) for name in claim.benchmarks] or [str(claim.fact["benchmark"])]
    where = places[0] if len(places) == 1 else f"{places[0]} + {len(places) - 1}"
    room = max(18, LABEL - len(claim.contrast))
    return f"{words.short(where, room)}: {words.short(claim.contrast, LABEL)}"


def forests(found: Gathered) -> list[Figure]:
    """Forest plots of a suite: as published by unit, or one strip in d_z for a stand-in."""
    titles = {name: bench.title for name, bench in found.benches.items()}
    measured = [claim for claim in found.judged if words.finite(claim.value("difference")) is not None]
    figures = []
    strip = [claim for claim in measured if claim.stand_in and claim.standardised is not None]
    if strip:
        figures.append(_strip(found, strip, titles))
    units: dict[str, list[Claim]] = defaultdict(list)
    for claim in measured:
        if not claim.stand_in:
            units[claim.unit].append(claim)
    figures += [_as_published(found, unit, claims, titles, place) for place, (unit, claims) in enumerate(units.items())]
    return figures


def _strip(found: Gathered, claims: Sequence[Claim], titles: Mapping[str, str]) -> Figure:
    """Stand-ins: standardised effect on the left, relative error reduction on the right."""
    marks = []
    rows = []
    for claim in claims:
        effect, low, high = claim.standardised or (None, None, None)
        reduction = words.finite(claim.design.get("relative_error_reduction"))
        marks.append((claim, effect, low, high))
        rows.append([claim.claim_id, label(claim, titles), claim.word, claim.value("n"), effect, low, high, reduction,
                     claim.value("difference"), claim.unit])  # fmt: skip
    traces = _traces(marks, "d_z")
    has_reduction = any(row[7] is not None for row in rows)
    if has_reduction:
        traces.append({
            "type": "bar", "orientation": "h", "xaxis": "x2", "yaxis": "y", "showlegend": False, "width": 0.32,
            "x": [None if row[7] is None else 100 * row[7] for row in rows], "y": list(range(len(rows))),
            "marker": {"color": [TONES[claim.tone.name][0] for claim in claims],
                       "pattern": {"shape": "/", "size": 5, "solidity": 0.4}},
            "customdata": [[claim.claim_id] for claim in claims],
            "hovertemplate": "relative error reduction %{x:.1f} %<extra></extra>",
        })  # fmt: skip
    layout = _layout(claims, titles, "standardised effect d_z (up = as claimed)", has_reduction)
    known = [claim for claim in claims if claim.tone.name == "holds"]
    alt = (
        f"{words.count(len(claims), 'claim')} measured on a stand-in, as standardised effects with 95 % intervals; "
        f"{len(known)} lie wholly on the claimed side."
    )
    columns = ["claim", "comparison", "verdict", "n", "d_z", "low", "high", "relative error reduction",
               "difference", "unit"]  # fmt: skip
    return Figure(
        "forest-stand-in",
        "Effects on the stand-in",
        alt,
        spec_of(traces, **layout),
        columns,
        rows,
        _statement(found),
        _height(len(claims)),
        True,
        "Stand-in: the setting is not the paper's, so no published value is drawn. Intervals are unadjusted and "
        f"divided by the same standard deviation as d_z.{_left_out(found, claims)}",
    )


def _left_out(found: Gathered, drawn: Sequence[Claim]) -> str:
    """How many claims have no standardised effect (fewer than three pairs, or equal differences)."""
    rest = sum(bool(claim.stand_in) for claim in found.judged) - len(drawn)
    return f" {words.count(rest, 'claim')} without a standardised effect: in the list below only." if rest else ""


def _as_published(found: Gathered, unit: str, claims: Sequence[Claim], titles: Mapping[str, str], place: int) -> Figure:
    marks = [(c, words.finite(c.value("difference")), words.finite(c.value("ci_low")),
              words.finite(c.value("ci_high"))) for c in claims]  # fmt: skip
    traces = _traces(marks, unit)
    traces.append({
        "type": "scatter", "mode": "markers", "name": "published",
        "x": [claim.published for claim in claims], "y": [row + 0.22 for row in range(len(claims))],
        "marker": {"symbol": "diamond-open", "size": 10, "color": "#7d8590", "line": {"width": 2}},
        "customdata": [[claim.claim_id] for claim in claims],
        "hovertemplate": "published %{x}<extra></extra>",
    })  # fmt: skip
    rows = [[c.claim_id, label(c, titles), c.word, c.value("n"), e, low, high, c.published, unit]
            for c, e, low, high in marks]  # fmt: skip
    alt = (
        f"{words.count(len(claims), 'claim')} in {unit or 'the unit of the metric'}: measured difference with its 95 % "
        "interval, and the published difference as a diamond beside it."
    )
    return Figure(
        f"forest-{place}",
        f"Measured and published differences, {unit}" if unit else "Measured and published differences",
        alt,
        spec_of(traces, **_layout(claims, titles, f"difference, {unit} (right = as claimed)", False)),
        ["claim", "comparison", "verdict", "n", "difference", "low", "high", "published", "unit"],
        rows,
        _statement(found),
        _height(len(claims)),
    )


def _traces(marks: Sequence[tuple[Claim, float | None, float | None, float | None]], unit: str) -> list[dict[str, Any]]:
    """One trace a tone; an interval without an end has no bar."""
    tones: dict[str, list[int]] = defaultdict(list)
    for place, (claim, *_) in enumerate(marks):
        tones[claim.tone.name].append(place)
    traces = []
    for tone, places in tones.items():
        colour, symbol = TONES[tone]
        chosen = [marks[place] for place in places]
        ups = [None if e is None or high is None else high - e for _, e, _, high in chosen]
        downs = [None if e is None or low is None else e - low for _, e, low, _ in chosen]
        names = sorted({words.base_of(claim.word) for claim, *_ in chosen})
        traces.append({
            "type": "scatter", "mode": "markers", "name": ", ".join(names),
            "x": [e for _, e, *_ in chosen], "y": places,
            "marker": {"color": colour, "symbol": symbol, "size": 10, "line": {"width": 2, "color": colour}},
            "error_x": {"type": "data", "symmetric": False, "array": ups, "arrayminus": downs, "color": colour,
                        "thickness": 2, "width": 4},
            "customdata": [[claim.claim_id, claim.word, words.interval(low, high), claim.value("n") or 0]
                           for claim, _, low, high in chosen],
            "hovertemplate": "%{customdata[1]}<br>%{x:.3g} " + escape(unit)
            + " %{customdata[2]}<br>n = %{customdata[3]}<extra></extra>",
        })  # fmt: skip
    return traces


def _layout(claims: Sequence[Claim], titles: Mapping[str, str], title: str, second: bool) -> dict[str, Any]:
    """Labels stand inside, above each line, so that a phone's width suffices."""
    layout: dict[str, Any] = {
        "xaxis": axis(title, domain=[0, 0.66] if second else [0, 1], showgrid=True),
        "yaxis": {"range": [len(claims) - 0.4, -0.75], "showticklabels": False, "showgrid": False, "zeroline": False,
                  "fixedrange": True},
        "annotations": [
            {"x": 0, "xref": "paper", "y": place - 0.36, "text": escape(label(claim, titles)), "showarrow": False,
             "xanchor": "left", "align": "left", "font": {"size": 11.5}}
            for place, claim in enumerate(claims)
        ],
        "shapes": [{"type": "line", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "yref": "paper",
                    "line": {"width": 1, "dash": "dot", "color": "#7d8590"}}],
        "barmode": "overlay",
    }  # fmt: skip
    if second:
        layout["xaxis2"] = axis("relative error reduction, %", domain=[0.72, 1], showgrid=True, anchor="y")
    return layout


def _height(rows: int) -> int:
    return 110 + ROW * rows


def _statement(found: Gathered) -> str:
    return found.asked["verdicts"].sql


def verdict_statement(claim: Claim) -> str:
    """The statement that gives one verdict."""
    return sql.verdict(claim.claim_id, claim.scale)
