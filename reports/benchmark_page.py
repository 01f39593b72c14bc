"""The page of a benchmark: paired seeds, differences, curves, failures, recipe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from harness.store import Reader
from reports import drawings, sql, words
from reports.addresses import bench_path, slug, suite_path
from reports.figure import Figure
from reports.looks import confusion_figures, translations_of
from reports.pictures import pictures_of
from reports.provenance import provenance
from reports.reading import Bench, Claim, Gathered, Row
from reports.render import Page

MOST_SIDES = 4
"""Arms whose pictures, mistakes and translations stand side by side."""
SHOWN_CURVES = 12
"""Series drawn on a page, the important ones first; all others are a statement away."""


@dataclass(frozen=True)
class _Numbers:
    """What was asked of the store for one benchmark."""

    results: sql.Answer
    curves: Sequence[Row]
    costs: sql.Answer


def benchmark_pages(reader: Reader, found: Gathered) -> Iterator[Page]:
    """A page for each benchmark; the series, by far the largest table, are read once for all of them."""
    bodies = {bench.name: bench.body for bench in found.benches.values()}
    curves: dict[str, list[Row]] = defaultdict(list)
    if bodies:
        for row in sql.ask(reader, sql.curves_of(sql.together(bodies), keys="benchmark, arm")).rows:
            curves[row["benchmark"]].append(row)
    for name, bench in found.benches.items():
        results, costs = (sql.ask(reader, text(bench.body)) for text in (sql.results_of, sql.costs_of))
        yield _page(reader, found, name, _Numbers(results, curves[name], costs))


def _page(reader: Reader, found: Gathered, name: str, numbers: _Numbers) -> Page:
    bench, setting = found.benches[name], found.plan.settings[name]
    arms = list(dict.fromkeys(link.arm for link in found.plan.links if link.benchmark == name))
    hatched = bool(setting.stand_in)
    metrics = found.suite.benchmarks[name].model.metrics
    claims = [claim for claim in found.judged if name in claim.benchmarks]
    table = scores(numbers.results.rows, arms, metrics)
    asked = sql.ask(reader, sql.artifacts_of(bench.body))
    shown = _sides(claims, arms)
    best = _best(reader, bench, arms, metrics, shown, hatched)
    content: dict[str, Any] = {
        "bench": bench,
        "setting": setting,
        "model": found.suite.benchmarks[name].model,
        "scale": found.scale,
        "claims": claims,
        "suite_path": suite_path(found.name, found.scale),
        "pairs": _pairs(bench, numbers, arms, metrics, hatched),
        "differences": _differences(found, bench, claims, hatched),
        "curves": _curves(bench, numbers, arms, metrics, claims, hatched),
        "best": [best] if best else [],
        "doses": _doses(bench, numbers, arms, metrics, claims, hatched),
        "scores": [row for row in table if not row["metric"].startswith("mechanism.")],
        "mechanisms": [row for row in table if row["metric"].startswith("mechanism.")],
        "score_sql": numbers.results.sql,
        "arms": {arm: found.plan.arms[arm] for arm in arms},
        "costs": numbers.costs,
        "cost_figure": _cost(numbers, arms, metrics, hatched),
        "troubled": bench.troubled,
        "missing": _missing(found, bench),
        "pictures": pictures_of(asked.rows, shown),
        "confusions": confusion_figures(asked.rows, shown, asked.sql, hatched),
        "translations": translations_of(asked.rows, shown),
        "pictures_sql": asked.sql,
        "settings": {part: getattr(setting, part) for part in ("data", "model", "recipe")},
        "sources": found.suite.benchmarks[name].model.sources,
        "provenance": provenance(found, name),
    }
    trail = (("index.html", "Report"), (suite_path(found.name, found.scale), f"{found.name}, {found.scale}"))
    return Page(bench_path(found.name, found.scale, name), "benchmark.html", bench.title, content, trail)


def _sides(claims: Sequence[Claim], arms: Sequence[str]) -> list[str]:
    """The arms that people want to see side by side: comparators and methods of the claims, else the first ones."""
    named = [arm for claim in claims for arm in (claim.against, claim.arm) if arm in arms]
    return list(dict.fromkeys(named))[:MOST_SIDES] or list(arms[:MOST_SIDES])


def _best(
    reader: Reader, bench: Bench, arms: Sequence[str], metrics: Mapping[str, Any], first: Sequence[str], hatched: bool
) -> Figure | None:
    """Best so far on validation over time, of the first metric that is measured there."""
    for metric, about in metrics.items():
        asked = sql.ask(reader, sql.best_of(bench.body, metric, 1 if about.better == "higher" else -1))
        if asked.rows:
            return drawings.best_so_far(metric, about.unit, arms, asked.rows, asked.sql, hatched, first)
    return None


def _pairs(
    bench: Bench, numbers: _Numbers, arms: Sequence[str], metrics: Mapping[str, Any], hatched: bool
) -> list[Figure]:
    figures = []
    for metric, about in list(metrics.items())[:4]:
        rows = [row for row in numbers.results.rows if row["metric"] == metric and row["split"] == about.split]
        text = sql.results_of(bench.body, metric, about.split)
        figure = drawings.paired_seeds(slug(metric), metric, about.unit, arms, rows, text, hatched)
        figures += [figure] if figure else []
    return figures


def _differences(found: Gathered, bench: Bench, claims: Sequence[Claim], hatched: bool) -> list[Figure]:
    """What the judge computed here, grouped by metric; claims that share a contrast are one line."""
    groups: dict[tuple[str, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    for claim in claims:
        for entry in claim.design.get("per_benchmark") or ():
            if isinstance(entry, Mapping) and entry.get("benchmark") == bench.name:
                metric = str(entry.get("metric") or claim.design.get("metric") or claim.fact["metric"])
                about = found.suite.benchmarks[bench.name].model.metrics.get(metric)
                logarithmic = bool(claim.design.get("log_ratio"))
                unit = words.unit_of_difference(about.unit) if about and not logarithmic else claim.unit
                groups[metric, unit].setdefault(
                    claim.contrast,
                    {**entry, "label": f"{claim.contrast}: {claim.word}", "seeds": entry.get("differences"),
                     "tone": claim.tone.name},
                )  # fmt: skip
    figures = []
    for (metric, unit), entries in groups.items():
        figure = drawings.differences(
            slug(metric), f"{metric}: differences of the claims", unit, list(entries.values()),
            sql.verdicts_of(found.name, found.scale).strip(), hatched, "Right is the direction of the claim.",
        )  # fmt: skip
        figures += [figure] if figure else []
    return figures


def _wanted(metrics: Mapping[str, Any], claims: Sequence[Claim], present: Sequence[tuple[str, str]]) -> list[Any]:
    """Series in order of interest: the loss, declared metrics, gates, other mechanisms, the rest."""
    gates = {str(gate["metric"]) for claim in claims for gate in claim.gates}

    def rank(one: tuple[str, str]) -> tuple[int, str, str]:
        split, name = one
        order = (
            0 if name in metrics and split != "train" else 1 if name == "loss" else 2 if name in gates
            else 3 if name.startswith("mechanism.") else 5 if name == "learning_rate" else 4
        )  # fmt: skip
        return order, name, split

    return sorted(present, key=rank)[:SHOWN_CURVES]


def _curves(
    bench: Bench, numbers: _Numbers, arms: Sequence[str], metrics: Mapping[str, Any], claims: Sequence[Claim],
    hatched: bool,
) -> list[Figure]:  # fmt: skip
    series: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in numbers.curves:
        series[row["split"], row["name"]].append(row)
    figures = []
    for split, name in _wanted(metrics, claims, list(series)):
        text = sql.curves_of(bench.body, split, name)
        figure = drawings.curve(
            slug(f"{split}-{name}"), name, split, arms, series[split, name], text, hatched, _sides(claims, arms)
        )
        figures += [figure] if figure else []
    return figures


def _doses(
    bench: Bench, numbers: _Numbers, arms: Sequence[str], metrics: Mapping[str, Any], claims: Sequence[Claim],
    hatched: bool,
) -> list[Figure]:  # fmt: skip
    """For each gate's quantity: does the dose predict the score?"""
    metric, about = next(iter(metrics.items()))
    values: dict[tuple[str, str], dict[tuple[str, int], float]] = defaultdict(dict)
    for row in numbers.results.rows:
        if (found := words.finite(row["value"])) is not None:
            values[row["split"], row["metric"]][row["arm"], row["seed"]] = found
    figures = []
    for mechanism in dict.fromkeys(str(gate["metric"]) for claim in claims for gate in claim.gates):
        doses = next((values[key] for key in values if key[1] == mechanism), {})
        figure = drawings.dose(
            slug(mechanism), mechanism, metric, about.unit, arms, doses, values[about.split, metric],
            sql.results_of(bench.body), hatched, _sides(claims, arms),
        )  # fmt: skip
        figures += [figure] if figure else []
    return figures


