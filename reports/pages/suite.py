"""The page of a suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from harness.judge import ablations as effects_of
from harness.store import Reader
from reports import formatting
from reports.data import sql
from reports.data.ablations import Ablation, decisive_changes
from reports.data.claims import Claim
from reports.data.comparisons import costs, final_numbers, wins
from reports.data.provenance import provenance
from reports.data.suite_results import BenchmarkResults, SuiteResults
from reports.figures.benchmark import ablation_differences
from reports.figures.figure import Plot
from reports.figures.heatmaps import factorial_figures
from reports.figures.plain import Mark, axis_of, forests
from reports.links import sweep_path
from reports.pages import sentences
from reports.pages.claim import claim_detail
from reports.pages.render import Page

CONTEXT = ("provenance", "reference")
"""Kinds of claims that are listed with their source and never judged."""


def suite_page(reader: Reader, results: SuiteResults, removed: Sequence[Ablation], tuned: Sequence[Plot] = ()) -> Page:
    """Everything of a suite at a scale.

    Args:
        reader: of the store.
        results: what was gathered.
        removed: its ablations.
        tuned: figures of its sweeps that show what a learning rate does.
    """
    judged = sorted(results.judged, key=lambda claim: claim.rank)
    silent = [claim for claim in results.claims if not claim.judged]
    plots, numbers, benches = forests(results), final_numbers(reader, results), results.benches.values()
    (compared, tallies), (costly, costs_sql) = wins(results), costs(reader, results)
    drawn = [ablation_differences(bench, [row for row in removed if row.benchmark == bench.name]) for bench in benches]
    drawn += [plot for bench in benches for plot in factorial_figures(reader, results, bench)]
    content: dict[str, Any] = {
        "suite": results.suite.model,
        "scale": results.scale,
        "stand_in": results.stand_in,
        "headline": sentences.headline(results),
        "leading": sentences.leading(results),
        "verdicts": results.verdicts,
        "forests": plots,
        "marks": {name: (mark, plot.axis.zero) for plot in plots for name, mark in plot.marks.items()},
        "checked": [claim_detail(results, claim) for claim in results.checked],
        "claims": [claim_detail(results, claim, removed, numbers) for claim in judged],
        "wins": compared,
        "tallies": tallies,
        "silent": [_silent(claim) for claim in silent if claim.fact["kind"] not in CONTEXT],
        "context": [_silent(claim) for claim in silent if claim.fact["kind"] in CONTEXT],
        "sweeps": [(row, sweep_path(str(row["sweep_id"]))) for row in results.sweeps],
        "ablations": sorted(removed, key=lambda row: (row.benchmark, -abs(row.difference))),
        "ablation_figures": list(filter(None, drawn)),
        "most": decisive_changes(removed),
        "effects": _effects(reader, results),
        "tuned": tuned,
        "costs": costly,
        "costs_sql": costs_sql,
        "bought": sql.ask(reader, sql.bought_of(results.name, results.scale)),
        "arms": results.plan.arms,
        "benches": [_bench(results, bench) for bench in benches],
        "absent": results.plan.absent,
        "untuned": results.untuned,
        "titles": results.titles,
        "sql": {name: answer.sql for name, answer in results.asked.items()},
        "provenance": provenance(results),
    }
    title = f"{results.name}, {results.scale}"
    return Page(results.path, "suite.html", title, content, results.trail[:1])


def _effects(reader: Reader, results: SuiteResults) -> list[dict[str, Any]]:
    """Main effects and interactions of the factorials that the suite declares, as the judge computes them."""
    if not results.suite.model.ablate:
        return []
    rows = [row for row in effects_of(results.suite, results.plan, reader) if row["effect"] != "change"]
    known = [row for row in rows if formatting.finite(row["difference"]) is not None]
    axis = axis_of([(row["difference"], row["ci_low"], row["ci_high"]) for row in known])
    return [
        {**row, "unit": formatting.unit_of_difference(str(row["unit"])), "zero": axis.zero,
         "tone": formatting.side(row["ci_low"], row["ci_high"]),
         "mark": Mark.of(axis, row["difference"], row["ci_low"], row["ci_high"])}
        for row in known
    ]  # fmt: skip


def _silent(claim: Claim) -> dict[str, Any]:
    return {"id": claim.claim_id, "kind": claim.fact["kind"], "statement": claim.fact["statement"], "word": claim.word,
            "reason": claim.reason or _why(claim), "source": claim.fact["source"]}  # fmt: skip


def _why(claim: Claim) -> str:
    if claim.fact["kind"] in CONTEXT:
        return f"{claim.fact['kind']}: listed with its source, never judged"
    return "not judged yet: run the suite, then 'harness claims'" if claim.verdict is None else ""


def _bench(results: SuiteResults, bench: BenchmarkResults) -> dict[str, Any]:
    return {
        "title": bench.title,
        "path": results.path_of(bench.name),
        "arms": len(bench.arms),
        "stand_in": bench.setting.stand_in,
        "task": bench.setting.task,
        "troubled": len(bench.troubled),
        "verdicts": list(Counter(claim.word for claim in results.judged if bench.name in claim.benchmarks).items()),
        "done": bench.done,
        "planned": bench.asked,
    }
