"""The page of a trial: status, content, final numbers, series."""

from __future__ import annotations

import json
from typing import Any

from harness.store import Reader
from reports import drawings, sql
from reports.addresses import bench_path, slug, suite_path, trial_path
from reports.figure import Figure
from reports.reading import Bench, Gathered, Row
from reports.render import Page

SHOWN_SERIES = 4


def trial_page(reader: Reader, found: Gathered, bench: Bench, row: Row) -> Page:
    """Everything of one trial."""
    trial = row["trial_id"]
    stored = sql.ask(reader, sql.trial(trial))
    results = sql.ask(reader, sql.trial_results(trial))
    hatched = bool(found.plan.settings[bench.name].stand_in)
    content: dict[str, Any] = {
        "row": row,
        "trial": stored.rows[0],
        "trial_sql": stored.sql,
        "spec": json.dumps(stored.rows[0]["spec"], indent=1, ensure_ascii=False, sort_keys=True),
        "names": _names(found, trial),
        "results": results,
        "series": _series(reader, found, bench, trial, hatched),
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


def _series(reader: Reader, found: Gathered, bench: Bench, trial: str, hatched: bool) -> list[Figure]:
    asked = sql.ask(reader, sql.trial_series(trial))
    metrics = found.suite.benchmarks[bench.name].model.metrics
    names = sorted(
        {(row["split"], row["name"]) for row in asked.rows},
        key=lambda one: (one[1] != "loss", one[1] not in metrics, one[1].startswith("mechanism."), one),
    )
    figures = []
    for split, name in names[:SHOWN_SERIES]:
        rows = [row for row in asked.rows if (row["split"], row["name"]) == (split, name)]
        figure = drawings.curve(slug(f"{split}-{name}"), name, split, [rows[0]["arm"]], rows,
                                sql.trial_series(trial, split, name), hatched)  # fmt: skip
        figures += [figure] if figure else []
    return figures
