"""The page of a trial: status, content, final numbers, series."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from harness.store import Reader
from reports import drawings, sql
from reports.addresses import bench_path, slug, suite_path, trial_path
from reports.figure import Figure
from reports.provenance import provenance
from reports.reading import Bench, Gathered, Row
from reports.render import Page

SHOWN_SERIES = 4


def trial_pages(reader: Reader, found: Gathered, bench: Bench) -> Iterator[Page]:
    """A page for each stored trial of a benchmark; the store is asked for all of them at once."""
    whole = {row["trial_id"]: row for row in sql.ask(reader, sql.whole_trials(bench.body)).rows}
    results: dict[str, list[Row]] = defaultdict(list)
    for row in sql.ask(reader, sql.results_of(bench.body)).rows:
        if row not in results[row["trial_id"]]:
            results[row["trial_id"]].append(row)
    series: dict[str, list[Row]] = defaultdict(list)
    for row in sql.ask(reader, sql.all_series(bench.body)).rows:
        series[row["trial_id"]].append(row)
    done: set[str] = set()
    for row in bench.trials.rows:
        trial = row["trial_id"]
        if trial not in done:
            done.add(trial)
            yield _page(found, bench, row, whole[trial], results[trial], series[trial])


def _page(found: Gathered, bench: Bench, row: Row, stored: Row, results: Sequence[Row], series: Sequence[Row]) -> Page:
    trial = row["trial_id"]
    hatched = bool(found.plan.settings[bench.name].stand_in)
    content: dict[str, Any] = {
        "row": row,
        "trial": stored,
        "trial_sql": sql.trial(trial),
        "spec": json.dumps(stored["spec"], indent=1, ensure_ascii=False, sort_keys=True),
        "names": _names(found, trial),
        "results": results,
        "results_sql": sql.trial_results(trial),
        "series": _series(found, bench, trial, series, hatched),
        "provenance": provenance(found, bench.name, trial),
        "environment": found.environments.get(row["environment_id"]),
        "bench": bench,
        "bench_path": bench_path(found.name, found.scale, bench.name),
        "stand_in": found.plan.settings[bench.name].stand_in,
    }
    trail = (
        ("index.html", "Report"),
        (suite_path(found.name, found.scale), f"{found.name}, {found.scale}"),
        (content["bench_path"], bench.title),
    )
    title = f"{bench.name}/{row['arm']}/{row['seed']}"
    return Page(trial_path(trial), "trial.html", title, content, trail)


def _names(found: Gathered, trial: str) -> list[str]:
    """Every name under which the plan asks for it."""
    return [f"{link.benchmark}/{link.arm}/{link.seed}" for link in found.plan.links if link.trial_id == trial]


def _series(found: Gathered, bench: Bench, trial: str, rows: Sequence[Row], hatched: bool) -> list[Figure]:
    metrics = found.suite.benchmarks[bench.name].model.metrics
    series: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        series[row["split"], row["name"]].append(row)
    names = sorted(series, key=lambda o: (o[1] != "loss", o[1] not in metrics, o[1].startswith("mechanism."), o))
    figures = []
    for split, name in names[:SHOWN_SERIES]:
        own = series[split, name]
        text = sql.trial_series(trial, split, name)
        figure = drawings.curve(slug(f"{split}-{name}"), name, split, [own[0]["arm"]], own, text, hatched)
        figures += [figure] if figure else []
    return figures
