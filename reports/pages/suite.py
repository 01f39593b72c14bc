"""The page of a suite, and those of its sweeps (tuning budget, important settings, verdicts)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.judge.ablation import AblationRow
from harness.judge.ablation import ablations as effects_of
from harness.judge.bindings import UNJUDGED
from harness.store import Reader
from reports import formatting
from reports.data import sql
from reports.data.ablations import Ablation, decisive_changes
from reports.data.comparisons import costs, final_numbers, wins
from reports.data.provenance import provenance
from reports.data.sql import Row
from reports.data.suite_results import SuiteResults
from reports.figures import sweep as figures
from reports.figures.axis import Mark, axis_of
from reports.figures.benchmark import ablation_differences
from reports.figures.figure import Plot
from reports.figures.plain import forests
from reports.links import sweep_path
from reports.pages.claim import claim_detail
from reports.pages.render import Page


def suite_page(reader: Reader, results: SuiteResults, ablated: Sequence[Ablation], tuned: Sequence[Plot] = ()) -> Page:
    """Everything of a suite at a scale; ``tuned`` are figures of its sweeps that show what a learning rate does."""
    judged = sorted(results.judged, key=lambda claim: claim.rank)
    silent = [claim for claim in results.claims if not claim.judged]
    plots, numbers, benches = forests(results), final_numbers(reader, results), results.benches.values()
    drawn = [ablation_differences(bench, [row for row in ablated if row.benchmark == bench.name]) for bench in benches]
    content: dict[str, Any] = {
        "results": results,
        "headline": results.headline,
        "leading": results.leading,
        "forests": plots,
        "marks": {name: (mark, plot.axis.zero) for plot in plots for name, mark in plot.marks.items()},
        "checked": [claim_detail(results, claim) for claim in results.checked],
        "claims": [claim_detail(results, claim, ablated, numbers) for claim in judged],
        "protocols": [claim for claim in results.judged if claim.tuned is not None or claim.detail.measured_rates],
        "compared": wins(results),
        "silent": [claim for claim in silent if claim.fact["kind"] not in UNJUDGED],
        "context": [claim for claim in silent if claim.fact["kind"] in UNJUDGED],
        "ablations": sorted(ablated, key=lambda row: (row.benchmark, -abs(row.difference))),
        "ablation_figures": list(filter(None, drawn)),
        "most": decisive_changes(ablated),
        "effects": _effects(reader, results),
        "tuned": tuned,
        "priced": costs(reader, results),
        "added": sql.ask(reader, sql.added_seeds_of(results.name, results.scale)),
        "provenance": provenance(results),
    }
    return Page(results.path, "suite.html", results.title, content, results.trail[:1])


@dataclass(frozen=True)
class EffectLine:
    """A main effect or an interaction on a common axis."""

    row: AblationRow
    unit: str
    tone: str
    mark: Mark
    zero: float


def _effects(reader: Reader, results: SuiteResults) -> list[EffectLine]:
    """Main effects and interactions of the suite's factorial designs."""
    if not results.suite.model.ablate:
        return []
    rows = [row for row in effects_of(results.suite, results.plan, reader) if row.effect != "change"]
    existing = [(row, (row.difference, row.ci_low, row.ci_high)) for row in rows if row.difference is not None]
    axis = axis_of([ends for _, ends in existing])
    return [
        EffectLine(
            row, formatting.unit_of_difference(row.unit), formatting.side(*ends[1:]), Mark.of(axis, *ends), axis.zero
        )
        for row, ends in existing
    ]


def sweep_pages(reader: Reader, results: SuiteResults) -> Iterator[Page]:
    """A page for each sweep of a suite at its scale."""
    return (_sweep_page(reader, results, row) for row in results.sweeps)


def _sweep_page(reader: Reader, results: SuiteResults, row: Row) -> Page:
    sweep, place = str(row["sweep_id"]), str(row["benchmark"])
    spec = row["spec"] if isinstance(row["spec"], Mapping) else {}
    points, chosen = sql.ask(reader, sql.points_of(sweep)), sql.ask(reader, sql.sweep_chosen(sweep))
    weights = sql.ask(reader, sql.sweep_importances(sweep))
    arms = [str(arm) for arm in row["arms"] or sorted({point["arm"] for point in points.rows})]
    by_arm = {best["arm"]: best for best in chosen.rows}
    tuned = figures.Tuned(
        arms,
        _unit(results, place, spec),
        str(spec.get("better") or "higher"),
        points.rows,
        points.sql,
        {arm: best["number"] for arm, best in by_arm.items()},
        spec.get("spaces") or {},
    )
    by_weight = sql.grouped(weights.rows, "arm")
    shares = {arm: {weight["hyper_parameter"]: weight["share"] for weight in by_weight[arm]} for arm in arms}
    plots: list[Plot | None] = [
        figures.budget(tuned, sql.ask(reader, sql.sweep_curves(sweep))),
        figures.difference(tuned, sql.ask(reader, sql.sweep_differences(sweep))),
        figures.history(tuned, sql.ask(reader, sql.sweep_history(sweep, tuned.better))),
        figures.importance(tuned, weights),
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
        "comparison": sql.ask(reader, sql.sweep_comparison(results.name, sweep, results.scale)),
        "title": title,
        "results": results,
        "stand_in": bench.setting.stand_in if bench else (),
        "stand_in_name": bench.stand_in_name if bench else "",
        "provenance": provenance(results, place if bench else None),
    }
    return Page(sweep_path(sweep), "sweep.html", f"Tuning on {title}", content, results.trail)


def _unit(results: SuiteResults, benchmark: str, spec: Mapping[str, Any]) -> str:
    """The tuned metric, with its unit where the suite has it."""
    metric = str(spec.get("selection_metric") or spec.get("metric") or "value")
    loaded = results.suite.benchmarks.get(benchmark)
    about = loaded.model.metrics.get(metric) if loaded else None
    return f"{metric} on validation, {about.unit}" if about else f"{metric} on validation"
