"""The first page: every suite with its answer, and a way to every claim, ablation and benchmark."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.vocabulary import Tone
from reports import formatting
from reports.data.ablations import Ablation
from reports.data.claims import Claim
from reports.data.provenance import provenance
from reports.data.suite_results import SuiteResults
from reports.links import bench_path, slug, suite_path
from reports.pages import sentences
from reports.pages.render import Page


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A line of the table that finds claims and ablations."""

    tone: str
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
    anchor: str
    stand_in: bool

    @property
    def path(self) -> str:
        """The page of its suite."""
        return suite_path(self.suite, self.scale)


@dataclass(frozen=True, slots=True)
class Cell:
    """What a column shows of a line.

    Attributes:
        text: as it is read.
        kind: ``n`` for a number, ``words`` for long text.
        tone: with its symbol and colour, where the text is a verdict.
        anchor: where on the page of its suite the text leads.
        below: a smaller line.
        tag: a mark behind it.
        order: what the column is sorted by, where that is not the text.
    """

    text: str
    kind: str = ""
    tone: str = ""
    anchor: str = ""
    below: str = ""
    tag: str = ""
    order: float | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table that finds claims and ablations."""

    title: str
    cell: Callable[[IndexEntry], Cell]


def _difference(entry: IndexEntry) -> Cell:
    if entry.difference is None:
        return Cell("–", "n")
    text = f"{formatting.number(entry.difference, sign=True)} {entry.unit}"
    below = f"{formatting.interval(entry.low, entry.high)}, n {entry.n}"
    return Cell(text, "n", below=below, order=entry.difference)


COLUMNS = (
    Column("Verdict", lambda entry: Cell(entry.word, tone=entry.tone)),
    Column("What", lambda entry: Cell(entry.text, "words", anchor=entry.anchor, below=entry.where)),
    Column("Comparison", lambda entry: Cell(entry.contrast)),
    Column("Difference", _difference),
    Column("Suite, scale", lambda entry: Cell(f"{entry.suite}, {entry.scale}", tag=entry.stand_in * "stand-in")),
)
"""The columns, from left to right."""


def index_page(suites: Sequence[SuiteResults], ablations: Mapping[tuple[str, str], Sequence[Ablation]]) -> Page:
    """Suites with their verdict counts, stand-ins, runs and cost; every claim and ablation in one table."""
    entries: list[IndexEntry] = []
    for results in suites:
        rows = sorted(ablations[results.name, results.scale], key=lambda row: (row.parent, -abs(row.difference)))
        entries += [_claim(results, claim) for claim in [*results.judged, *results.checked]]
        entries += [_ablation(results, row) for row in rows]
    content: dict[str, Any] = {
        "suites": [_card(results, bool(ablations[results.name, results.scale])) for results in suites],
        "columns": [column.title for column in COLUMNS],
        "entries": [(entry.path, [column.cell(entry) for column in COLUMNS]) for entry in entries],
        "provenance": provenance(suites),
    }
    return Page("index.html", "index.html", "Report", content)


def _card(results: SuiteResults, ablated: bool) -> dict[str, Any]:
    rows = [row for bench in results.benches.values() for row in bench.trials.rows]
    anchors = [("claims", "Claims")] + ([("ablations", "Ablations")] if ablated else [])
    anchors += [("released", "Code and paper")] if results.checked else []
    anchors += [("cost", "Cost"), ("benchmarks", "Benchmarks")]
    tasks: dict[str, list[tuple[str, str, list[str]]]] = defaultdict(list)
    for name, bench in results.benches.items():
        words = list(dict.fromkeys(claim.word for claim in results.judged if name in claim.benchmarks))
        tasks[bench.setting.task].append((bench.title, bench_path(results.name, results.scale, name), words))
    return {
        "suite": results.suite.model,
        "scale": results.scale,
        "path": suite_path(results.name, results.scale),
        "headline": sentences.headline(results),
        "leading": sentences.leading(results, 2),
        "verdicts": results.verdicts,
        "stand_in": results.stand_in,
        "statuses": sorted(results.statuses.items()),
        "spent": sum(row["wall_seconds"] or 0.0 for row in rows),
        "devices": sorted({row["device"] for row in rows if row["device"]}),
        "last": results.runs.rows[0] if results.runs.rows else None,
        "runs": len(results.runs.rows),
        "anchors": anchors,
        "tasks": list(tasks.items()),
        "many": len(results.benches),
        "sql": results.asked["verdicts"].sql,
    }


def _claim(results: SuiteResults, claim: Claim) -> IndexEntry:
    return IndexEntry(
        claim.tone, formatting.shown(claim.word).text, str(claim.fact["statement"]),
        _where(results, claim.benchmarks), claim.contrast, None if claim.identity else claim.value("difference"),
        claim.value("ci_low"), claim.value("ci_high"), claim.value("n"), claim.unit, results.name,
        results.scale, f"claim-{slug(claim.claim_id)}", bool(results.stand_in) and not claim.identity,
    )  # fmt: skip


def _ablation(results: SuiteResults, row: Ablation) -> IndexEntry:
    return IndexEntry(
        Tone.VOID, "exploratory", f"Ablation {row.arm}: {row.changed}",
        f"{_where(results, [row.benchmark])}, {row.metric}", row.contrast, row.difference, row.low, row.high, row.n,
        row.unit, results.name, results.scale, "ablations", bool(results.stand_in),
    )  # fmt: skip


def _where(results: SuiteResults, benchmarks: Sequence[str]) -> str:
    """The task and the benchmarks, so that a claim can be found by them."""
    known = [results.benches[name] for name in benchmarks if name in results.benches]
    tasks = dict.fromkeys(bench.setting.task for bench in known)
    return " · ".join([*tasks, ", ".join(bench.title for bench in known[:3])])
