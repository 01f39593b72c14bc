"""The page of a trial: status, content, final numbers, series."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from harness.store import Reader
from reports.data import sql
from reports.data.provenance import provenance
from reports.data.sql import Answer, Row
from reports.data.suite_results import BenchmarkResults, SuiteResults
from reports.figures.benchmark import Compared, curve
from reports.figures.figure import Plot
from reports.links import trial_path
from reports.pages.render import Page

SHOWN_SERIES = 4


def trial_pages(reader: Reader, results: SuiteResults, bench: BenchmarkResults) -> Iterator[Page]:
    """A page for each stored trial of a benchmark; the store is asked for all of them at once."""
    whole = {row["trial_id"]: row for row in sql.ask(reader, sql.whole_trials(bench.body)).rows}
    # arms that share a trial have its numbers once each
    final = sql.grouped(sql.ask(reader, sql.results_of(bench.body)).rows, "trial_id")
    series = sql.grouped(sql.ask(reader, sql.all_series(bench.body)).rows, "trial_id")
    for trial, named in sql.grouped(bench.trials.rows, "trial_id").items():
        distinct = list({(row["split"], row["metric"]): row for row in final[trial]}.values())
        yield _page(results, bench, named[0], whole[trial], distinct, series[trial])


def _page(
    results: SuiteResults, bench: BenchmarkResults, row: Row, stored: Row, final: Sequence[Row], series: Sequence[Row]
) -> Page:
    trial = row["trial_id"]
    content: dict[str, Any] = {
        "row": row,
        "trial": stored,
        "trial_sql": sql.trial(trial),
        "spec": json.dumps(stored["spec"], indent=1, ensure_ascii=False, sort_keys=True),
        "names": [f"{link.benchmark}/{link.arm}/{link.seed}" for link in results.plan.links if link.trial_id == trial],
        "results": final,
        "results_sql": sql.trial_results(trial),
        "series": _series(bench, trial, series),
        "provenance": provenance(results, bench.name, trial),
        "environment": results.environments.get(row["environment_id"]),
        "bench": bench,
    }
    title = f"{bench.name}/{row['arm']}/{row['seed']}"
    return Page(
        trial_path(trial), "trial.html", title, content, (*results.trail, (results.path_of(bench.name), bench.title))
    )


def _series(bench: BenchmarkResults, trial: str, rows: Sequence[Row]) -> list[Plot]:
    series = sql.grouped(rows, "split", "name")

    def interest(key: tuple[str, str]) -> tuple[Any, ...]:
        return key[1] != "loss", key[1] not in bench.metrics, key[1].startswith("mechanism."), key

    compared = Compared([row["arm"] for row in rows[:1]], hatched=bench.stand_in)
    plots = (
        curve(compared, *key, Answer(sql.trial_series(trial, *key), series[key]))
        for key in sorted(series, key=interest)[:SHOWN_SERIES]
    )
    return list(filter(None, plots))
