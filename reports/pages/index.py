"""The pages of the whole site: the first, with a way to every claim, and that of methods and data."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness import registry
from harness.plan.planning import sources_of
from harness.vocabulary import Kind, Tone, Verdict
from reports import formatting
from reports.data.ablations import Ablation
from reports.data.claims import JudgedClaim
from reports.data.provenance import provenance
from reports.data.suite_results import SuiteResults, statuses
from reports.links import slug
from reports.pages.render import Page


@dataclass(frozen=True, slots=True)
class Cell:
    """Content of a table cell.

    Attributes:
        kind: ``n`` for a number, ``words`` for long text.
        anchor: where on the page of its suite the text leads.
        order: what the column is sorted by, where that is not the text.
    """

    text: str
    kind: str = ""
    tone: str = ""
    anchor: str = ""
    below: str = ""
    tag: str = ""
    order: float | None = None


COLUMNS = ("Verdict", "Claim or ablation", "Comparison", "Difference", "Suite, scale")
"""The columns of the table of claims and ablations."""
IndexRow = tuple[str, list[Cell]]
"""The path of the suite's page, and a cell for each column."""


def difference_cell(
    difference: float | None,
    interval: tuple[float | None, float | None],
    n: int | None,
    unit: str,
    stand_in_name: str,
    several: Sequence[float] = (),
) -> Cell:
    """A difference with its interval, or the range of ``several`` comparisons."""
    on = f"; stand-in: {stand_in_name}" * bool(stand_in_name)
    if difference is not None:
        text = f"{formatting.number(difference, sign=True)} {unit}"
        return Cell(text, "n", below=f"{formatting.interval(*interval)}, n {n}{on}", order=difference)
    if len(several) > 1:
        least, largest = (formatting.number(end(several), sign=True) for end in (min, max))
        below = f"{len(several)} comparisons{on}"
        return Cell(f"{least} to {largest} {unit}", "n", below=below, order=min(several))
    return Cell("–", "n")


def _suite_cell(results: SuiteResults, stand_in_name: str) -> Cell:
    return Cell(results.title, tag="imported" if results.plan.imported else "stand-in" * bool(stand_in_name))


def index_page(suites: Sequence[SuiteResults], ablations: Mapping[tuple[str, str], Sequence[Ablation]]) -> Page:
    """Suites with what their tests say, stand-ins, runs and cost; every claim and ablation in one table."""
    entries: list[IndexRow] = []
    for results in suites:
        rows = sorted(ablations[results.name, results.scale], key=lambda row: (row.parent, -abs(row.difference)))
        entries += [_claim(results, claim) for claim in [*results.judged, *results.checked]]
        entries += [_ablation(results, row) for row in rows]
    content: dict[str, Any] = {
        "suites": [_entry_of(results, bool(ablations[results.name, results.scale])) for results in suites],
        "columns": list(COLUMNS),
        "entries": entries,
        "provenance": provenance(suites),
    }
    return Page("index.html", "index.html", "Report", content)


def _entry_of(results: SuiteResults, ablated: bool) -> dict[str, Any]:
    rows = results.rows()
    anchors = [("claims", "Claims")] + ([("ablations", "Ablations")] if ablated else [])
    anchors += [("released", "Code and paper")] if results.checked else []
    anchors += [("cost", "Cost"), ("benchmarks", "Benchmarks")]
    tasks: dict[str, list[tuple[str, str, str, list[str]]]] = defaultdict(list)
    for name, bench in results.benches.items():
        place = bench.title, bench.stand_in_name, results.path_of(name), list(results.words_on(name))
        tasks[bench.setting.task].append(place)
    return {
        "results": results,
        "headline": results.headline,
        "leading": results.leading,
        "statuses": statuses(rows, results.absent()),
        "spent": sum(row["wall_seconds"] or 0.0 for row in rows),
        "devices": sorted({row["device"] for row in rows if row["device"]}),
        "anchors": anchors,
        "tasks": list(tasks.items()),
    }


def _claim(results: SuiteResults, claim: JudgedClaim) -> IndexRow:
    verdict, name = claim.verdict, claim.stand_in_name
    where, anchor = _where(results, claim.benchmarks) + _origin(claim), f"claim-{slug(claim.claim_id)}"
    difference = Cell("–", "n")
    if not claim.identity:
        several = () if claim.tone == Tone.VOID else claim.differences
        ends = verdict.ci_low, verdict.ci_high
        difference = difference_cell(verdict.difference, ends, verdict.n, claim.unit, name, several)
    return results.path, [
        Cell(formatting.shown(claim.word).text, tone=claim.tone, below="" if claim.identity else claim.family),
        Cell(str(claim.fact["statement"]), "words", anchor=anchor, below=where),
        Cell(claim.contrast),
        difference,
        _suite_cell(results, name),
    ]


def _origin(claim: JudgedClaim) -> str:
    if not claim.stand_in_name:
        return ""
    own = claim.fact.get("kind") == "intervention"
    return "; a test of this suite" if own else f"; the paper's claim, measured on a stand-in: {claim.stand_in_name}"


def _ablation(results: SuiteResults, row: Ablation) -> IndexRow:
    where = f"{_where(results, [row.benchmark])}, {row.metric}"
    return results.path, [
        Cell("exploratory", tone=Tone.VOID),
        Cell(f"Ablation {row.arm}: {row.changed}", "words", anchor="ablations", below=where),
        Cell(row.label),
        difference_cell(row.difference, (row.low, row.high), row.n, row.unit, row.stand_in_name),
        _suite_cell(results, row.stand_in_name),
    ]


def _where(results: SuiteResults, benchmarks: Sequence[str]) -> str:
    existing = [results.benches[name] for name in benchmarks if name in results.benches]
    tasks = dict.fromkeys(bench.setting.task for bench in existing)
    return " · ".join([*tasks, ", ".join(bench.title for bench in existing[:3])])


def methods_page(suites: Sequence[SuiteResults]) -> Page:
    """Page of the compared methods, data sources and models."""
    methods: dict[str, set[str]] = defaultdict(set)
    for results in suites:
        for trial in results.plan.trials:
            for method in trial.spec.slots:
                methods[method.name].add(f"{results.name}/{trial.arm}")
    models = {trial.spec.model.name for results in suites for trial in results.plan.trials}
    sources = {source.name for results in suites for source in sources_of(results.plan.trials)}
    about = ("title", "slot", "role", "paper", "summary", "defaults")
    origin = ("summary", "origin", "home", "licence", "size", "version", "fetch", "sha256")
    content: dict[str, Any] = {
        "methods": [_entry("method", name, about) | {"arms": sorted(arms)} for name, arms in sorted(methods.items())],
        "sources": [_entry("data", name, origin) for name in sorted(sources)],
        "models": [_entry("model", name, ("summary", "source")) for name in sorted(models)],
        "provenance": provenance(suites),
        "verdicts": list(Verdict),
    }
    return Page("methods.html", "methods.html", "Methods and data", content, (("index.html", "Report"),))


def _entry(kind: Kind, name: str, keys: Sequence[str]) -> dict[str, Any]:
    """Metadata of a registered name; a user's method may be unknown to this process."""
    entry = registry.entries(kind).get(name)
    metadata = entry.metadata if entry else None
    return {"name": name, **{key: getattr(metadata, key, None) or "" for key in keys}}
