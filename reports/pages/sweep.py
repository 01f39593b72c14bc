"""The page of a sweep: what a tuning budget buys each arm, which settings matter, and what the judge says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.store import Reader
from reports.data import sql, sweep_sql
from reports.data.provenance import provenance
from reports.data.sql import Row
from reports.data.suite_results import SuiteResults
from reports.figures import sweep as figures
from reports.figures.figure import Plot
from reports.links import sweep_path
from reports.pages.render import Page


def sweep_pages(reader: Reader, results: SuiteResults) -> Iterator[Page]:
    """A page for each sweep of a suite at its scale."""
    return (_page(reader, results, row) for row in results.sweeps)


def _page(reader: Reader, results: SuiteResults, row: Row) -> Page:
    sweep, place = str(row["sweep_id"]), str(row["benchmark"])
    spec = row["spec"] if isinstance(row["spec"], Mapping) else {}
    points, chosen = sql.ask(reader, sql.points_of(sweep)), sql.ask(reader, sweep_sql.chosen(sweep))
    weights = sql.ask(reader, sweep_sql.importances(sweep))
    arms = [str(arm) for arm in row["arms"] or sorted({point["arm"] for point in points.rows})]
    by_arm = {best["arm"]: best for best in chosen.rows}
    tuned = figures.Tuned(
        arms, _unit(results, place, spec), str(spec.get("better") or "higher"), points.rows, points.sql,
        {arm: best["number"] for arm, best in by_arm.items()}, spec.get("spaces") or {},
    )  # fmt: skip
    shares: dict[str, dict[str, float]] = {arm: {} for arm in arms}
    for weight in weights.rows:
        shares.setdefault(weight["arm"], {})[weight["hyper_parameter"]] = weight["share"]
    plots: list[Plot | None] = [
        figures.budget(tuned, sql.ask(reader, sweep_sql.curves(sweep))),
        figures.difference(tuned, sql.ask(reader, sweep_sql.differences(sweep))),
        figures.history(tuned, sql.ask(reader, sweep_sql.history(sweep, tuned.better))),
        figures.importance(tuned, weights),
        *(figures.parallel(tuned, arm, shares[arm]) for arm in arms),
        *figures.slices(tuned),
    ]
    bench = results.benches.get(place)
    title = bench.title if bench else place
    content: dict[str, Any] = {
        "row": row,
        "spec": spec,
        "arms": arms,
        "points": points,
        "figures": list(filter(None, plots)),
        "chosen": [(arm, by_arm.get(arm) or {}, shares[arm]) for arm in arms],
        "chosen_sql": chosen.sql,
        "comparison": sql.ask(reader, sweep_sql.comparison(results.name, sweep, results.scale)),
        "title": title,
        "bench_path": results.path_of(place),
        "stand_in": bench.setting.stand_in if bench else (),
        "provenance": provenance(results, place if bench else None),
    }
    return Page(sweep_path(sweep), "sweep.html", f"Tuning on {title}", content, results.trail)


def _unit(results: SuiteResults, benchmark: str, spec: Mapping[str, Any]) -> str:
    """The tuned metric, with its unit where the suite has it."""
    metric = str(spec.get("selection_metric") or spec.get("metric") or "value")
    loaded = results.suite.benchmarks.get(benchmark)
    about = loaded.model.metrics.get(metric) if loaded else None
    return f"{metric} on validation, {about.unit}" if about else f"{metric} on validation"
