"""The first page: every suite with its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports import summary
from reports.addresses import bench_path, suite_path
from reports.reading import Gathered
from reports.render import Page


def index_page(found: Sequence[Gathered]) -> Page:
    """Suites with their verdict counts, stand-ins, runs and cost, and a way to every benchmark."""
    content = {"suites": [_card(one) for one in found]}
    return Page("index.html", "index.html", "Report", content)


def _card(one: Gathered) -> dict[str, Any]:
    spent = [row["wall_seconds"] or 0.0 for bench in one.benches.values() for row in bench.trials.rows]
    cpu = {row["device"] for bench in one.benches.values() for row in bench.trials.rows if row["device"]}
    last = one.runs.rows[0] if one.runs.rows else None
    return {
        "suite": one.suite.model,
        "scale": one.scale,
        "path": suite_path(one.name, one.scale),
        "headline": summary.headline(one),
        "leading": summary.leading(one, 2),
        "verdicts": one.verdicts,
        "stand_in": one.stand_in,
        "statuses": sorted(one.statuses.items()),
        "spent": sum(spent),
        "devices": sorted(cpu),
        "last": last,
        "claims": [(claim, claim.contrast) for claim in one.judged],
        "benches": [(bench.title, bench_path(one.name, one.scale, name)) for name, bench in one.benches.items()],
        "sql": one.asked["verdicts"].sql,
        "runs_sql": one.runs.sql,
    }
