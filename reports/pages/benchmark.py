"""The page of a benchmark (paired seeds, differences, curves, failures, recipe) and those of its trials."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

from harness.store import Reader
from harness.vocabulary import SLOTS, Split
from reports import formatting
from reports.data import sql
from reports.data.ablations import ArmComparison
from reports.data.claims import JudgedClaim
from reports.data.comparisons import Scores, scores_by
from reports.data.outputs import pictures_of, translations_of
from reports.data.provenance import provenance
from reports.data.sql import Answer, Row
from reports.data.suite_results import BenchmarkResults, SuiteResults
from reports.figures import benchmark as figures
from reports.figures.figure import Plot
from reports.links import slug, trial_path
from reports.pages.render import Page

MOST_SIDES = 4
"""Arms whose pictures, mistakes and translations stand side by side."""
SHOWN_CURVES = 12
"""Series drawn on a page, the important ones first; all others are a statement away."""
SHOWN_SERIES = 4
"""Of those, on the page of a trial."""


@dataclass(frozen=True)
class _Numbers:
    """Stored numbers of a benchmark; costs are of arms that ran one at a time."""

    bench: BenchmarkResults
    claims: Sequence[JudgedClaim]
    final: Answer
    curves: Sequence[Row]
    costs: Answer

    @property
    def compared(self) -> figures.Compared:
        """The arms as the figures have them; leading are comparators and methods of the claims, else the first."""
        arms = self.bench.arms
        named = dict.fromkeys(arm for claim in self.claims for arm in (claim.against, claim.arm) if arm in arms)
        return figures.Compared(arms, list(named)[:MOST_SIDES] or arms[:MOST_SIDES], self.bench.stand_in_name)

    @cached_property
    def values(self) -> Mapping[tuple[str, str], Scores]:
        """Final numbers by (split, metric)."""
        return scores_by(self.final.rows, "split", "metric")


def benchmark_pages(reader: Reader, results: SuiteResults) -> Iterator[Page]:
    """A page for each benchmark; the series, by far the largest table, are read once for all of them."""
    if not results.benches:
        return
    requested = sql.ask(reader, sql.curves_of(sql.together(results.bodies), keys="benchmark, arm"))
    curves = sql.grouped(requested.rows, "benchmark")
    for name, bench in results.benches.items():
        claims = [claim for claim in results.judged if name in claim.benchmarks]
        final, costs = (sql.ask(reader, text(bench.body)) for text in (sql.results_of, sql.costs_of))
        yield _page(reader, results, _Numbers(bench, claims, final, curves[name], costs))


def _page(reader: Reader, results: SuiteResults, numbers: _Numbers) -> Page:
    bench, compared = numbers.bench, numbers.compared
    table = _scores(numbers)
    left_behind = sql.ask(reader, sql.artifacts_of(bench.body))
    content: dict[str, Any] = {
        "results": results,
        "bench": bench,
        "numbers": numbers,
        "pairs": _pairs(numbers),
        "differences": _differences(results, numbers),
        "curves": _curves(numbers),
        "best": _best(reader, numbers),
        "scores": [row for row in table if not row["metric"].startswith("mechanism.")],
        "mechanisms": [row for row in table if row["metric"].startswith("mechanism.")],
        "slots": SLOTS,
        "missing": [f"{link.arm}/{link.seed}" for link in results.absent(bench.name)],
        "pictures": pictures_of(left_behind.rows, compared.leading),
        "confusions": figures.confusion_figures(left_behind, compared.leading, bench.stand_in_name),
        "translations": translations_of(left_behind.rows, compared.leading),
        "pictures_sql": left_behind.sql,
        "provenance": provenance(results, bench.name),
    }
    return Page(results.path_of(bench.name), "benchmark.html", bench.title, content, results.trail)


def _best(reader: Reader, numbers: _Numbers) -> list[Plot]:
    for metric, about in numbers.bench.metrics.items():
        requested = sql.ask(reader, sql.best_of(numbers.bench.body, metric, 1 if about.better == "higher" else -1))
        if requested.rows:
            plot = figures.best_so_far(numbers.compared, metric, about.unit, requested)
            return [plot] if plot else []
    return []


def _pairs(numbers: _Numbers) -> list[Plot]:
    plots = []
    for metric, about in list(numbers.bench.metrics.items())[:4]:
        rows = [row for row in numbers.final.rows if (row["metric"], row["split"]) == (metric, about.split)]
        answer = Answer(sql.results_of(numbers.bench.body, metric, about.split), rows)
        plots.append(figures.paired_seeds(numbers.compared, metric, about.unit, answer))
    return list(filter(None, plots))


def _differences(results: SuiteResults, numbers: _Numbers) -> list[Plot]:
    """Judged comparisons by metric; claims with one comparison share a line."""
    groups: dict[tuple[str, str], dict[str, ArmComparison]] = defaultdict(dict)
    for claim in numbers.claims:
        for entry in claim.on(numbers.bench.name) if claim.compared else ():
            if entry.difference is not None:
                metric = entry.metric or claim.metric
                about = numbers.bench.metrics.get(metric)
                log_ratio = claim.detail.pairing.log_ratio
                unit = formatting.unit_of_difference(about.unit) if about and not log_ratio else claim.unit
                contrast = ArmComparison(
                    label=f"{claim.contrast}: {claim.word}",
                    unit=unit,
                    n=entry.n,
                    difference=entry.difference,
                    low=entry.low,
                    high=entry.high,
                    seeds=entry.differences,
                    verdict_tone=claim.tone,
                )
                groups[metric, unit].setdefault(claim.contrast, contrast)
    statement, note = results.answers["verdicts"].sql, "Right is the direction of the claim."
    return list(
        filter(
            None,
            (
                figures.differences(
                    slug(metric),
                    f"{metric}: differences of the claims",
                    list(contrasts.values()),
                    statement,
                    numbers.bench.stand_in_name,
                    note,
                )
                for (metric, _), contrasts in groups.items()
            ),
        )
    )


def _curves(numbers: _Numbers) -> list[Plot]:
    """Series in order of interest: declared metrics, loss, mechanism checks, the rest."""
    metrics = numbers.bench.metrics
    gates = {gate.rule.metric for claim in numbers.claims for gate in claim.gates}
    series = sql.grouped(numbers.curves, "split", "name")

    def interest(key: tuple[str, str]) -> tuple[int, str, str]:
        split, name = key
        kinds = (
            name in metrics and split != Split.TRAIN,
            name == "loss",
            name in gates,
            name.startswith("mechanism."),
            name != "learning_rate",
            True,
        )
        return kinds.index(True), name, split

    compared, body = numbers.compared, numbers.bench.body
    plots = (
        figures.curve(compared, split, name, Answer(sql.curves_of(body, split, name), series[split, name]))
        for split, name in sorted(series, key=interest)[:SHOWN_CURVES]
    )
    return list(filter(None, plots))


def _scores(numbers: _Numbers) -> list[dict[str, Any]]:
    """Final numbers of each arm: mean, standard deviation and number over seeds, declared metrics first."""
    metrics, values = numbers.bench.metrics, numbers.values

    def order(key: tuple[str, str]) -> tuple[Any, ...]:
        split, metric = key
        declared = metric in metrics and metrics[metric].split == split
        return not declared, metric.startswith("mechanism."), metric, split

    return [
        {
            "split": split,
            "metric": metric,
            "unit": metrics[metric].unit if metric in metrics else "",
            "cells": [
                _mean_and_sd([value for (own, _), value in values[split, metric].items() if own == arm])
                for arm in numbers.bench.arms
            ],
        }
        for split, metric in sorted(values, key=order)
    ]


def _mean_and_sd(values: list[float]) -> tuple[float, float, int] | None:
    return (fmean(values), stdev(values) if len(values) > 1 else float("nan"), len(values)) if values else None


def trial_pages_of(reader: Reader, results: SuiteResults, bench: BenchmarkResults) -> Iterator[Page]:
    """A page for each stored trial of a benchmark."""
    wanted, body = sql.grouped(bench.trials.rows, "trial_id"), bench.body
    if not wanted:
        return
    whole = {row["trial_id"]: row for row in sql.ask(reader, sql.whole_trials(body)).rows}
    # arms that share a trial have its numbers once each
    final = sql.grouped(sql.ask(reader, sql.results_of(body)).rows, "trial_id")
    series = sql.grouped(sql.ask(reader, sql.all_series(body)).rows, "trial_id")
    for trial, named in wanted.items():
        distinct = list({(row["split"], row["metric"]): row for row in final[trial]}.values())
        yield _trial_page(results, bench, named[0], whole[trial], distinct, series[trial])


def _trial_page(
    results: SuiteResults, bench: BenchmarkResults, row: Row, stored: Row, final: Sequence[Row], series: Sequence[Row]
) -> Page:
    trial = row["trial_id"]
    content: dict[str, Any] = {
        "row": row,
        "trial": stored,
        "trial_sql": sql.trial(trial),
        "spec": json.dumps(stored["spec"], indent=1, ensure_ascii=False, sort_keys=True),
        "names": results.plan.names.get(trial, []),
        "results": final,
        "results_sql": sql.trial_results(trial),
        "series": _series(bench, trial, series),
        "provenance": provenance(results, bench.name, trial),
        "environment": results.environments.get(row["environment_id"]),
        "bench": bench,
    }
    title, trail = f"{bench.name}/{row['arm']}/{row['seed']}", (results.path_of(bench.name), bench.title)
    return Page(trial_path(trial), "trial.html", title, content, (*results.trail, trail))


def _series(bench: BenchmarkResults, trial: str, rows: Sequence[Row]) -> list[Plot]:
    series = sql.grouped(rows, "split", "name")

    def interest(key: tuple[str, str]) -> tuple[Any, ...]:
        return key[1] != "loss", key[1] not in bench.metrics, key[1].startswith("mechanism."), key

    compared = figures.Compared([row["arm"] for row in rows[:1]], stand_in=bench.stand_in_name)
    plots = (
        figures.curve(compared, split, name, Answer(sql.trial_series(trial, split, name), series[split, name]))
        for split, name in sorted(series, key=interest)[:SHOWN_SERIES]
    )
    return list(filter(None, plots))
