"""The first page: every suite with its answer, and a way to every claim, ablation and benchmark."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports import summary
from reports.ablations import Ablation
from reports.addresses import bench_path, slug, suite_path
from reports.provenance import provenance
from reports.reading import Gathered
from reports.render import Page

ABLATED = "exploratory"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the table that finds things."""

    word: str
    text: str
    where: str
    contrast: str
    difference: float | None
    low: float | None
    high: float | None
    n: int | None
    unit: str
    suite: str
    scale: str
    path: str
    anchor: str
    stand_in: bool


def index_page(found: Sequence[Gathered], ablations: Mapping[tuple[str, str], Sequence[Ablation]]) -> Page:
    """Suites with their verdict counts, stand-ins, runs and cost; every claim and ablation in one table."""
    entries = [entry for one in found for entry in _entries(one, ablations.get((one.name, one.scale), ()))]
    content: dict[str, Any] = {
        "suites": [_card(one, bool(ablations.get((one.name, one.scale)))) for one in found],
        "entries": entries,
        "provenance": provenance(found),
    }
    return Page("index.html", "index.html", "Report", content)


def _card(one: Gathered, ablated: bool) -> dict[str, Any]:
    spent = [row["wall_seconds"] or 0.0 for bench in one.benches.values() for row in bench.trials.rows]
    devices = {row["device"] for bench in one.benches.values() for row in bench.trials.rows if row["device"]}
    last = one.runs.rows[0] if one.runs.rows else None
    anchors = [("claims", "Claims")] + ([("ablations", "Ablations")] if ablated else [])
    anchors += [("released", "Code and paper")] if one.checked else []
    anchors += [("cost", "Cost"), ("benchmarks", "Benchmarks")]
    tasks: dict[str, list[tuple[str, str, list[str]]]] = defaultdict(list)
    for name, bench in one.benches.items():
        words = list(dict.fromkeys(claim.word for claim in one.judged if name in claim.benchmarks))
        path = bench_path(one.name, one.scale, name)
        tasks[one.plan.settings[name].task].append((bench.title, path, words))
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
        "devices": sorted(devices),
        "last": last,
        "runs": len(one.runs.rows),
        "anchors": anchors,
        "tasks": list(tasks.items()),
        "many": len(one.benches),
        "sql": one.asked["verdicts"].sql,
    }


def _entries(one: Gathered, ablations: Sequence[Ablation]) -> list[Entry]:
    path = suite_path(one.name, one.scale)
    around = {"suite": one.name, "scale": one.scale, "path": path}
    entries = [
        Entry(
            claim.word, str(claim.fact["statement"]), _where(one, claim.benchmarks),
            claim.contrast, None if claim.identity else claim.value("difference"), claim.value("ci_low"),
            claim.value("ci_high"), claim.value("n"), claim.unit, anchor=f"claim-{slug(claim.claim_id)}",
            stand_in=bool(one.stand_in) and not claim.identity, **around,
        )
        for claim in [*one.judged, *one.checked]
    ]  # fmt: skip
    entries += [
        Entry(
            ABLATED, f"Ablation {row.arm}: {row.changed}",
            f"{_where(one, [row.benchmark])}, {row.metric}",
            f"{row.arm} − {row.parent}", row.difference, row.low, row.high, row.n, row.unit,
            anchor="ablations", stand_in=bool(one.stand_in), **around,
        )
        for row in sorted(ablations, key=lambda row: (row.parent, -abs(row.difference)))
    ]  # fmt: skip
    return entries


def _where(one: Gathered, benchmarks: Sequence[str]) -> str:
    """The task and the benchmarks, so that a claim can be found by them."""
    known = [name for name in benchmarks if name in one.benches]
    tasks = dict.fromkeys(one.plan.settings[name].task for name in known)
    return " · ".join([*tasks, ", ".join(one.benches[name].title for name in known[:3])])