def _cost(numbers: _Numbers, arms: Sequence[str], metrics: Mapping[str, Any], hatched: bool) -> Figure | None:
    metric, about = next(iter(metrics.items()))
    own: dict[str, list[float]] = defaultdict(list)
    for row in numbers.results.rows:
        if (row["metric"], row["split"]) == (metric, about.split) and words.finite(row["value"]) is not None:
            own[row["arm"]].append(row["value"])
    means = {arm: fmean(values) for arm, values in own.items()}
    return drawings.cost(metric, about.unit, arms, numbers.costs.rows, means, numbers.costs.sql, hatched)


def scores(rows: Sequence[Row], arms: Sequence[str], metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Final numbers of each arm: mean and standard deviation over seeds, declared metrics first."""
    values: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if (found := words.finite(row["value"])) is not None:
            values[row["split"], row["metric"]][row["arm"]].append(found)
    order = sorted(
        values, key=lambda key: (not (key[1] in metrics and metrics[key[1]].split == key[0]),
                                 key[1].startswith("mechanism."), key[1], key[0])
    )  # fmt: skip
    return [
        {"split": split, "metric": metric, "unit": metrics[metric].unit if metric in metrics else "",
         "cells": [_mean_and_sd(values[split, metric].get(arm, [])) for arm in arms]}
        for split, metric in order
    ]  # fmt: skip


def _mean_and_sd(values: list[float]) -> tuple[float, float, int] | None:
    if not values:
        return None
    return fmean(values), stdev(values) if len(values) > 1 else float("nan"), len(values)


def _missing(found: Gathered, bench: Bench) -> list[str]:
    """Planned trials that the store does not have, as ``arm/seed``."""
    stored = {row["trial_id"] for row in bench.trials.rows}
    links = [link for link in found.plan.links if link.benchmark == bench.name and link.trial_id not in stored]
    return [f"{link.arm}/{link.seed}" for link in links]
