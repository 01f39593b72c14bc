"""The page of a sweep: what a tuning budget buys each arm, which settings matter, and what the judge says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.store import Reader
from reports import sql, sweep_figures, sweep_sql
from reports.addresses import bench_path, suite_path, sweep_path
from reports.figure import Figure
from reports.reading import Gathered, Row
from reports.render import Page


def sweep_pages(reader: Reader, found: Gathered) -> Iterator[Page]:
    """A page for each sweep of a suite at its scale."""
    for row in found.sweeps:
        yield _page(reader, found, row)


def _page(reader: Reader, found: Gathered, row: Row) -> Page:
    sweep = str(row["sweep_id"])
    spec = row["spec"] if isinstance(row["spec"], Mapping) else {}
    points = sql.ask(reader, sql.points_of(sweep))
    arms = [str(arm) for arm in row["arms"] or sorted({point["arm"] for point in points.rows})]
    chosen = sql.ask(reader, sweep_sql.chosen(sweep))
    weights = sql.ask(reader, sweep_sql.importances(sweep))
    tuned = sweep_figures.Tuned(
        arms, _unit(found, row, spec), str(spec.get("better") or "higher"), points.rows, points.sql,
        {one["arm"]: one["number"] for one in chosen.rows}, spec.get("spaces") or {},
    )  # fmt: skip
    shares: dict[str, dict[str, float]] = {arm: {} for arm in arms}
    for one in weights.rows:
        shares.setdefault(one["arm"], {})[one["hyper_parameter"]] = one["share"]
    figures: list[Figure | None] = [
        sweep_figures.budget(tuned, sql.ask(reader, sweep_sql.curves(sweep))),
        sweep_figures.difference(tuned, sql.ask(reader, sweep_sql.differences(sweep))),
        sweep_figures.history(tuned, sql.ask(reader, sweep_sql.history(sweep, tuned.better))),
        sweep_figures.importance(tuned, weights),
        *(sweep_figures.parallel(tuned, arm, shares[arm]) for arm in arms),
        *sweep_figures.slices(tuned),
    ]
    by_arm = {one["arm"]: one for one in chosen.rows}
    bench = found.benches.get(str(row["benchmark"]))
    content: dict[str, Any] = {
        "row": row, "spec": spec, "arms": arms, "points": points, "figures": [one for one in figures if one],
        "chosen": [(arm, by_arm.get(arm) or {}, shares[arm]) for arm in arms], "chosen_sql": chosen.sql,
        "comparison": sql.ask(reader, sweep_sql.comparison(found.name, sweep, found.scale)),
        "title": bench.title if bench else str(row["benchmark"]),
        "bench_path": bench_path(found.name, found.scale, str(row["benchmark"])),
        "stand_in": found.plan.settings[bench.name].stand_in if bench else (),
    }  # fmt: skip
    trail = (("index.html", "Report"), (suite_path(found.name, found.scale), f"{found.name}, {found.scale}"))
    return Page(sweep_path(sweep), "sweep.html", f"Tuning on {content['title']}", content, trail)


def _unit(found: Gathered, row: Row, spec: Mapping[str, Any]) -> str:
    """What was tuned, with its unit."""
    metric = str(spec.get("selection_metric") or spec.get("metric") or "value")
    loaded = found.suite.benchmarks.get(str(row["benchmark"]))
    about = loaded.model.metrics.get(metric) if loaded else None
    return f"{metric} on validation, {about.unit}" if about else f"{metric} on validation"
