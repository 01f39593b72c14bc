"""The page of a sweep: what a tuning budget buys each arm, and which settings matter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.store import Reader
from reports import sql, words
from reports.addresses import bench_path, slug, suite_path, sweep_path
from reports.figure import Figure, axis, colour, dash, escape, faded, spec_of
from reports.reading import Gathered, Row
from reports.render import Page

WIDE = 30.0
"""A range whose ends differ by more than this factor is drawn on a logarithmic axis."""


def sweep_pages(reader: Reader, found: Gathered) -> Iterator[Page]:
    """A page for each sweep of a suite at its scale."""
    for row in found.sweeps:
        yield _page(reader, found, row)


def _page(reader: Reader, found: Gathered, row: Row) -> Page:
    sweep = str(row["sweep_id"])
    spec = row["spec"] if isinstance(row["spec"], Mapping) else {}
    points = sql.ask(reader, sql.points_of(sweep))
    arms = [str(arm) for arm in row["arms"] or sorted({point["arm"] for point in points.rows})]
    unit = _unit(found, row, spec)
    bench = found.benches.get(str(row["benchmark"]))
    budget = budget_figure(arms, spec, unit, sql.sweep(sweep))
    content: dict[str, Any] = {
        "row": row, "spec": spec, "arms": arms, "unit": unit, "points": points,
        "figures": ([budget] if budget else []) + settings_figures(arms, points.rows, unit, points.sql),
        "chosen": [(arm, (spec.get("chosen") or {}).get(arm) or {}, (spec.get("told") or {}).get(arm),
                    (spec.get("importances") or {}).get(arm) or {}) for arm in arms],
        "differences": _differences(spec),
        "title": bench.title if bench else str(row["benchmark"]),
        "bench_path": bench_path(found.name, found.scale, str(row["benchmark"])),
        "stand_in": found.plan.settings[bench.name].stand_in if bench else (),
        "sql": sql.sweep(sweep),
    }  # fmt: skip
    trail = (("index.html", "Report"), (suite_path(found.name, found.scale), f"{found.name}, {found.scale}"))
    return Page(sweep_path(sweep), "sweep.html", f"Tuning on {content['title']}", content, trail)


def _unit(found: Gathered, row: Row, spec: Mapping[str, Any]) -> str:
    """Metric and unit of what was tuned."""
    metric = str(spec.get("metric") or "value")
    loaded = found.suite.benchmarks.get(str(row["benchmark"]))
    about = loaded.model.metrics.get(metric) if loaded else None
    return f"{metric} on validation, {about.unit}" if about else f"{metric} on validation"


def _differences(spec: Mapping[str, Any]) -> list[tuple[str, list[tuple[int, float]]]]:
    """Differences of the expected best at a few budgets."""
    found = []
    for pair, values in (spec.get("differences") or {}).items():
        picked = sorted({0, len(values) // 4, len(values) // 2, len(values) - 1}) if values else []
        found.append((str(pair), [(place + 1, values[place]) for place in picked]))
    return found


def budget_figure(arms: Sequence[str], spec: Mapping[str, Any], unit: str, text: str) -> Figure | None:
    """What B configurations buy: the expected best with its band, or the best so far of draws with a history."""
    curves = spec.get("curves") or {}
    traces: list[dict[str, Any]] = []
    rows: list[list[Any]] = []
    for place, arm in enumerate(arms):
        group = {"legendgroup": arm, "type": "scatter", "mode": "lines"}
        line = {"color": colour(place), "width": 2, "dash": dash(place)}
        hover = f"{escape(arm)}, %{{x}} configurations<br>%{{y:.4g}}<extra></extra>"
        if arm in curves:
            one = curves[arm]
            edge = {"showlegend": False, "hoverinfo": "skip", "line": {"width": 0, "color": colour(place)}}
            known = [three for three in zip(one["budget"], one["low"], one["high"], strict=True)
                     if words.finite(three[1]) is not None and words.finite(three[2]) is not None]  # fmt: skip
            at, low, high = zip(*known, strict=True) if known else ((), (), ())
            traces.append({**group, **edge, "x": list(at), "y": list(low)})
            traces.append({**group, **edge, "x": list(at), "y": list(high), "fill": "tonexty",
                           "fillcolor": faded(colour(place), 0.16)})  # fmt: skip
            traces.append({**group, "x": one["budget"], "y": one["expected"], "name": escape(arm), "line": line,
                           "hovertemplate": hover})  # fmt: skip
            ends = zip(one["budget"], one["expected"], one["low"], one["high"], strict=True)
            rows += [[arm, *(words.finite(end) for end in four)] for four in ends]
        elif best := (spec.get("best_so_far") or {}).get(arm):
            drawn = list(range(1, len(best) + 1))
            traces.append({**group, "x": drawn, "y": best, "name": escape(arm), "line": {**line, "shape": "hv"},
                           "hovertemplate": hover})  # fmt: skip
            rows += [[arm, number, words.finite(value), None, None] for number, value in zip(drawn, best, strict=True)]
    if not rows:
        return None
    ends_told = [f"{arm} {words.score(own[-1][2])}" for arm in arms if (own := [row for row in rows if row[0] == arm])]
    kind = "expected best of B random configurations" if curves else "best so far"
    layout = {"xaxis": axis("configurations tried, B"), "yaxis": axis(unit),
              "margin": {"l": 8, "r": 12, "t": 30, "b": 40}}  # fmt: skip
    return Figure(
        "budget", f"What a tuning budget buys: {kind}",
        f"{kind} against the number of configurations, {unit}; at the whole budget {words.listed(ends_told)}.",
        spec_of(traces, **layout), ["arm", "budget", "value", "low", "high"], rows, text, 340, False,
        "The band is for the median best of B and covers the whole curve at once." if curves else
        "Draws of this sampler depend on earlier ones, so there is no band.",
    )  # fmt: skip


def settings_figures(arms: Sequence[str], points: Sequence[Row], unit: str, text: str) -> list[Figure]:
    """Each numeric setting against the value it reached: sensitivity to the learning rate and the others."""
    values: dict[str, list[tuple[str, int, float, float]]] = defaultdict(list)
    for point in points:
        reached = words.finite(point["value"])
        for key, given in (point["params"] or {}).items():
            setting = words.finite(given)
            if reached is not None and setting is not None:
                values[key].append((point["arm"], point["number"], setting, reached))
    figures = []
    for key, rows in sorted(values.items()):
        if len({row[2] for row in rows}) < 3:
            continue
        traces = []
        for place, arm in enumerate(arms):
            own = [row for row in rows if row[0] == arm]
            if own:
                traces.append({
                    "type": "scatter", "mode": "markers", "name": escape(arm), "x": [row[2] for row in own],
                    "y": [row[3] for row in own], "customdata": [[row[1]] for row in own],
                    "marker": {"size": 8, "color": colour(place), "symbol": place % 10},
                    "hovertemplate": f"{escape(arm)}, configuration %{{customdata[0]}}<br>{escape(key)} %{{x:.3g}}: "
                    "%{y:.4g}<extra></extra>",
                })  # fmt: skip
        low, high = min(row[2] for row in rows), max(row[2] for row in rows)
        logarithmic = low > 0 and high / low > WIDE
        layout = {"xaxis": axis(key, type="log" if logarithmic else "linear"), "yaxis": axis(unit),
                  "margin": {"l": 8, "r": 12, "t": 30, "b": 40}}  # fmt: skip
        figures.append(Figure(
            f"setting-{slug(key)}", f"Sensitivity to {key}",
            f"{words.count(len(rows), 'configuration')} of {words.count(len(traces), 'arm')}: {unit} against {key} "
            f"from {words.number(low)} to {words.number(high)}.",
            spec_of(traces, **layout), ["arm", "configuration", key, "value"], rows, text, 320,
        ))  # fmt: skip
    return figures
